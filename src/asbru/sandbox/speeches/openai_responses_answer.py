"""The sandbox's answer as a response, whole (`whole`) or as events (`events`), which end with the same response.

Output items stand in the order of the answer's blocks: reasoning, searches and MCP calls, messages, function calls.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from asbru.sandbox.ids import digest
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.speeches.openai import CREATED_S
from asbru.sandbox.speeches.openai_chat_answer import call_id
from asbru.sandbox.stream import Event, pieces
from asbru.sandbox.thinking import sign

_TIERS = {"priority": "priority", "fast": "priority", "flex": "flex"}
_INCOMPLETE = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}
_EMPTY: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def whole(answer: Answer, asked: Json) -> Json:
    incomplete = None if _is_refusal(answer, asked) else _INCOMPLETE.get(answer.stop_reason)
    found = _head(answer, asked, "completed" if incomplete is None else "incomplete")
    output = _items(answer, asked)
    if incomplete is not None:
        found["incomplete_details"] = {"reason": incomplete}
        if output and output[-1]["type"] == "message":
            output[-1]["status"] = "incomplete"
    found |= {"completed_at": CREATED_S if incomplete is None else None, "output": output, "usage": _usage(answer)}
    return found


def events(answer: Answer, asked: Json, chunks: int | None) -> Iterator[Event]:
    for number, event in enumerate(_unnumbered(answer, asked, chunks)):
        kind = str(event["type"])
        data = msgspec.json.encode({"type": kind, "sequence_number": number, **event})
        yield Event(b"event: %b\ndata: %b\n\n" % (kind.encode(), data), kind.endswith(".delta"))


def _unnumbered(answer: Answer, asked: Json, chunks: int | None) -> Iterator[Json]:
    begun = _head(answer, asked, "in_progress")
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    last = whole(answer, asked)
    output = last["output"]
    assert isinstance(output, list)
    for index, item in enumerate(output):
        where = {"item_id": item["id"], "output_index": index}
        yield {"type": "response.output_item.added", "output_index": index, "item": _begun(item)}
        for event in _steps(item, chunks):
            yield {**event, "type": f"response.{event['type']}", **where}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{last['status']}", "response": last}


def _begun(item: Json) -> Json:
    """An item as it is when it is added: of what comes in deltas, nothing."""
    empty: dict[str, object] = {"summary": [], "content": [], "arguments": "", "output": None}
    found = {name: empty.get(name, value) if name in item else value for name, value in item.items()}
    if item["type"] == "mcp_list_tools":
        return {**found, "tools": []}
    return {**found, "status": "in_progress"} if "status" in item else found


def _steps(item: Json, chunks: int | None) -> Iterator[Json]:
    """The events between an item's beginning and its end, without ``response.`` and where they are."""
    match item["type"]:
        case "reasoning":
            yield from _summary(item)
        case "message":
            yield from _content(item, chunks)
        case "function_call":
            yield from _arguments("function_call_arguments", item)
        case "web_search_call":
            for step in ("in_progress", "searching", "completed"):
                yield {"type": f"web_search_call.{step}"}
        case "mcp_list_tools":
            for step in ("in_progress", "completed"):
                yield {"type": f"mcp_list_tools.{step}"}
        case "mcp_call":
            yield {"type": "mcp_call.in_progress"}
            yield from _arguments("mcp_call_arguments", item)
            yield {"type": "mcp_call.completed"}


def _arguments(kind: str, item: Json) -> Iterator[Json]:
    for piece in pieces(str(item["arguments"]), None):
        yield {"type": f"{kind}.delta", "delta": piece}
    yield {"type": f"{kind}.done", "arguments": item["arguments"]}


