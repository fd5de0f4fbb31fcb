"""What a translating dialect is: a sans-I/O codec between Messages and one provider's wire format; and what an envelope
is, for a provider that speaks Messages, but wants it wrapped.

A codec holds no state; everything about one request is in its `Context`. Bytes and structs in, bytes and structs out;
no clock, no network. Its request side tells `Losses` what it could not carry exactly; its response side tells a
`MessageStream` what it saw. Both raise only `LossyError` (the client's request cannot go there: a 400) and
`StreamError` (the provider's answer makes no sense).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from asbru.dialects.by_url import Kind
from asbru.dialects.losses import Fidelity, Losses
from asbru.dialects.message_stream import MessageStream
from asbru.dialects.messages import Request
from asbru.dialects.names import client_id
from asbru.dialects.splice import Members


class Quirks(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Where a provider differs from its dialect's reference; from data/providers.toml. Defaults are the reference."""

    max_tokens_field: str = "max_completion_tokens"
    """openai-chat: the name of the limit; ``max_tokens`` at most hosts other than OpenAI."""
    system_role: str = "system"
    """openai-chat: ``developer`` or ``system``."""
    mid_system: bool = True
    """openai-chat: a system message may stand in mid-conversation; otherwise it is folded into the user's turn."""
    user_after_tool: bool = True
    """openai-chat: a user message may follow a tool message; otherwise a short assistant message goes between."""
    stream_usage: bool = True
    """openai-chat: ``stream_options.include_usage`` is understood."""
    reasoning_field: str | None = None
    """openai-chat: where history takes reasoning: ``reasoning_content``, ``reasoning``, ``reasoning_details``, or
    ``thinking`` for parts of that type in the content."""
    reasoning_required: bool = False
    """openai-chat: an assistant message with tool calls must have the reasoning field, be it empty."""
    reasoning_effort: bool = True
    """There is a field for the effort; it is sent to models whose levels are known."""
    reasoning_object: bool = False
    """openai-chat: ``reasoning: {effort, max_tokens}`` in place of ``reasoning_effort``."""
    thinking_switch: bool = False
    """openai-chat: ``thinking: {type: enabled | disabled}`` is understood."""
    forced_choice_thinks: bool = True
    """A tool can be forced while the model thinks; otherwise thinking is switched off for it, or the model chooses."""
    think_tags: bool = False
    """openai-chat: reasoning stands at the head of the text, between ``<think>`` and ``</think>``."""
    json_schema: bool = True
    """Native structured output; otherwise a forced tool, otherwise an instruction."""
    json_schema_with_tools: bool = True
    """Native structured output together with tools."""
    tool_choice_required: bool = True
    """``tool_choice: required`` or a named function is understood."""
    tool_choice_named: bool = True
    """Where ``required`` is understood, so is a named function."""
    parallel_tool_calls: bool = True
    """``parallel_tool_calls`` is understood."""
    strict_tools: bool = False
    """``strict`` on a tool is understood."""
    mixed_strict: bool = False
    """Some tools of a request may be strict and others not; otherwise none is, unless all are."""
    web_search: bool = False
    """openai-chat: ``web_search_options`` is understood."""
    cache_breakpoints: str | None = None
    """openai-chat: how a content part marks a breakpoint: ``prompt_cache_breakpoint`` (OpenAI, gpt-5.6 and later) or
    ``cache_control`` (as in the Messages API)."""
    images: bool = True
    """Images can be sent, to models that are not known to take none."""
    image_url: bool = True
    """Images by URL are fetched by the provider."""
    files: bool = False
    """PDF documents can be sent."""
    max_stop_sequences: int = 4
    """How many stop sequences can be sent; the gateway watches for up to 64 others, of 4,000 characters in all."""
    tool_id_pattern: str = "^[a-zA-Z0-9_-]{1,64}$"
    """The ids of tool calls that are accepted, as a regular expression; others are mapped."""
    tool_id_form: str | None = None
    """What ids of tool calls look like in the history, with ``{name}`` and ``{index}``; foreign ids are given it."""
    tool_name_max: int = 64
    """The longest name of a tool; longer ones are mapped."""
    max_schema_depth: int | None = None
    """How deep a tool's JSON schema may be nested."""
    empty_text: bool = True
    """Empty text is accepted."""
    prompt_cache_key: bool = False
    """``prompt_cache_key`` is understood."""
    service_tier: bool = False
    """``service_tier`` is understood, with OpenAI's values."""
    user_field: str | None = None
    """Where the end user's id goes (``safety_identifier``, ``user``), hashed."""
    vertex: bool = False
    """gemini: the variant of Vertex AI, which differs in a few fields."""
    whole_max_tokens: int | None = None
    """The largest ``max_tokens`` of an answer that is not streamed; with a larger one it is streamed and joined."""
    stream_tools: bool = True
    """Answers with tools can be streamed; otherwise they come whole and are made a stream."""
    completed_when_cut: bool = False
    """openai-responses: an answer that was cut at the limit is called completed."""
    path: str | None = None
    """The path under the base URL, where it is not the dialect's own; ``{model}`` is replaced."""
    query: str = ""
    """A query that every request has, such as ``api-version=2025-04-01-preview``."""


class Model(msgspec.Struct, kw_only=True, frozen=True):
    """What is known of a model; None where nothing is. From data/models.json and the configuration."""

    context_tokens: int | None = None
    """The most input tokens."""
    max_output_tokens: int | None = None
    """The most output tokens."""
    reasoning: bool | None = None
    """It thinks before it answers (and mostly takes no sampling parameters)."""
    efforts: tuple[str, ...] = ()
    """The effort levels it accepts, lowest first; empty: unknown."""
    sampling: bool | None = None
    """It takes temperature and top_p."""
    images: bool | None = None
    documents: bool | None = None
    tools: bool | None = None
    structured_output: bool | None = None
    system_turns: bool | None = None
    """It takes messages with role ``system`` in mid-conversation."""


