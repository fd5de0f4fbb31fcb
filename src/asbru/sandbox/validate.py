"""Is this request one that the real API would take? If not, its error, worded as the real one.

`shaped` checks what can be said of single fields: betas and API version (fields that do not exist for this caller) and
the tables of `request_fields`. `message` checks the rest: the model's own rules (contract §2.6), tools, caching, the
conversation (`conversation.RULES`) and output. Only the first thing that is wrong is reported.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from asbru.sandbox import conversation, request_fields, tokens
from asbru.sandbox.answers import ApiError, invalid
from asbru.sandbox.models import ALL_EFFORT, Profile
from asbru.sandbox.output_schema import check_schema
from asbru.sandbox.request import Request, read
from asbru.sandbox.shape import Shape

VERSIONS = ("2023-06-01", "2026-10-21")
SAMPLING = {"temperature": 1, "top_p": 1, "top_k": None}
"""The sampling fields and the values that change nothing."""
MAX_BREAKPOINTS = 4
UNTHREADED = ("thinking", "context_management", "fallbacks")

TOOL_BETAS = {
    "mcp_toolset": ("mcp-client-",),
    "advisor_20260301": ("advisor-tool-",),
    "bash_20241022": ("computer-use-",),
    "text_editor_20241022": ("computer-use-",),
    "computer_20241022": ("computer-use-",),
    "computer_20250124": ("computer-use-",),
    "computer_20251124": ("computer-use-",),
}
SYSTEM_MESSAGE_BETAS = {
    "output_config": ("per-turn-control-", "mid-conversation-output-config-"),
    "clear_at": ("mid-conversation-system-clear-at-",),
}


class Caller:
    """What the request's headers say: the API version and the betas asked for."""

    def __init__(self, version: str, betas: frozenset[str]) -> None:
        self.version = version
        self.betas = betas

    @property
    def is_new(self) -> bool:
        return self.version >= "2026-10-21"

    def has(self, prefixes: tuple[str, ...]) -> bool:
        return any(beta.startswith(prefixes) for beta in self.betas)


def fields(body: dict[str, object], caller: Caller) -> None:
    """Refuse what exists only with a beta that was not asked for, or no longer exists in this API version."""
    for name, prefixes in request_fields.BETAS.items():
        if body.get(name) is not None and not caller.has(prefixes):
            raise invalid(f"{name}: Extra inputs are not permitted")
    for name in SAMPLING:
        if name in body and caller.is_new:
            raise invalid(f"{name}: Extra inputs are not permitted")
    tools = body.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else []):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind in TOOL_BETAS and not caller.has(TOOL_BETAS[kind]):
            raise invalid(
                f"tools.{index}: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
                + ", ".join(f"'{name}'" for name in sorted(request_fields.TOOLS) if name not in TOOL_BETAS)
            )
    messages = body.get("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else []):
        for name, prefixes in SYSTEM_MESSAGE_BETAS.items():
            if isinstance(message, dict) and message.get(name) is not None and not caller.has(prefixes):
                raise invalid(f"messages.{index}.{name}: Extra inputs are not permitted")


def version_rules(request: Request, caller: Caller) -> None:
    """What API version 2026-10-21 no longer takes (contract §0.7)."""
    if not caller.is_new:
        return
    for index, message in enumerate(request.messages):
        for position, block in enumerate(message.content):
            at = f"messages.{index}.content.{position}"
            if message.role == "assistant" and block.type == "document":
                raise invalid(f"{at}: `document` blocks can only be in `user` messages")
            if message.role == "user" and block.type == "text" and block.citations:
                raise invalid(f"{at}.text.citations: `citations` can only be in `assistant` messages")


def thinking_rules(request: Request, profile: Profile, caller: Caller) -> None:
    thinking = request.thinking
    if thinking is None:
        return
    if thinking.type not in profile.thinking:
        if thinking.type == "enabled":
            raise invalid(
                '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
                '"output_config.effort" to control thinking behavior.'
            )
        if thinking.type == "adaptive":
            raise invalid("adaptive thinking is not supported on this model")
        raise invalid(f'"thinking.type.{thinking.type}" is not supported for this model.')
    effort = request.output_config.effort if request.output_config else None
    if thinking.type == "disabled" and effort and ALL_EFFORT.index(effort) > ALL_EFFORT.index(profile.disabled_up_to):
        raise invalid(f'"thinking.type.disabled" is not supported with effort "{effort}" on this model.')
    if not thinking.on:
        return
    interleaved = caller.has(("interleaved-thinking-",)) and request.tools
    if thinking.type == "enabled" and 0 < request.max_tokens <= thinking.budget_tokens and not interleaved:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if thinking.type == "enabled" and request.temperature not in (None, 1):
        raise invalid("`temperature` may only be set to 1 when thinking is enabled.")
    if request.tool_choice and request.tool_choice.type in ("any", "tool"):
        raise invalid("Thinking may not be enabled when tool_choice forces tool use.")


def model_rules(request: Request, profile: Profile) -> None:
    if request.max_tokens > profile.max_tokens:
        raise invalid(
            f"max_tokens: {request.max_tokens} > {profile.max_tokens}, which is the maximum allowed number of "
            f"output tokens for {request.model}"
        )
    sampling = {"temperature": request.temperature, "top_p": request.top_p, "top_k": request.top_k}
    for name, value in sampling.items():
        if value is None or profile.sampling == "any":
            continue
        if profile.sampling == "never" or value != SAMPLING[name]:
            raise invalid(f"`{name}` is deprecated for this model.")
    effort = request.output_config.effort if request.output_config else None
    if effort and effort not in profile.effort:
        raise invalid("This model does not support the effort parameter.")
    choice = request.tool_choice
    if choice and choice.type in ("any", "tool") and not profile.forced_tools:
        raise invalid('tool_choice: type "tool" and "any" are not supported for this model.')


def tool_rules(request: Request, caller: Caller) -> None:
    names = [tool.name for tool in request.tools if tool.name]
    if len(set(names)) != len(names):
        raise invalid("tools: Tool names must be unique.")
    choice = request.tool_choice
    if choice and not request.tools and choice.type != "none":
        raise invalid("tool_choice may only be specified while providing `tools`.")
    if choice and choice.type == "tool" and choice.name not in names:
        raise invalid(f"Tool '{choice.name}' not found in provided tools")
    servers = [server.name for server in request.mcp_servers]
    if len(set(servers)) != len(servers):
        raise invalid("mcp_servers: MCP server names must be unique.")
    toolsets = [tool.mcp_server_name for tool in request.tools if tool.type == "mcp_toolset"]
    for index, tool in enumerate(request.tools):
        if tool.type == "mcp_toolset" and tool.mcp_server_name not in servers:
            raise invalid(
                f"tools.{index}.mcp_toolset.mcp_server_name: MCP server '{tool.mcp_server_name}' is not defined in "
                "`mcp_servers`."
            )
    # The first version of the beta had no toolsets: there a server is its own permission.
    for server in servers:
        if server not in toolsets and not caller.has(("mcp-client-2025-04-04",)):
            raise invalid(f"MCP server '{server}' is defined but not referenced by any `mcp_toolset` in `tools`.")


def breakpoints(value: object) -> Iterator[dict[str, object]]:
    """Every ``cache_control`` inside blocks and tools, in the order they stand; schemas and inputs are not searched."""
    if isinstance(value, list):
        for item in value:
            yield from breakpoints(item)
    elif isinstance(value, dict):
        yield from breakpoints(value.get("content"))
        if isinstance(value.get("cache_control"), dict):
            yield value["cache_control"]


def cache_marks(request: Request, body: dict[str, object]) -> list[dict[str, object]]:
    marks = [mark for part in ("tools", "system", "messages") for mark in breakpoints(body.get(part))]
    return [*marks, request.cache_control] if request.cache_control is not None else marks


def cache_rules(request: Request, body: dict[str, object]) -> None:
    marks = cache_marks(request, body)
    if len(marks) > MAX_BREAKPOINTS:
        raise invalid(f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marks)}.")
    ttls = [tokens.ttl_of(mark) for mark in marks]
    if "5m" in ttls and "1h" in ttls[ttls.index("5m") :]:
        raise invalid(
            "cache_control: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note "
            "that blocks are processed in the following order: `tools`, `system`, `messages`."
        )


