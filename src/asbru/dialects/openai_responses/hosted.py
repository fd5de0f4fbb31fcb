"""What the provider runs itself, both ways: web search and remote MCP servers.

A search of the provider's is shown as Anthropic's ``server_tool_use`` and ``web_search_tool_result``, a call to an MCP
server as ``mcp_tool_use`` and ``mcp_tool_result``; their ids hold the item's own, so that they go back as the items
they were. A search's ``encrypted_content`` is sealed, so that it goes back to its own provider only, and never to
Anthropic (foreign.py). What a search does besides searching has no words in Messages and rides in a signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from asbru.dialects import blobs
from asbru.dialects.codec import Context
from asbru.dialects.json_text import encode as to_json
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.message_stream import MessageStream
from asbru.dialects.messages import Request, Tool, Unknown
from asbru.dialects.openai_responses import state

Json = dict[str, Any]

SOURCES = "web_search_call.action.sources"
"""Has to be asked for in ``include``."""

_SEARCH_ID = "srvtoolu_"
_MCP_ID = "mcptoolu_"
_RESULTS = frozenset({"web_search_tool_result", "mcp_tool_result"})
_LOCATION = ("type", "city", "region", "country", "timezone")


# Tools


def web_search(tool: Tool, path: str, losses: Losses) -> Json:
    """The provider's web search for Anthropic's."""
    found: Json = {"type": "web_search"}
    if tool.allowed_domains:
        found["filters"] = {"allowed_domains": tool.allowed_domains}
    if tool.blocked_domains:
        losses.note("dropped", "tools.web_search", "it can only be told where to search", f"{path}.blocked_domains")
    if tool.user_location:
        found["user_location"] = {
            name: tool.user_location.get(name) for name in _LOCATION if name in tool.user_location
        }
    return found


def mcp_servers(request: Request) -> list[Json]:
    """The MCP servers of a request, each with what its toolset allows of it."""
    toolsets = {tool.mcp_server_name: tool for tool in request.tools if tool.type == "mcp_toolset"}
    found = []
    for index, server in enumerate(request.mcp_servers):
        path = f"mcp_servers.{index}"
        name, url = server.get("name"), server.get("url")
        if not isinstance(name, str) or not isinstance(url, str):
            raise LossyError(path, "A server needs a name and a url")
        toolset = toolsets.pop(name, None)
        if toolset is not None:
            enabled, allowed = _of_toolset(toolset, path)
        else:
            enabled, allowed = _of_configuration(server.get("tool_configuration") or {})
        if not enabled:
            continue
        item: Json = {"type": "mcp", "server_label": name, "server_url": url, "require_approval": "never"}
        if server.get("authorization_token"):
            item["authorization"] = server["authorization_token"]
        if allowed is not None:
            item["allowed_tools"] = allowed
        found.append(item)
    if toolsets:
        raise LossyError("tools", f"An mcp_toolset names a server that is not in mcp_servers: {next(iter(toolsets))}")
    return found


def _of_configuration(configuration: Json) -> tuple[bool, list[str] | None]:
    """Whether the server may be used, and with which tools, as said in 2025-04."""
    allowed = configuration.get("allowed_tools")
    return configuration.get("enabled") is not False, allowed if isinstance(allowed, list) else None


def _of_toolset(toolset: Tool, path: str) -> tuple[bool, list[str] | None]:
    """The same as said since 2025-11. A tool that must not be called cannot be named, only those that may."""
    by_default = (toolset.default_config or {}).get("enabled") is not False
    switched = {
        name: config["enabled"]
        for name, config in (toolset.configs or {}).items()
        if isinstance(config, dict) and isinstance(config.get("enabled"), bool)
    }
    if by_default:
        if not all(switched.values()):
            raise LossyError(path, "Single tools of an MCP server cannot be switched off for this model, only on")
        return True, None
    allowed = [name for name, enabled in switched.items() if enabled]
    return bool(allowed), allowed


# Items sent back


def results(blocks: Iterable[object]) -> dict[str, Json]:
    """What came of searches and MCP calls in an assistant's turn, by the id of the call."""
    found = (block.raw for block in blocks if isinstance(block, Unknown) and block.type in _RESULTS)
    return {str(raw.get("tool_use_id")): raw for raw in found}