class Context(msgspec.Struct, kw_only=True):
    """One request on its way to one candidate."""

    provider: str
    model: str
    """The name sent upstream."""
    shown_model: str
    """The name the client asked for, and sees in the answer."""
    message_id: str
    """The id of the Message, when the provider gives none that will do."""
    quirks: Quirks = Quirks()
    facts: Model = Model()
    version: str = "2023-06-01"
    """``anthropic-version``."""
    betas: Sequence[str] = ()
    session_id: str | None = None
    wants_thinking: bool = True
    """False where the request has no ``thinking``, or has it off: then an answer has none. Set by `prepare`."""
    show_thinking: bool = True
    """False for ``thinking.display: omitted``, and where no thinking is wanted. Set by `prepare`."""
    tool_names: dict[str, str] = {}
    """Name sent upstream -> the client's, where they differ. Set while encoding."""
    document_titles: dict[str, str | None] = {}
    """Name of a document sent upstream -> the client's title, where names have rules. Set while encoding."""
    structured_tool: str | None = None
    """The forced tool that stands for structured output: its input is the answer's text. Set while encoding."""
    streams: bool = False
    """The provider is asked for a stream, whatever the client asked for."""
    max_output_tokens: int = 0
    """The limit that was sent. Set while encoding, where an answer is held against it."""
    stop_sequences: Sequence[str] = ()
    """Those that the gateway itself must watch for, because the provider cannot."""

    def client_tool_id(self, id: str) -> str:
        """The provider's id of a tool call as the client gets it; `prepare` gives it back as it was."""
        return client_id(id, self.provider, self.quirks.tool_id_pattern, self.quirks.tool_id_form, self.message_id)

    def new_stream(self) -> MessageStream:
        """What an answer to the request is told to."""
        return MessageStream(
            self.message_id,
            self.shown_model,
            show_thinking=self.show_thinking,
            wants_thinking=self.wants_thinking,
            stop_sequences=self.stop_sequences,
        )


class Sent(NamedTuple):
    """A request as it goes upstream, but for host and credentials."""

    target: bytes
    """Path and query below the provider's base URL."""
    body: bytes
    headers: bytes = b""
    """More header lines, each ended with CRLF."""
    accept: bytes | None = None
    """What it asks to be answered with; by default JSON, or server-sent events for a stream."""


class Fault(NamedTuple):
    """A provider's error in the Messages API's terms. ``message`` may hold the provider's words, never a credential."""

    status: int
    type: str
    message: str
    retry_after_s: float | None = None
    should_retry: bool | None = None
    of_model: bool = False
    """What the model wrote is at fault: says nothing of the provider's health."""


class Decoder(Protocol):
    """Reads one streamed answer."""

    stream: MessageStream

    def feed(self, data: bytes) -> bytes:
        """Some bytes of the provider's body; the Anthropic events they make. Any split gives the same events."""
        ...

    def end(self) -> bytes:
        """The body has ended cleanly: the last events, an error among them when the answer was not complete."""
        ...


class Codec(Protocol):
    """One dialect."""

    dialect: str
    fidelity: Fidelity
    counts: bool
    """Whether the dialect has a request that counts tokens; otherwise the gateway estimates."""

    def unfetched(self, context: Context) -> Collection[Kind]:
        """What the target could take if it were not by URL: it is for the gateway to fetch, where it may."""
        ...

    def encode(self, request: Request, context: Context, losses: Losses) -> Sent:
        """The request in this dialect; raises `LossyError`. It goes through `prepare.prepare` first."""
        ...

    def decode(self, body: bytes, context: Context) -> MessageStream:
        """A whole answer, as the finished stream it stands for; raises `StreamError`."""
        ...

    def decoder(self, context: Context) -> Decoder:
        """For a streamed answer."""
        ...

    def fault(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> Fault:
        """An error answer, never raising whatever it holds."""
        ...

    def encode_count(self, request: Request, context: Context, losses: Losses) -> Sent:
        """A request to count tokens; called only where ``counts``."""
        ...

    def decode_count(self, body: bytes) -> int:
        """The count; raises `StreamError`."""
        ...


class Unwrapper(Protocol):
    """Takes one streamed answer out of its envelope."""

    def feed(self, data: bytes) -> bytes:
        """Some bytes of the provider's body; the events in it, as the model made them. Any split gives the same.

        Never raises: what makes no sense ends the stream with an error event.
        """
        ...


class Envelope(ABC):
    """The client's own dialect at a host that serves it in its own way: spliced, not translated.

    The model stands in the path, the version and the betas in the body, the events in other frames. Of the body only
    top-level members change, or go because the host refuses them; of a whole answer nothing does.
    """

    dialect: str
    """``anthropic+`` and the host."""
    fidelity: Fidelity
    """Exact, but for what the host does not have."""
    counts: bool

    @abstractmethod
    def wrap(self, members: Members, context: Context, losses: Losses) -> Sent:
        """The request as the host takes it; raises `LossyError`, and `SpliceError` for a body that is no request."""

    @abstractmethod
    def wrap_count(self, members: Members, context: Context, losses: Losses) -> Sent:
        """As `wrap`, to count tokens; called only where ``counts``."""

    @abstractmethod
    def unwrapper(self) -> Unwrapper:
        """For a streamed answer."""

    @abstractmethod
    def unwrap_count(self, body: bytes) -> bytes:
        """A count as the Messages API gives it; raises `StreamError`."""

    @abstractmethod
    def fault(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> Fault | None:
        """An error answer of the host's; None for one of the Messages API's, which is relayed as it came."""
