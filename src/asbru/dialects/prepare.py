"""What every translation does first, whatever the target: contract/translation.md §8.0.

`prepare` rewrites a `Request` in Messages' own terms until only what the target's dialect has words for is left: it
drops what has no meaning elsewhere, folds system messages into the turns where they stand, renders documents, search
results and tool references as text, brings tools, tool names and ids into the target's alphabet, and leaves foreign
reasoning out. A dialect that has a native form for one of these says so in ``native`` (names from `losses.FIELDS`) and
finds it untouched. Everything that is not exact is met in `Losses`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from asbru.dialects import client_tools
from asbru.dialects.as_text import checked_image, document_text, join_texts, search_result_text
from asbru.dialects.blobs import is_sealed, unseal
from asbru.dialects.codec import Context
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import (
    Block,
    Document,
    Image,
    OutputConfig,
    RedactedThinking,
    Request,
    SearchResult,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
    Unknown,
)
from asbru.dialects.names import CallIds, tool_name
from asbru.dialects.tool_changes import changes

BILLING_PREFIX = "x-anthropic-billing-header"
ERROR_PREFIX = "Error: "
THREAD_UNSUPPORTED: dict[str, object] = {"error_code": "thread_unsupported_request"}

_TOP_LEVEL = {
    name: name
    for name in (
        "container",
        "context_management",
        "compaction",
        "diagnostics",
        "inference_geo",
        "thread",
        "safeguards",
        "tags",
        "billing_policy",
        "fallback_credit_token",
    )
} | {"fallbacks": "fallbacks.objects"}

_SERVER_TOOLS = {
    "web_search": "tools.web_search",
    "web_fetch": "tools.web_fetch",
    "code_execution": "tools.code_execution",
    "tool_search_tool": "tools.tool_search",
    "advisor": "tools.advisor",
    "computer_toolset": "tools.toolset",
    "browser_toolset": "tools.toolset",
    "mcp_toolset": "mcp_servers",
}
_UNKNOWN_BLOCKS = {
    "server_tool_use": "server_tool_use",
    "web_search_tool_result": "server_tool_use",
    "web_fetch_tool_result": "server_tool_use",
    "code_execution_tool_result": "server_tool_use",
    "bash_code_execution_tool_result": "server_tool_use",
    "text_editor_code_execution_tool_result": "server_tool_use",
    "tool_search_tool_result": "server_tool_use",
    "advisor_tool_result": "server_tool_use",
    "mcp_tool_use": "mcp_tool_use",
    "mcp_tool_result": "mcp_tool_use",
    "mcp_tool_listing": "mcp_tool_use",
    "container_upload": "container_upload",
    "compaction": "compaction.block",
    "fallback": "fallbacks.objects",
    "tool_addition": "tool_addition",
    "tool_removal": "tool_addition",
}
_PLACEHOLDER_TOOL = "DeferredToolPlaceholder"  # Claude Code's stand-in for the tools it has deferred


def server_tool_field(tool: Tool) -> str | None:
    """The `FIELDS` entry of one of Anthropic's server tools; None for every other tool."""
    kind = tool.type
    if kind is None or kind == "custom":
        return None
    return next((field for prefix, field in _SERVER_TOOLS.items() if kind.startswith(prefix)), None)


def prepare(
    request: Request, context: Context, losses: Losses, native: Collection[str] = (), maker: str | None = None
) -> Request:
    """The request as its target can take it; changes ``request`` and ``context`` in place and returns the former.

    ``maker`` is the model that reasoning is sealed for, where one model has several names.

    Raises `LossyError` for what the target's table refuses.
    """
    _top_level(request, losses, native)
    request.system = [block for block in request.system if not block.text.startswith(BILLING_PREFIX) and block.text]
    thinking = request.thinking
    context.wants_thinking = thinking is not None and thinking.type in ("enabled", "adaptive")
    context.show_thinking = context.wants_thinking and thinking is not None and thinking.display != "omitted"
    work = _Work(request, context, losses, native, maker or context.model)
    work.tools()
    work.turns()
    limit = context.facts.max_output_tokens
    if limit is not None and request.max_tokens > limit:
        losses.note("approximated", "max_tokens", f"{limit} is the most this model gives")
        request.max_tokens = limit
    return request