def item(block: Unknown, answered: Mapping[str, Json], provider: str) -> Json | None:
    """The item that a block of an assistant's turn stands for; None for a result, and for another provider's search."""
    raw = block.raw
    id = str(raw.get("id"))
    if block.type == "mcp_tool_use":
        return _mcp_call(raw, id, answered.get(id))
    if block.type != "server_tool_use" or not _is_search_of(answered.get(id), provider):
        return None
    action = {"type": "search", **(raw.get("input") or {})}
    return {"type": "web_search_call", "id": id.removeprefix(_SEARCH_ID), "status": "completed", "action": action}


def _is_search_of(result: Json | None, provider: str) -> bool:
    pages = result.get("content") if result is not None else None
    page = pages[0] if isinstance(pages, list) and pages else None
    mark = page.get("encrypted_content") if isinstance(page, dict) else None
    return isinstance(mark, str) and blobs.unseal(mark, provider, None) is not None


def _mcp_call(raw: Json, id: str, result: Json | None) -> Json:
    own = id.removeprefix(_MCP_ID)
    item: Json = {
        "type": "mcp_call",
        "id": own if own.startswith("mcp_") else "mcp_" + hashlib.sha256(id.encode()).hexdigest()[:48],
        "server_label": raw.get("server_name"),
        "name": raw.get("name"),
        "arguments": to_json(raw.get("input") or {}).decode(),
    }
    if result is not None:
        content = result.get("content")
        texts = content if isinstance(content, list) else [{"text": content or ""}]
        output = "\n".join(str(part.get("text", "")) for part in texts if isinstance(part, dict))
        if result.get("is_error"):
            item["error"] = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": output}]}
        else:
            item["output"] = output
    return item


# What was done, told to the client


def tell_search(
    stream: MessageStream, context: Context, key: object, id: str, status: str | None, action: Json
) -> None:
    """A ``web_search_call`` that is complete."""
    provider = context.provider
    sources = action.get("sources")
    urls = [source.get("url") for source in sources if isinstance(source, dict)] if isinstance(sources, list) else []
    plain = {name: value for name, value in action.items() if name != "sources" and value is not None}
    if plain.pop("type", None) != "search" or not urls or status not in (None, "completed"):
        if id:
            done = {"type": "web_search_call", "id": id, "status": status or "completed"}
            kept = {name: value for name, value in action.items() if name != "sources"}
            stream.signature(state.seal_item(provider, context.model, {**done, "action": kept}))
        return
    if "query" not in plain and plain.get("queries"):
        plain["query"] = plain["queries"][0]
    shown, mark = f"{_SEARCH_ID}{id}", blobs.seal(provider, None, {})
    stream.tool(key, shown, "web_search", "server_tool_use")
    stream.tool_json(key, to_json(plain).decode())
    stream.tool_end(key)
    stream.block(
        {
            "type": "web_search_tool_result",
            "tool_use_id": shown,
            "content": [
                {
                    "type": "web_search_result",
                    "url": url,
                    "title": url,
                    "encrypted_content": mark,
                    "page_age": None,
                }
                for url in urls
                if isinstance(url, str)
            ],
        }
    )


def tell_mcp_call(stream: MessageStream, key: object, id: str, server: str, name: str, call: Json) -> None:
    """An ``mcp_call`` that is complete: ``call`` is its arguments, output and error."""
    shown = f"{_MCP_ID}{id}"
    stream.tool(key, shown, name, "mcp_tool_use", {"server_name": server})
    stream.tool_json(key, call["arguments"] if isinstance(call["arguments"], str) else "")
    stream.tool_end(key)
    error = call["error"]
    text = _error_text(error) if error else str(call["output"] or "")
    stream.block(
        {
            "type": "mcp_tool_result",
            "tool_use_id": shown,
            "is_error": bool(error),
            "content": [{"type": "text", "text": text}],
        }
    )


def _error_text(error: object) -> str:
    """An error's words, in whichever of its shapes (``mcp_tool_call_error``)."""
    if not isinstance(error, dict):
        return str(error)
    content = error.get("content")
    parts = content if isinstance(content, list) else []
    texts = [str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part]
    return "\n".join(texts) or str(error.get("message") or content or "The tool failed")


def citation(kind: str | None, url: str | None, title: str | None) -> Json | None:
    """A citation of a web page; None for an annotation of another kind."""
    if kind != "url_citation" or not url:
        return None
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": title,
        "cited_text": "",
        "encrypted_index": blobs.UNSIGNED,
    }
