"""The sandbox's answer as Converse gives it, whole (`whole`) or as events in frames (`events`).

In a stream only tool calls announce their block; ``messageStop`` comes before ``metadata``, which ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.speeches.bedrock import event
from asbru.sandbox.speeches.bedrock_rules import listed, table
from asbru.sandbox.stream import Event, pieces

_STOPS = {"refusal": "content_filtered", "pause_turn": "end_turn"}
_LOCATIONS: Mapping[object, tuple[str, tuple[tuple[str, str], ...]]] = {
    "char_location": (
        "documentChar",
        (("documentIndex", "document_index"), ("start", "start_char_index"), ("end", "end_char_index")),
    ),
    "page_location": (
        "documentPage",
        (("documentIndex", "document_index"), ("start", "start_page_number"), ("end", "end_page_number")),
    ),
    "content_block_location": (
        "documentChunk",
        (("documentIndex", "document_index"), ("start", "start_block_index"), ("end", "end_block_index")),
    ),
    "search_result_location": (
        "searchResultLocation",
        (("searchResultIndex", "search_result_index"), ("start", "start_block_index"), ("end", "end_block_index")),
    ),
}


def whole(answer: Answer, asked: Json) -> Json:
    content = [made for block in answer.content if (made := _block(block)) is not None]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        **_stop(answer, asked),
        **_metadata(answer, asked),
    }


def events(answer: Answer, asked: Json, chunks: int | None) -> Iterator[Event]:
    yield event("messageStart", {"role": "assistant"})
    made = [block for block in map(_block, answer.content) if block is not None]
    for index, block in enumerate(made):
        place: Json = {"contentBlockIndex": index}
        start = _start(block)
        if start is not None:
            yield event("contentBlockStart", {"start": start, **place})
        for delta in _deltas(block, chunks):
            yield event("contentBlockDelta", {"delta": delta, **place}, is_delta=True)
        yield event("contentBlockStop", place)
    yield event("messageStop", _stop(answer, asked))
    yield event("metadata", _metadata(answer, asked))


def _block(block: Json) -> Json | None:
    """A block; None for one that Converse has no words for."""
    match block["type"]:
        case "text" if block.get("citations"):
            citations = [_citation(each) for each in listed(block["citations"])]
            return {"citationsContent": {"content": [{"text": block["text"]}], "citations": citations}}
        case "text":
            return {"text": block["text"]}
        case "thinking":
            text: Json = {"text": block["thinking"], "signature": block["signature"]}
            return {"reasoningContent": {"reasoningText": text}}
        case "redacted_thinking":
            return {"reasoningContent": {"redactedContent": block["data"]}}
        case "tool_use":
            return {"toolUse": {"toolUseId": _id(block["id"]), "name": block["name"], "input": block["input"]}}
        case "server_tool_use":
            use: Json = {"toolUseId": _id(block["id"]), "name": "nova_grounding", "input": block["input"]}
            return {"toolUse": {**use, "type": "server_tool_use"}}
        case "web_search_tool_result":
            text = {"text": "Found."}
            result: Json = {"toolUseId": _id(block["tool_use_id"]), "content": [text], "status": "success"}
            return {"toolResult": {**result, "type": "nova_grounding_result"}}
    return None


def _id(name: object) -> str:
    return "tooluse_" + str(name).partition("_01")[2]


def _citation(citation: Json) -> Json:
    quoted: Json = {"sourceContent": [{"text": citation["cited_text"]}]}
    if "url" in citation:
        return {**quoted, "title": citation["title"], "location": {"web": {"url": citation["url"]}}}
    kind, fields = _LOCATIONS[citation["type"]]
    place: Json = {theirs: citation[ours] for theirs, ours in fields}
    named: Json = {"title": citation.get("document_title", citation.get("title"))}
    if "source" in citation:
        named["source"] = citation["source"]
    return {**named, **quoted, "location": {kind: place}}


def _start(block: Json) -> Json | None:
    if "toolUse" in block:
        return {"toolUse": {name: value for name, value in table(block["toolUse"]).items() if name != "input"}}
    if "toolResult" in block:
        return {"toolResult": {name: value for name, value in table(block["toolResult"]).items() if name != "content"}}
    return None


def _deltas(block: Json, chunks: int | None) -> list[Json]:
    kind, value = next(iter(block.items()))
    inner = table(value)
    match kind:
        case "text":
            return [{"text": piece} for piece in pieces(str(value), chunks)]
        case "citationsContent":
            said = "".join(str(part["text"]) for part in listed(inner["content"]))
            texts: list[Json] = [{"text": piece} for piece in pieces(said, chunks)]
            texts += [{"citation": citation} for citation in listed(inner["citations"])]
            return texts
        case "toolUse":
            written = msgspec.json.encode(inner["input"]).decode()
            return [{"toolUse": {"input": piece}} for piece in pieces(written, None)]
        case "toolResult":
            return [{"toolResult": inner["content"]}]
        case _ if "redactedContent" in inner:
            return [{"reasoningContent": {"redactedContent": inner["redactedContent"]}}]
    thought = table(inner["reasoningText"])
    shown: list[Json] = [{"text": piece} for piece in pieces(str(thought["text"]), None)]
    return [{"reasoningContent": each} for each in (*shown, {"signature": thought["signature"]})]


def _stop(answer: Answer, asked: Json) -> Json:
    found: Json = {"stopReason": _STOPS.get(answer.stop_reason, answer.stop_reason)}
    paths = asked.get("additionalModelResponseFieldPaths")
    if isinstance(paths, list) and "/stop_sequence" in paths:
        found["additionalModelResponseFields"] = {"stop_sequence": answer.stop_sequence}
    return found


def _metadata(answer: Answer, asked: Json) -> Json:
    found: Json = {"usage": _usage(answer.usage), "metrics": {"latencyMs": 1}}
    return found | {name: asked[name] for name in ("serviceTier", "performanceConfig") if name in asked}


def _usage(said: Mapping[str, object]) -> Json:
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    plain, written, read, output = (_number(said[name]) for name in names)
    found: Json = {
        "inputTokens": plain,
        "outputTokens": output,
        "totalTokens": plain + written + read + output,
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": written,
    }
    created = table(said["cache_creation"])
    details = [
        {"ttl": ttl, "inputTokens": created[f"ephemeral_{ttl}_input_tokens"]}
        for ttl in ("5m", "1h")
        if created[f"ephemeral_{ttl}_input_tokens"]
    ]
    return found | ({"cacheDetails": details} if details else {})


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