def _summary(item: Json) -> Iterator[Json]:
    summary = item["summary"]
    assert isinstance(summary, list)
    for index, part in enumerate(summary):
        at = {"summary_index": index}
        yield {"type": "reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}}
        for piece in pieces(part["text"], None):
            yield {"type": "reasoning_summary_text.delta", **at, "delta": piece}
        yield {"type": "reasoning_summary_text.done", **at, "text": part["text"]}
        yield {"type": "reasoning_summary_part.done", **at, "part": part}


def _content(item: Json, chunks: int | None) -> Iterator[Json]:
    content = item["content"]
    assert isinstance(content, list)
    for index, part in enumerate(content):
        at = {"content_index": index}
        if part["type"] == "refusal":
            yield {"type": "content_part.added", **at, "part": {"type": "refusal", "refusal": ""}}
            for piece in pieces(part["refusal"], chunks):
                yield {"type": "refusal.delta", **at, "delta": piece}
            yield {"type": "refusal.done", **at, "refusal": part["refusal"]}
        else:
            yield {"type": "content_part.added", **at, "part": _EMPTY}
            for piece in pieces(part["text"], chunks):
                yield {"type": "output_text.delta", **at, "delta": piece, "logprobs": []}
            for number, annotation in enumerate(part["annotations"]):
                added = {"annotation_index": number, "annotation": annotation}
                yield {"type": "output_text.annotation.added", **at, **added}
            yield {"type": "output_text.done", **at, "text": part["text"], "logprobs": []}
        yield {"type": "content_part.done", **at, "part": part}


# The response and its items


def _head(answer: Answer, asked: Json, status: str) -> Json:
    text, reasoning = asked.get("text"), asked.get("reasoning")
    said = {"effort": None, "summary": None, **(reasoning if isinstance(reasoning, dict) else {})}
    form = {"format": {"type": "text"}, "verbosity": "medium", **(text if isinstance(text, dict) else {})}
    tools = asked.get("tools")
    return {
        "id": "resp_" + answer.id.removeprefix("msg_"),
        "object": "response",
        "created_at": CREATED_S,
        "status": status,
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": asked.get("max_tool_calls"),
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "prompt_cache_key": asked.get("prompt_cache_key"),
        "reasoning": said,
        "safety_identifier": asked.get("safety_identifier"),
        "service_tier": _TIERS.get(str(asked.get("service_tier")), "default"),
        "store": asked.get("store") is not False,
        "temperature": asked.get("temperature") or 1.0,
        "text": form,
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": [_shown(tool) for tool in tools] if isinstance(tools, list) else [],
        "top_logprobs": asked.get("top_logprobs") or 0,
        "top_p": asked.get("top_p") or 1.0,
        "truncation": asked.get("truncation") or "disabled",
        "usage": None,
        "user": asked.get("user"),
        "metadata": asked.get("metadata") or {},
    }


def _shown(tool: Json) -> Json:
    """A tool as the response repeats it: an MCP server without its credentials."""
    return {name: value for name, value in tool.items() if name not in ("authorization", "headers")}


def _items(answer: Answer, asked: Json) -> list[Json]:
    own = answer.id.removeprefix("msg_")
    items: list[Json] = []
    servers: set[object] = set()
    for index, block in enumerate(answer.content):
        number = f"{own}{index}"
        match block["type"]:
            case "thinking" | "redacted_thinking":
                items.append(_reasoning(answer, block, asked, f"rs_{number}"))
            case "text":
                _say(items, block, f"msg_{number}", refusal=_is_refusal(answer, asked))
            case "tool_use":
                call = {"type": "function_call", "id": f"fc_{number}", "call_id": call_id(block)}
                items.append({**call, "name": block["name"], "arguments": _json(block["input"]), "status": "completed"})
            case "server_tool_use":
                items.append(_search(block, answer.content[index + 1], asked, f"ws_{number}"))
            case "mcp_tool_use":
                if block["server_name"] not in servers:
                    servers.add(block["server_name"])
                    items.append(_listed(block, f"mcpl_{number}"))
                items.append(_mcp_call(block, answer.content[index + 1], f"mcp_{number}"))
    return items


def _includes(asked: Json, what: str) -> bool:
    include = asked.get("include")
    return isinstance(include, list) and what in include


def _reasoning(answer: Answer, block: Json, asked: Json, item_id: str) -> Json:
    wanted = asked.get("reasoning")
    shown = isinstance(wanted, dict) and (wanted.get("summary") or wanted.get("generate_summary"))
    summary = [{"type": "summary_text", "text": block["thinking"]}] if shown and block.get("thinking") else []
    item: Json = {"type": "reasoning", "id": item_id, "summary": summary}
    if _includes(asked, "reasoning.encrypted_content"):
        item["encrypted_content"] = sign("reasoning", digest(answer.id.encode()), item_id)
    return item


def _say(items: list[Json], block: Json, item_id: str, *, refusal: bool) -> None:
    """Add a text to the message that is being said, or begin one."""
    said, cited = str(block["text"]), block.get("citations")
    if refusal:
        part: Json = {"type": "refusal", "refusal": said}
        items.append({"type": "message", "id": item_id, "status": "completed", "role": "assistant", "content": [part]})
        return
    if not items or items[-1]["type"] != "message":
        part = {**_EMPTY, "annotations": []}
        items.append({"type": "message", "id": item_id, "status": "completed", "role": "assistant", "content": [part]})
    content = items[-1]["content"]
    assert isinstance(content, list)
    text = content[0]["text"]
    for citation in cited if isinstance(cited, list) else []:
        if "url" in citation:
            place = {"start_index": len(text), "end_index": len(text) + len(said)}
            place |= {"title": citation["title"], "url": citation["url"]}
            content[0]["annotations"].append({"type": "url_citation", **place})
    content[0]["text"] = text + said


def _search(use: Json, result: Json, asked: Json, item_id: str) -> Json:
    query = use["input"]["query"] if isinstance(use["input"], dict) else ""
    action: Json = {"type": "search", "query": query, "queries": [query]}
    found = result["content"]
    if _includes(asked, "web_search_call.action.sources") and isinstance(found, list):
        action["sources"] = [{"type": "url", "url": each["url"]} for each in found]
    return {"type": "web_search_call", "id": item_id, "status": "completed", "action": action}


def _listed(use: Json, item_id: str) -> Json:
    tool = {"name": use["name"], "description": None, "input_schema": {"type": "object"}, "annotations": None}
    return {"type": "mcp_list_tools", "id": item_id, "server_label": use["server_name"], "tools": [tool], "error": None}


def _mcp_call(use: Json, result: Json, item_id: str) -> Json:
    content = result["content"]
    return {
        "type": "mcp_call",
        "id": item_id,
        "status": "completed",
        "approval_request_id": None,
        "server_label": use["server_name"],
        "name": use["name"],
        "arguments": _json(use["input"]),
        "output": "".join(part["text"] for part in content) if isinstance(content, list) else None,
        "error": None,
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _is_refusal(answer: Answer, asked: Json) -> bool:
    """A refusal where an answer in a form was asked for: that has a part of its own."""
    text = asked.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    return answer.stop_reason == "refusal" and isinstance(form, dict) and form["type"] == "json_schema"


def _usage(answer: Answer) -> Json:
    said = answer.usage
    read, written = said["cache_read_input_tokens"], said["cache_creation_input_tokens"]
    plain, output = said["input_tokens"], said["output_tokens"]
    assert isinstance(read, int) and isinstance(written, int) and isinstance(plain, int) and isinstance(output, int)
    details = said.get("output_tokens_details")
    reasoning = details["thinking_tokens"] if isinstance(details, dict) else 0
    return {
        "input_tokens": plain + read + written,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": plain + read + written + output,
    }