def _top_level(request: Request, losses: Losses, native: Collection[str]) -> None:
    for name, value in request.unknown.items():
        if name == "thread":
            raise LossyError("thread", "Message threads are not supported for this model", THREAD_UNSUPPORTED)
        if value not in ([], {}) and not (name == "context_management" and _clears_thinking_only(value)):
            losses.meet(_TOP_LEVEL.get(name, "unknown"), name)
    if request.max_tokens == 0:
        losses.meet("max_tokens.0", "max_tokens")
    if request.speed not in (None, "standard"):
        losses.meet("speed")
    if request.mcp_servers:
        losses.meet("mcp_servers")
    if "cache_control" not in native:
        if request.cache_control is not None:
            losses.meet("cache_control")
        for index, block in enumerate(request.system):
            if block.cache_control is not None:
                losses.meet("cache_control", f"system.{index}.cache_control")
    if request.output_config is not None and request.output_config.task_budget is not None:
        losses.meet("output_config.task_budget")
    if request.top_k is not None:
        losses.meet("top_k")


def _clears_thinking_only(management: object) -> bool:
    """Context editing that forgets old thinking loses nothing where no foreign thinking is sent in the first place."""
    edits = management.get("edits") if isinstance(management, dict) else None
    return isinstance(edits, list) and all(
        isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking") for edit in edits
    )


