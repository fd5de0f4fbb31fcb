"""The sandbox's answer as Gemini gives it, whole (`whole`) or in chunks (`chunks`): put together, the same.

Nothing ends a stream but its end. Gemini 3 puts a thought signature on the first function call, or on the last text
(streamed: on an empty text of its own); Gemini 2.5 on the first part, and only where functions are declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from asbru.sandbox.ids import digest
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.speeches.gemini_rules import SIGNATURE, listed, rules_of, signed, table
from asbru.sandbox.stream import pieces
from asbru.sandbox.thinking import sign

_FINISH = {"max_tokens": "MAX_TOKENS", "model_context_window_exceeded": "MAX_TOKENS", "refusal": "SAFETY"}
_TIERS = {"priority": "priority", "flex": "flex"}


def whole(answer: Answer, asked: Json, *, is_vertex: bool) -> Json:
    parts = _parts(answer, asked)
    _sign(parts, answer, asked, at_end=False)
    candidate: Json = {"content": {"parts": parts, "role": "model"} if parts else {"role": "model"}}
    return _response(answer, asked, is_vertex, candidate | _ending(answer))


def chunks(answer: Answer, asked: Json, count: int | None, *, is_vertex: bool) -> Iterator[tuple[Json, bool]]:
    """The chunks of a stream, each with whether it is a delta."""
    parts = _parts(answer, asked)
    _sign(parts, answer, asked, at_end=True)
    said: list[tuple[Json, bool]] = []
    for part in parts:
        text = part.get("text")
        first, *rest = (
            pieces(text, count if "thought" not in part else None) if isinstance(text, str) and text else [""]
        )
        said.append(({**part, "text": first} if first else part, bool(first)))
        beside = {name: value for name, value in part.items() if name != SIGNATURE}
        said += [({**beside, "text": piece}, True) for piece in rest]
    for position, (part, is_delta) in enumerate(said):
        last = position == len(said) - 1
        candidate: Json = {"content": {"parts": [part], "role": "model"}}
        yield _response(answer, asked, is_vertex, candidate | (_ending(answer) if last else {"index": 0})), is_delta
    if not said:
        yield _response(answer, asked, is_vertex, {"content": {"role": "model"}} | _ending(answer)), False


def count(tokens: int, *, is_vertex: bool) -> Json:
    """The answer to ``countTokens``."""
    found: Json = {"totalTokens": tokens}
    if is_vertex:
        found["totalBillableCharacters"] = tokens * 4
    return {**found, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}


def _parts(answer: Answer, asked: Json) -> list[Json]:
    """What is said, block by block."""
    config = table(asked.get("generationConfig"))
    shown = table(config.get("thinkingConfig")).get("includeThoughts") is True
    invoked = table(asked.get("toolConfig")).get("includeServerSideToolInvocations") is True
    parts: list[Json] = []
    for block in answer.content:
        match block["type"]:
            case "thinking" if shown:
                parts.append({"text": block["thinking"], "thought": True})
            case "text":
                parts.append({"text": block["text"]})
            case "tool_use":
                call: Json = {"name": block["name"], "args": block["input"]}
                if rules_of(answer.model).has_ids:
                    call["id"] = str(block["id"]).removeprefix("toolu_01")[:8].lower()
                parts.append({"functionCall": call})
            case "server_tool_use" if block["name"] == "bash_code_execution" or block["name"] == "code_execution":
                given = table(block["input"])
                parts.append(
                    {"executableCode": {"language": "PYTHON", "code": given.get("code") or given.get("command")}}
                )
            case "bash_code_execution_tool_result" | "code_execution_tool_result":
                output = table(block["content"]).get("stdout", "")
                parts.append({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": output}})
            case "server_tool_use" if block["name"] in _SERVER_TOOLS and invoked:
                kind = _SERVER_TOOLS[str(block["name"])]
                parts.append({"toolCall": {"id": block["id"], "toolType": kind, "args": block["input"]}})
            case "web_search_tool_result" | "web_fetch_tool_result" if invoked:
                kind = _SERVER_TOOLS[str(block["type"]).removesuffix("_tool_result")]
                parts.append({"toolResponse": {"id": block["tool_use_id"], "toolType": kind, "response": {}}})
    return parts


_SERVER_TOOLS = {"web_search": "GOOGLE_SEARCH_WEB", "web_fetch": "URL_CONTEXT"}


def _sign(parts: list[Json], answer: Answer, asked: Json, *, at_end: bool) -> None:
    """Put the signature where this model puts it, if it thought."""
    if not any(str(block["type"]).endswith("thinking") for block in answer.content):
        return
    functions = any("functionDeclarations" in tool for tool in listed(asked.get("tools")))
    own = [part for part in parts if "thought" not in part]
    rules = rules_of(answer.model)
    if rules.generation is not None and not rules.is_3:
        place = own[0] if own and functions else None
    else:
        place = next((part for part in own if "functionCall" in part), None)
        place = place or next((part for part in own if "toolCall" in part), None)
        if place is None and own:
            place = own[-1]
            if at_end and "text" in place:
                place = {"text": ""}
                parts.append(place)
    if place is not None:
        place[SIGNATURE] = sign("thought_signature", digest(answer.id.encode()), signed(place))


def _ending(answer: Answer) -> Json:
    """What the last chunk says beside its content."""
    reason = _FINISH.get(answer.stop_reason, "STOP")
    found: Json = {"finishReason": reason, "index": 0}
    if reason == "SAFETY":
        rating = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        found["safetyRatings"] = [rating]
    search = next((block for block in answer.content if block["type"] == "web_search_tool_result"), None)
    if search is not None:
        found["groundingMetadata"] = _grounding(answer, search)
    fetched = [block for block in answer.content if block["type"] == "web_fetch_tool_result"]
    if fetched:
        urls = [table(block["content"]).get("url") for block in fetched]
        status = "URL_RETRIEVAL_STATUS_SUCCESS"
        found["urlContextMetadata"] = {
            "urlMetadata": [{"retrievedUrl": url, "urlRetrievalStatus": status} for url in urls]
        }
    return found


def _grounding(answer: Answer, search: Json) -> Json:
    """The pages a search found, and which words of the answer they bear out; places are in bytes."""
    pages = [{"web": {"uri": page["url"], "title": page["title"]}} for page in listed(search["content"])]
    urls = [page["web"]["uri"] for page in pages]
    queries = [
        table(block["input"])["query"]
        for block in answer.content
        if block["type"] == "server_tool_use" and block["name"] == "web_search"
    ]
    supports: list[Json] = []
    at = 0
    for block in answer.content:
        text = str(block["text"]) if block["type"] == "text" else ""
        end = at + len(text.encode())
        for citation in listed(block.get("citations")):
            if citation.get("url") in urls:
                segment: Json = {"startIndex": at, "endIndex": end, "text": text}
                supports.append({"segment": segment, "groundingChunkIndices": [urls.index(citation["url"])]})
        at = end
    return {
        "webSearchQueries": queries,
        "searchEntryPoint": {"renderedContent": "<div></div>"},
        "groundingChunks": pages,
        "groundingSupports": supports,
    }


def _response(answer: Answer, asked: Json, is_vertex: bool, candidate: Json) -> Json:
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(answer.usage, asked, is_vertex),
        "modelVersion": answer.model,
        "responseId": answer.id.removeprefix("msg_01"),
    }


def _usage(said: Mapping[str, object], asked: Json, is_vertex: bool) -> Json:
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    plain, written, read, output = (_number(said[name]) for name in names)
    thoughts = _number(table(said.get("output_tokens_details")).get("thinking_tokens", 0))
    prompt = plain + written + read
    found: Json = {"promptTokenCount": prompt, "candidatesTokenCount": output - thoughts}
    if thoughts:
        found["thoughtsTokenCount"] = thoughts
    found["totalTokenCount"] = prompt + output
    found["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt}]
    if is_vertex:
        return {**found, "trafficType": "ON_DEMAND"}
    return {**found, "serviceTier": _TIERS.get(str(asked.get("serviceTier")), "standard")}


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
