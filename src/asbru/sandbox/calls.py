"""Which tools an answer calls, and with what input.

The rule, in the order it is decided: a ``tool_choice`` that names or forces a tool is obeyed; otherwise nothing is
called when the newest user message brings tool results, when the caller began the answer, or with the option
``tools=never``. What is called are the tools whose names are in the user's last text (all of them, unless parallel
calls are off). When none is named, ``any`` gets the first tool and ``auto`` gets text. Deferred tools count once
something has referred to them.

Tools that start another agent are called only when ``tool_choice`` leaves no other tool: that agent has the same tools
and the same text, and would start the next one without end.

Inputs are made from the tools' schemas, and hold what those require: made-up options break real tools (a time-out of
1 ms for Claude Code's Bash, a range of pages for its Read). Only where nothing is required are the options filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from asbru.sandbox.models import Name
from asbru.sandbox.request import McpServer, Request, Tool, blocks_of
from asbru.sandbox.schema import sample

MAX_CALLS = 16
AGENT_TOOLS = frozenset({"Agent", "Task"})
"""Claude Code's tools that start another agent, by their present and former name."""

SERVER_FAMILIES = ("web_search", "web_fetch", "code_execution", "tool_search_tool", "advisor")
TYPED_INPUTS: dict[str, dict[str, object]] = {
    "bash": {"command": "echo sandbox"},
    "str_replace_editor": {"command": "view", "path": "/tmp/sandbox.txt"},  # noqa: S108
    "str_replace_based_edit_tool": {"command": "view", "path": "/tmp/sandbox.txt"},  # noqa: S108
    "memory": {"command": "view", "path": "/memories"},
    "computer": {"action": "screenshot"},
}
"""What is asked of the tools whose inputs the API itself defines."""
TOOLSETS = {"computer_toolset": ("screenshot", "cursor_position"), "browser_toolset": ("screenshot", "list_tabs")}
"""The member that is called, of those that are not switched off."""


class Call(msgspec.Struct, kw_only=True):
    kind: str
    """``client``: the caller runs it; ``mcp`` or one of `SERVER_FAMILIES`: the API does."""
    tool: Tool
    name: str
    input: dict[str, object] = {}
    toolset: str | None = None


def family(tool: Tool) -> str | None:
    """The server-side family of a tool; None for tools that the caller runs."""
    return next((name for name in SERVER_FAMILIES if tool.type.startswith(name)), None)


def loaded(request: Request) -> set[str]:
    """The deferred tools that the conversation has referred to, by a tool search or by the caller."""
    names = {block.tool_name for block in request.blocks() if block.type == "tool_reference"}
    for block in request.blocks():
        if block.type == "tool_search_tool_result" and isinstance(block.content, dict):
            names |= {reference.tool_name for reference in blocks_of(block.content.get("tool_references"))}
    return names


def _toolset_of(server: McpServer) -> Tool:
    """What a server of the first MCP beta offers: there it needed no toolset."""
    allowed = server.tool_configuration.allowed_tools if server.tool_configuration else None
    tools: list[dict[str, object]] = [{"name": name} for name in allowed or []]
    return Tool(type="mcp_toolset", mcp_server_name=server.name, tools=tools)


def available(request: Request) -> list[Tool]:
    known = loaded(request)
    tools = [tool for tool in request.tools if not tool.defer_loading or tool.name in known]
    with_toolset = {tool.mcp_server_name for tool in request.tools}
    return tools + [_toolset_of(server) for server in request.mcp_servers if server.name not in with_toolset]


def _is_on(tool: Tool, member: str) -> bool:
    default = (tool.default_config or {}).get("enabled", True)
    return ((tool.configs or {}).get(member) or {}).get("enabled", default) is not False


def _mcp_call(tool: Tool) -> Call | None:
    """A tool of the MCP server that the request names or lists; ``echo`` when it says nothing about them."""
    listed = [*(tool.configs or {}), *(str(item["name"]) for item in tool.tools or [])]
    name = next((member for member in listed if _is_on(tool, member)), None if listed else "echo")
    if name is None:
        return None
    schemas = {str(item["name"]): item.get("input_schema") for item in tool.tools or []}
    made = sample(schemas.get(name), name, terse=True)
    return Call(kind="mcp", tool=tool, name=name, input=made if isinstance(made, dict) else {"message": "sandbox"})


def call_of(tool: Tool) -> Call | None:
    """A call of this tool; None for a toolset that is switched off."""
    server_family = family(tool)
    if server_family:
        return Call(kind=server_family, tool=tool, name=tool.name)
    if tool.type == "mcp_toolset":
        return _mcp_call(tool)
    for prefix, members in TOOLSETS.items():
        if tool.type.startswith(prefix):
            member = next((member for member in members if _is_on(tool, member)), None)
            toolset = prefix.removesuffix("_toolset")
            return Call(kind="client", tool=tool, name=member, toolset=toolset) if member else None
    if tool.type != "custom":
        return Call(kind="client", tool=tool, name=tool.name, input=TYPED_INPUTS[tool.name])
    made = sample(tool.input_schema, tool.name, terse=True)
    return Call(kind="client", tool=tool, name=tool.name, input=made if isinstance(made, dict) else {})


def _is_named(tool: Tool, text: str) -> bool:
    """Whether the text has the tool's name as a word of its own; its underscores may be spaces there."""
    name = tool.name or tool.mcp_server_name or tool.type.split("_")[0]
    words = re.escape(name).replace("_", "[_ ]")
    return re.search(rf"(?<![\w-]){words}(?![\w-])", text) is not None


def choose(request: Request, name: Name) -> list[Call]:
    """The calls that the answer makes, in the order of the tools."""
    choice = request.tool_choice
    forced = choice is not None and choice.type in ("any", "tool")
    if choice is not None and choice.type == "none":
        return []
    continues = request.tool_results() or request.messages[-1].role == "assistant"
    if not forced and (name.options.tools == "never" or continues):
        return []
    return list(_calls(request))


def _calls(request: Request) -> Iterator[Call]:
    choice = request.tool_choice
    tools = available(request)
    text = request.last_text()
    if choice is not None and choice.type == "tool":
        chosen = [tool for tool in request.tools if tool.name == choice.name]
    else:
        harmless = [tool for tool in tools if tool.name not in AGENT_TOOLS]
        chosen = [tool for tool in harmless if _is_named(tool, text)]
        if not chosen and choice is not None and choice.type == "any":
            chosen = (harmless or tools)[:1]
    single = choice is not None and choice.disable_parallel_tool_use
    for tool in chosen[: 1 if single else MAX_CALLS]:
        call = call_of(tool)
        if call is not None:
            yield call