class _Work:
    """One request being prepared."""

    def __init__(self, request: Request, context: Context, losses: Losses, native: Collection[str], maker: str) -> None:
        self.request = request
        self.context = context
        self.losses = losses
        self.native = native
        self.maker = maker
        self.meet = losses.meet
        self.called: set[str] = set()
        """Ids of the tool calls seen so far, as the client names them."""
        self.answered: set[str] = set()
        """Ids of the results since the last assistant turn."""
        self.names: dict[str, str] = {}

    # Tools

    def cached(self, block: object, path: str) -> None:
        """A cache breakpoint on this, where the target has none."""
        if getattr(block, "cache_control", None) is not None and "cache_control" not in self.native:
            self.meet("cache_control", f"{path}.cache_control")

    def tools(self) -> None:
        loaded, added, removed = changes(self.request.messages)
        # Without the provider's own search a deferred tool could never be found: then all are sent at once.
        search = "tools.tool_search" not in self.native and any(
            server_tool_field(tool) == "tools.tool_search" for tool in self.request.tools
        )
        kept: list[Tool] = []
        for index, tool in enumerate([*self.request.tools, *added]):
            path = f"tools.{index}"
            if tool.name in removed:
                continue
            self.cached(tool, path)
            if tool.defer_loading and "tools.defer_loading" not in self.native:
                self.meet("tools.defer_loading", path)
                if tool.name == _PLACEHOLDER_TOOL or (tool.name not in loaded and not search):
                    continue
            field = server_tool_field(tool)
            if field is not None:
                row = self.meet(field, path)
                if row.verdict != "dropped" and not (search and field == "tools.tool_search"):
                    kept.append(tool)
            elif tool.is_custom:
                kept.append(self.custom(tool, path))
            else:
                self.meet("tools.client", path)
                stand_in = client_tools.custom(tool)
                if stand_in is None:
                    raise LossyError(path, f"The tool type {tool.type!r} is not supported for this model")
                kept.append(self.custom(stand_in, path))
        self.request.tools = kept
        choice = self.request.tool_choice
        if choice is not None and choice.name is not None:
            self.request.tool_choice = msgspec.structs.replace(choice, name=self.name(choice.name))

    def custom(self, tool: Tool, path: str) -> Tool:
        if not tool.name:
            raise LossyError(f"{path}.name", "Field required")
        for field in ("input_examples", "allowed_callers", "eager_input_streaming"):
            if getattr(tool, field):
                self.meet(f"tools.{field}", path)
        if tool.strict:
            self.meet("tools.strict", path)
        return msgspec.structs.replace(tool, name=self.name(tool.name))

    def name(self, name: str) -> str:
        """The tool's name upstream; the way back is kept in the context."""
        sent = self.names.get(name)
        if sent is None:
            sent = self.names[name] = tool_name(name, self.context.quirks.tool_name_max)
            if sent != name:
                self.meet("tools.name", name)
                self.context.tool_names[sent] = name
        return sent

    # Turns

    def turns(self) -> None:
        request, quirks = self.request, self.context.quirks
        calls = [block for turn in request.messages for block in turn.content if isinstance(block, ToolUse)]
        named = [(call.id, self.name(call.name)) for call in calls]
        self.tool_id = CallIds(self.context.provider, quirks.tool_id_pattern, quirks.tool_id_form, named).sent
        turns: list[Turn] = []
        for index, turn in enumerate(request.messages):
            path = f"messages.{index}"
            if turn.role == "system":
                self.system_turn(turn, path, turns)
                continue
            content: list[Block] = []
            for position, block in enumerate(turn.content):
                where = f"{path}.content.{position}"
                if isinstance(block, _ONLY_IN[_OTHER[turn.role]]):
                    raise _misplaced(block, turn, where)
                content += self.block(block, where)
            if not content:
                continue
            if turn.role == "assistant":
                self.answered.clear()
            if turns and turns[-1].role == turn.role:
                turns[-1].content += content
            else:
                turns.append(Turn(turn.role, content, turn.was_text))
        request.messages = turns
        if turns and turns[-1].role == "assistant":
            self.meet("messages.prefill", f"messages.{len(request.messages) - 1}")

    def system_turn(self, turn: Turn, path: str, turns: list[Turn]) -> None:
        """A system message in mid-conversation stays where it is, natively or as a reminder in the user's turn."""
        effort = (turn.output_config or {}).get("effort")
        if isinstance(effort, str):
            self.meet("messages.system.output_config", path)
            self.request.output_config = msgspec.structs.replace(
                self.request.output_config or OutputConfig(), effort=effort
            )
        texts = [block for block in turn.content if isinstance(block, Text) and block.text]
        for position, block in enumerate(turn.content):
            if isinstance(block, Unknown):
                self.unknown(block, path)
            elif isinstance(block, Text):
                self.cached(block, path)
            else:
                raise _misplaced(block, turn, f"{path}.content.{position}")
        if not texts:
            return
        self.meet("messages.system", path)
        said = "\n\n".join(text.text for text in texts)
        control = next((text.cache_control for text in reversed(texts) if text.cache_control is not None), None)
        if "messages.system" in self.native:
            turns.append(Turn("system", [Text(text=said, cache_control=control)]))
            return
        reminder = Text(text=f"<system-reminder>\n{said}\n</system-reminder>", cache_control=control)
        if turns and turns[-1].role == "user":
            last = turns[-1].content[-1]
            # Behind tool results it goes into the last one: text after them is a turn of its own for some targets.
            (last.content if isinstance(last, ToolResult) else turns[-1].content).append(reminder)
        else:
            turns.append(Turn("user", [reminder]))

    def block(self, block: Block, path: str) -> Iterable[Block]:
        """What one block becomes: nothing, itself, or something in its place."""
        self.cached(block, path)
        match block:
            case Text():
                if block.citations:
                    self.meet("text.citations", path)
                return [block] if block.text else []
            case Thinking() | RedactedThinking():
                return self.thinking(block, path)
            case ToolUse():
                self.called.add(block.id)
                return [msgspec.structs.replace(block, id=self.tool_id(block.id), name=self.name(block.name))]
            case ToolResult():
                return self.result(block, path)
            case Image():
                return checked_image(block, path, self.losses)
            case Document():
                return self.document(block, path)
            case SearchResult():
                self.meet("search_result", path)
                return [block] if "search_result" in self.native else [search_result_text(block)]
            case Unknown():
                return self.unknown(block, path)

    def thinking(self, block: Thinking | RedactedThinking, path: str) -> list[Block]:
        sealed = block.signature if isinstance(block, Thinking) else block.data
        if is_sealed(sealed) and unseal(sealed, self.context.provider, self.maker) is not None:
            self.meet("thinking", path)
            return [block]
        if isinstance(block, Thinking) and "thinking.unsigned" in self.native and block.thinking:
            return [block]
        self.meet("thinking.foreign" if isinstance(block, Thinking) else "redacted_thinking", path)
        return []

    def result(self, block: ToolResult, path: str) -> list[Block]:
        if block.tool_use_id in self.answered:
            # Targets that keep results by id would send the last one only.
            raise LossyError(path, f"each tool_use must have a single result; {block.tool_use_id!r} has another")
        content: list[Block] = []
        for position, part in enumerate(block.content):
            where = f"{path}.content.{position}"
            match part:
                case Text():
                    content.append(part)
                case Image():
                    self.meet("tool_result.image", where)
                    content += checked_image(part, where, self.losses)
                case Document():
                    self.meet("tool_result.document", where)
                    content += self.document(part, where)
                case SearchResult():
                    self.meet("tool_result.search_result", where)
                    content.append(part if "tool_result.search_result" in self.native else search_result_text(part))
                case Unknown(type="tool_reference"):
                    self.meet("tool_result.tool_reference", where)
                    content.append(Text(text=f"Tool {part.raw.get('tool_name')} loaded."))
                case _:
                    self.meet("block.unknown", where)
        if block.tool_use_id not in self.called:
            self.meet("tool_result.orphan", path)
            content.insert(0, Text(text="Result of an earlier tool call:"))
            last = content[-1]
            if block.cache_control is not None and isinstance(last, Text | Image | Document | SearchResult):
                content[-1] = msgspec.structs.replace(last, cache_control=block.cache_control)
            return content
        self.answered.add(block.tool_use_id)
        if block.is_error:
            self.meet("tool_result.is_error", path)
            if "tool_result.is_error" not in self.native:
                content.insert(0, Text(text=ERROR_PREFIX))
                content = join_texts(content)
        return [msgspec.structs.replace(block, tool_use_id=self.tool_id(block.tool_use_id), content=content)]

    def document(self, block: Document, path: str) -> list[Block]:
        kind = block.source.type
        if kind not in _DOCUMENT_SOURCES:
            self.meet("block.unknown", path)
            return []
        self.meet(f"document.{kind}", path)
        if (block.citations or {}).get("enabled"):
            self.meet("document.citations", path)
        if kind in ("text", "content") and f"document.{kind}" not in self.native:
            return document_text(block, path, self.losses)
        return [block]

    def unknown(self, block: Unknown, path: str) -> list[Block]:
        field = _UNKNOWN_BLOCKS.get(block.type, "block.unknown")
        row = self.meet(field, path)
        if field in self.native:
            return [block] if row.verdict != "dropped" else []
        summary = block.raw.get("content")
        if field == "compaction.block" and row.verdict != "dropped":
            # It stands for all that was said before: without its words the conversation has no beginning.
            if not isinstance(summary, str) or not summary:
                raise LossyError(path, "A compaction block without readable content is not supported for this model")
            return [Text(text=summary)]
        return []


_DOCUMENT_SOURCES = frozenset({"base64", "url", "text", "content", "file"})
_ONLY_IN: dict[str, tuple[type[Block], ...]] = {"assistant": (ToolUse,), "user": (ToolResult, Image, Document)}
_OTHER = {"assistant": "user", "user": "assistant"}


def _misplaced(block: Block, turn: Turn, path: str) -> LossyError:
    return LossyError(path, f"{block.type!r} blocks are not supported in {turn.role!r} messages")
