"""A checked request as typed values, in one form.

`read` takes a body that has passed the tables of `request_fields` and gives a `Request` in which every ``content`` and
``system`` is a list of blocks. Blocks are loose on purpose: one struct with the fields that somebody here looks at;
what they may hold has been checked before.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from asbru.sandbox.ids import fingerprint

REMINDER = "<system-reminder>"
"""What Claude Code, and a translation of a system's turn, put around words in a user's turn that are not the user's."""


class Block(msgspec.Struct, kw_only=True):
    """One content block of any type."""

    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    server_name: str = ""
    input: dict[str, object] = {}
    tool_use_id: str = ""
    tool_name: str = ""
    content: object = None
    is_error: bool | None = None
    source: object = None
    title: str | None = None
    citations: object = None
    cache_control: dict[str, object] | None = None

    def inner(self) -> list[Block]:
        """The blocks inside ``content``; text that stands alone counts as one."""
        return blocks_of(self.content)

    def source_fields(self) -> dict[str, object]:
        """The fields of ``source`` when it is an object (of a search result it is a string)."""
        return {str(key): value for key, value in self.source.items()} if isinstance(self.source, dict) else {}

    def cites(self) -> bool:
        return isinstance(self.citations, dict) and self.citations.get("enabled") is True


class Message(msgspec.Struct, kw_only=True):
    role: str
    content: list[Block] = []
    output_config: dict[str, object] | None = None

    @property
    def is_directive(self) -> bool:
        """A system message that says nothing and only sets the effort from here on."""
        return self.role == "system" and not self.content and self.output_config is not None


class Tool(msgspec.Struct, kw_only=True):
    """A tool of any type; ``type`` is ``custom`` for those the caller describes with a schema."""

    type: str = "custom"
    name: str = ""
    input_schema: dict[str, object] = {}
    defer_loading: bool = False
    eager_input_streaming: bool | None = None
    mcp_server_name: str = ""
    configs: dict[str, dict[str, object] | None] | None = None
    default_config: dict[str, object] | None = None
    tools: list[dict[str, object]] | None = None
    cache_control: dict[str, object] | None = None


class ToolChoice(msgspec.Struct, kw_only=True):
    type: str = "auto"
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct, kw_only=True):
    type: str = "disabled"
    budget_tokens: int = 0
    display: str | None = None

    @property
    def on(self) -> bool:
        return self.type in ("enabled", "adaptive")


class Format(msgspec.Struct, kw_only=True):
    schema: dict[str, object]


class OutputConfig(msgspec.Struct, kw_only=True):
    effort: str | None = None
    format: Format | None = None


class McpToolConfiguration(msgspec.Struct, kw_only=True):
    allowed_tools: list[str] | None = None


class McpServer(msgspec.Struct, kw_only=True):
    name: str
    tool_configuration: McpToolConfiguration | None = None


class Thread(msgspec.Struct, kw_only=True):
    type: str
    previous_message_id: str = ""


class Request(msgspec.Struct, kw_only=True):
    """A Messages request (or, without ``max_tokens``, one to count tokens)."""

    fingerprint: bytes = b""
    model: str
    messages: list[Message]
    max_tokens: int = 0
    stream: bool = False
    system: list[Block] = []
    tools: list[Tool] = []
    raw_tools: list[dict[str, object]] = []
    """The tools as they came, for counting their tokens."""
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    stop_sequences: list[str] = []
    mcp_servers: list[McpServer] = []
    context_management: dict[str, object] | None = None
    thread: Thread | None = None
    cache_control: dict[str, object] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    inference_geo: str | None = None
    speed: str | None = None
    diagnostics: dict[str, object] | None = None

    @property
    def format(self) -> Format | None:
        """The schema the answer must fit, from either of the two fields that can give it."""
        return (self.output_config.format if self.output_config else None) or self.output_format

    @property
    def prefill(self) -> bool:
        """Whether the answer continues words that the caller began (a turn paused at a server tool is not that)."""
        last = self.messages[-1]
        return last.role == "assistant" and (not last.content or last.content[-1].type == "text")

    def last_user(self) -> Message:
        """The newest user message; an empty one when there is none."""
        return next((message for message in reversed(self.messages) if message.role == "user"), Message(role="user"))

    def last_text(self) -> str:
        """What the user said last: the last text of the newest user message that is not a reminder of the system's."""
        texts = [block.text for block in reversed(self.last_user().content) if block.type == "text"]
        return next((text for text in texts if not text.startswith(REMINDER)), texts[0] if texts else "")

    def tool_results(self) -> list[Block]:
        """The tool results that the newest user message brings."""
        return [block for block in self.last_user().content if block.type == "tool_result"]

    def blocks(self) -> Iterator[Block]:
        """Every block of every message, those inside tool results too."""
        for message in self.messages:
            for block in message.content:
                yield block
                if block.type == "tool_result":
                    yield from block.inner()


def blocks_of(content: object) -> list[Block]:
    if isinstance(content, str):
        return [Block(type="text", text=content)] if content else []
    if isinstance(content, list):
        return msgspec.convert(content, list[Block])
    return []


def read(body: dict[str, object]) -> Request:
    """The typed request; ``body`` must have passed `request_fields.MESSAGE` or `COUNT_TOKENS`."""
    raw_messages = body["messages"]
    assert isinstance(raw_messages, list)
    messages = [
        Message(role=raw["role"], content=blocks_of(raw.get("content")), output_config=raw.get("output_config"))
        for raw in raw_messages
    ]
    special = ("messages", "system", "tools")
    plain = {key: value for key, value in body.items() if key not in special and value is not None}
    request = msgspec.convert({**plain, "messages": []}, Request)
    request.fingerprint = fingerprint(body)
    request.messages = messages
    request.system = blocks_of(body.get("system"))
    tools = body.get("tools")
    request.raw_tools = tools if isinstance(tools, list) else []
    # A type of null is no type: the tool is one of the caller's own.
    given = [{key: value for key, value in tool.items() if value is not None} for tool in request.raw_tools]
    request.tools = msgspec.convert(given, list[Tool])
    return request
