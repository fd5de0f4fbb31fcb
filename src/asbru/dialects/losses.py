"""What a translation could not carry, named.

Each codec has a `Fidelity` table: one `Row` for every field in `FIELDS`, saying what becomes of it. The same rows make
docs/reference/fidelity.md, so the page cannot say what the code does not. While it encodes, a codec tells its `Losses`
which fields of *this* request met a row that is not exact; `Losses.header` is ``x-asbru-loss``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Verdict = Literal["exact", "approximated", "emulated", "dropped", "refused"]
"""``refused``: a 400 that names the field, because going on without it would be wrong rather than less."""


class Row(NamedTuple):
    """What becomes of one field in one dialect. ``note`` says how, or why not, in a few words."""

    verdict: Verdict
    note: str


Fidelity = Mapping[str, Row]

FIELDS: dict[str, str] = {
    # request, top level
    "max_tokens": "the most output tokens",
    "max_tokens.0": "`max_tokens: 0` (cache pre-warm)",
    "system": "system prompt as a string or text blocks",
    "system.billing_header": "Claude Code's attribution block at the head of the system prompt",
    "messages.system": "a message with role `system` in the middle of the conversation",
    "messages.system.output_config": "effort on such a message",
    "messages.prefill": "a final assistant message to be continued",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop_sequences": "stop sequences",
    "stream": "server-sent events",
    "metadata.user_id": "who the end user is",
    "service_tier": "service tier",
    "speed": "`speed: fast`",
    "inference_geo": "where inference may run",
    "container": "container and skills",
    "context_management": "context editing",
    "compaction": "compaction request",
    "diagnostics": "cache diagnostics",
    "fallbacks.objects": "Anthropic's own server-side fallbacks",
    "mcp_servers": "remote MCP servers and mcp_toolset",
    "thread": "message threads",
    "safeguards": "safeguards",
    "tags": "tags",
    "billing_policy": "billing policy",
    "fallback_credit_token": "fallback credit token",
    "unknown": "a top-level field the gateway does not know",
    "cache_control": "prompt cache breakpoints",
    "anthropic-beta": "beta headers",
    # thinking and output
    "thinking.budget_tokens": "thinking with a budget",
    "thinking.adaptive": "adaptive thinking",
    "thinking.disabled": "thinking switched off",
    "thinking.display": "omitted or summarised thinking",
    "output_config.effort": "effort",
    "output_config.format": "structured output by JSON schema",
    "output_config.task_budget": "task budget",
    # content blocks
    "text": "text block",
    "text.citations": "citations on a text block sent back",
    "image.base64": "image, base64",
    "image.url": "image by URL",
    "image.file": "image by file id",
    "document.base64": "PDF, base64",
    "document.url": "PDF by URL",
    "document.text": "plain-text document",
    "document.content": "document of content blocks",
    "document.file": "document by file id",
    "document.citations": "citations wanted from a document",
    "search_result": "search result block",
    "thinking": "thinking block sent back, with its signature",
    "thinking.foreign": "thinking block of another provider",
    "redacted_thinking": "redacted thinking sent back",
    "tool_use": "tool call sent back",
    "tool_result": "tool result: text",
    "tool_result.image": "tool result: image",
    "tool_result.document": "tool result: document",
    "tool_result.search_result": "tool result: search result",
    "tool_result.tool_reference": "tool result: tool reference",
    "tool_result.is_error": "tool result that is an error",
    "tool_result.orphan": "tool result without its call",
    "server_tool_use": "server tool call and result sent back",
    "mcp_tool_use": "MCP tool call and result sent back",
    "container_upload": "container upload block",
    "compaction.block": "compaction block sent back",
    "tool_addition": "tools added or removed in mid-conversation",
    "block.unknown": "a block type the gateway does not know",
    # tools
    "tools.custom": "custom tool",
    "tools.name": "tool names longer or wider than the target allows",
    "tools.strict": "`strict` on a tool",
    "tools.defer_loading": "deferred tools",
    "tools.input_examples": "input examples",
    "tools.allowed_callers": "allowed callers",
    "tools.eager_input_streaming": "eager input streaming",
    "tools.client": "Anthropic's client tools: bash, text editor, memory, computer",
    "tools.toolset": "computer and browser toolsets",
    "tools.web_search": "web search",
    "tools.web_fetch": "web fetch",
    "tools.code_execution": "code execution",
    "tools.tool_search": "tool search",
    "tools.advisor": "advisor",
    "tool_choice": "tool choice auto, any, tool, none",
    "tool_choice.disable_parallel_tool_use": "one tool call at a time",
    # response
    "response.text": "answer text",
    "response.thinking": "reasoning shown as thinking",
    "response.signature": "reasoning state carried in the signature",
    "response.tool_use": "tool calls, parallel ones too",
    "response.citations": "citations",
    "response.stop_reason": "why it stopped",
    "response.stop_sequence": "which stop sequence matched",
    "response.refusal": "refusals and content filters",
    "response.usage": "token counts",
    "response.usage.cache": "cached tokens",
    "response.usage.thinking": "thinking tokens",
    "count_tokens": "counting tokens",
}
"""Everything a client may say or hear that a dialect may not have, with what it is."""


class Loss(NamedTuple):
    """One thing of one request that was not carried exactly."""

    verdict: Verdict
    field: str
    """A key of `FIELDS`."""
    path: str
    """Where in the request, such as ``messages.3.content.0``; the field itself when it has one place only."""
    note: str


class LossyError(Exception):
    """Something the target cannot take at all, or may not lose: a 400 that names it."""

    def __init__(self, path: str, message: str, details: dict[str, object] | None = None) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = f"{path}: {message}"
        self.details = details


MAX_NAMED = 32
MAX_PATH_CHARS = 128
"""A path ends in the client's own words where it sent a field that nobody knows."""


class Losses:
    """The losses of one request, each field named once, in the order they were met."""

    __slots__ = ("_table", "found")

    def __init__(self, table: Fidelity) -> None:
        self._table = table
        self.found: dict[str, Loss] = {}

    def meet(self, field: str, path: str = "") -> Row:
        """The request has this field; returns its row. Raises `LossyError` when the row refuses it."""
        row = self._table[field]
        if row.verdict == "refused":
            raise LossyError(path or field, row.note)
        if row.verdict != "exact" and field not in self.found and len(self.found) < MAX_NAMED:
            self.found[field] = Loss(row.verdict, field, path or field, row.note)
        return row

    def note(self, verdict: Verdict, field: str, note: str, path: str = "") -> None:
        """A loss that depends on more than the field, such as the model's own limits."""
        if field not in self.found and len(self.found) < MAX_NAMED:
            self.found[field] = Loss(verdict, field, path or field, note)

    def named(self) -> list[str]:
        """One line per loss, for the Record: ``dropped: top_k``, ``dropped: thinking.foreign at messages.1``."""
        return [
            f"{loss.verdict}: {loss.field}" + (f" at {loss.path[:MAX_PATH_CHARS]}" if loss.path != loss.field else "")
            for loss in self.found.values()
        ]

    def header(self) -> str:
        """``none``, or ``dropped: top_k; approximated: thinking.budget_tokens``, grouped by verdict."""
        if not self.found:
            return "none"
        groups: dict[str, list[str]] = {}
        for loss in self.found.values():
            groups.setdefault(loss.verdict, []).append(loss.path)
        return "; ".join(f"{verdict}: {', '.join(paths)}" for verdict, paths in groups.items())