def output_rules(request: Request) -> None:
    if any(not sequence.strip() for sequence in request.stop_sequences):
        raise invalid("stop_sequences: each stop sequence must contain non-whitespace")
    if request.format is None:
        return
    where = "output_format" if request.output_format else "output_config.format"
    check_schema(request.format.schema, f"{where}.schema")
    if request.prefill:
        raise invalid(f"{where}: structured outputs cannot be used with assistant message prefill")
    if any(block.cites() for block in request.blocks()):
        raise invalid(f"{where}: structured outputs cannot be used with citations")


def thread_rules(request: Request, body: dict[str, object]) -> None:
    """What a thread cannot carry; the SDKs send the whole conversation again without a thread."""
    if request.thread is None:
        return
    unsupported = [name for name in UNTHREADED if body.get(name) is not None]
    if cache_marks(request, body):
        unsupported.insert(0, "cache_control")
    if unsupported:
        raise ApiError(
            400,
            f"thread: {', '.join(unsupported)} cannot be used with `thread`.",
            details={"error_code": "thread_unsupported_request", "unsupported": unsupported},
        )


def file_rules(request: Request, files: Container[str]) -> None:
    for block in request.blocks():
        file_id = block.source_fields().get("file_id")
        if isinstance(file_id, str) and file_id not in files:
            raise ApiError(404, f"File not found: {file_id}")


def shaped(body: object, shape: Shape, caller: Caller) -> dict[str, object]:
    """The body, when it has only fields this caller may send and they have their shapes."""
    if not isinstance(body, dict):
        raise invalid("Input should be an object")
    fields(body, caller)
    shape(body, ())
    return body


def message(body: dict[str, object], profile: Profile, caller: Caller, files: Container[str]) -> Request:
    """The request, when all is well; ``body`` must have passed `shaped`."""
    request = read(body)
    version_rules(request, caller)
    thinking_rules(request, profile, caller)
    model_rules(request, profile)
    tool_rules(request, caller)
    cache_rules(request, body)
    thread_rules(request, body)
    for rule in conversation.RULES:
        rule(request, profile)
    output_rules(request)
    file_rules(request, files)
    total = tokens.cached(request).total
    if total > profile.max_input_tokens:
        raise invalid(f"prompt is too long: {total} tokens > {profile.max_input_tokens} maximum")
    return request
