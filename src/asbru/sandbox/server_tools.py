"""What the API's own tools and MCP servers would have done: the call and its result, made up and always the same.

Each function in `RESULTS` gives the input of the call, the type of the result block and its content. Nothing is
searched, fetched or run.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from asbru.sandbox.calls import Call
from asbru.sandbox.ids import identifier
from asbru.sandbox.request import Request

Json = dict[str, object]
Outcome = tuple[str, Json, str, object]
"""Name of the tool as the call has it, its input, type of the result block, content of the result block."""

PAGE = "Hello from the sandbox. This page was not fetched; it is always the same."
URL = re.compile(r"https?://[^\s\"'<>]+")


def _sealed(text: str) -> str:
    """What stands where the real API has encrypted content."""
    return base64.b64encode(f"sandbox:{text}".encode()).decode()


def search_results(query: str) -> list[Json]:
    return [
        {
            "type": "web_search_result",
            "url": f"https://example.com/sandbox/{number}",
            "title": f"Sandbox result {number} for {query}",
            "encrypted_content": _sealed(f"result {number}"),
            "page_age": "January 1, 2026",
        }
        for number in (1, 2)
    ]


def search_citation(result: Json) -> Json:
    return {
        "type": "web_search_result_location",
        "cited_text": PAGE,
        "encrypted_index": _sealed(str(result["url"])),
        "title": result["title"],
        "url": result["url"],
    }


def _query(request: Request) -> str:
    return request.last_text().strip()[:200] or "sandbox"


def _search(call: Call, request: Request) -> Outcome:
    query = _query(request)
    return "web_search", {"query": query}, "web_search_tool_result", search_results(query)


def _fetch(call: Call, request: Request) -> Outcome:
    found = URL.search(request.last_text())
    url = found.group() if found else "https://example.com/"
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": PAGE},
        "title": "Sandbox page",
        "citations": None,
    }
    content: Json = {
        "type": "web_fetch_result",
        "url": url,
        "content": document,
        "retrieved_at": "2026-01-01T00:00:00Z",
    }
    return "web_fetch", {"url": url}, "web_fetch_tool_result", content


def _execute(call: Call, request: Request) -> Outcome:
    result: Json = {"stdout": "Hello from the sandbox.\n", "stderr": "", "return_code": 0, "content": []}
    if call.tool.type == "code_execution_20250522":
        code: Json = {"code": 'print("Hello from the sandbox.")'}
        return "code_execution", code, "code_execution_tool_result", {"type": "code_execution_result", **result}
    return (
        "bash_code_execution",
        {"command": 'echo "Hello from the sandbox."'},
        "bash_code_execution_tool_result",
        {"type": "bash_code_execution_result", **result},
    )


def found_tools(request: Request) -> list[str]:
    """The deferred tools that a tool search finds."""
    return [tool.name for tool in request.tools if tool.defer_loading and tool.name][:3]


def _find_tools(call: Call, request: Request) -> Outcome:
    key = "pattern" if "regex" in call.tool.type else "query"
    references = [{"type": "tool_reference", "tool_name": name} for name in found_tools(request)]
    content: Json = {"type": "tool_search_tool_search_result", "tool_references": references}
    return call.name, {key: _query(request)}, "tool_search_tool_result", content


def _advise(call: Call, request: Request) -> Outcome:
    content: Json = {"type": "advisor_result", "text": "The sandbox advises to go on.", "stop_reason": "end_turn"}
    return "advisor", {}, "advisor_tool_result", content


RESULTS: dict[str, Callable[[Call, Request], Outcome]] = {
    "web_search": _search,
    "web_fetch": _fetch,
    "code_execution": _execute,
    "tool_search_tool": _find_tools,
    "advisor": _advise,
}


def run(call: Call, request: Request, seed: bytes) -> list[Json]:
    """The two blocks of a call that the API runs itself: the use and the result."""
    if call.kind == "mcp":
        use = identifier("mcptoolu", request.fingerprint, seed)
        answer = {"type": "text", "text": f"The sandbox answers for {call.name}.", "citations": None}
        return [
            {
                "type": "mcp_tool_use",
                "id": use,
                "name": call.name,
                "input": call.input,
                "server_name": call.tool.mcp_server_name,
            },
            {"type": "mcp_tool_result", "tool_use_id": use, "is_error": False, "content": [answer]},
        ]
    name, arguments, kind, content = RESULTS[call.kind](call, request)
    use = identifier("srvtoolu", request.fingerprint, seed)
    return [
        {"type": "server_tool_use", "id": use, "name": name, "input": arguments},
        {"type": kind, "tool_use_id": use, "content": content},
    ]
