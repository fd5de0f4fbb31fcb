"""A chat completion, whole or in chunks, said to a `MessageStream`.

Both are read by the same `_Reader`, for a message and a delta have the same fields. What hosts do differently is
tolerated where it is unambiguous: tool calls without index or id, with a repeated name, or with an input that is an
object; reasoning under three names; usage in the last chunk with choices, in one of its own, or in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from asbru.dialects import blobs, sse
from asbru.dialects.codec import Context
from asbru.dialects.message_stream import MessageStream, ProviderError, StreamError
from asbru.dialects.messages import StopReason
from asbru.dialects.openai_chat.calls import Calls
from asbru.dialects.openai_chat.wire import Call, Choice, Chunk, Delta, Usage, read_chunk, read_completion
from asbru.dialects.openai_common import REFUSAL, count, shown_tier
from asbru.dialects.openai_errors import in_answer
from asbru.dialects.think_tags import ThinkTags
from asbru.dialects.upstream_json import INVALID, read_any

Json = dict[str, Any]
T = TypeVar("T")

_STOP: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
    "model_length": "model_context_window_exceeded",  # Mistral
}
"""``finish_reason``; one that is not here says no more than that the answer is over."""
_FAILED = {
    "error": "api_error",  # OpenRouter, Mistral
    "abort": "api_error",  # vLLM
    "insufficient_system_resource": "overloaded_error",  # DeepSeek
}
_NONSENSE = "The provider's answer is not a chat completion"


def decode(body: bytes, context: Context) -> MessageStream:
    """See `Codec.decode`."""
    answer = _read(body, read_completion)
    reader = _Reader(context)
    stream = reader.stream
    reader.head(answer)
    choice = answer.choices[0] if answer.choices else None
    if choice is None or choice.message is None:
        raise StreamError(_NONSENSE)
    reader.failed(choice)
    reader.usage()
    stream.start()
    reader.whole(choice.message)
    stream.stop("end_turn")  # a whole answer is over, whether it says why or not
    reader.stop(choice)
    stream.finish()
    return stream


class ChunkDecoder:
    """See `Decoder`."""

    __slots__ = ("_reader", "_sse", "stream")

    def __init__(self, context: Context) -> None:
        self._reader = _Reader(context)
        self._sse = sse.Reader()
        self.stream = self._reader.stream

    def feed(self, data: bytes) -> bytes:
        stream = self.stream
        if stream.ended:
            return b""
        try:
            events = self._sse.feed(data)
        except sse.SseError as error:
            raise StreamError(str(error)) from None
        for event in events:
            if event.data.startswith(b"[DONE]"):
                self._reader.end()
                stream.finish()
                break
            if sse.is_filler(event):
                continue
            chunk = _read(event.data, read_chunk)
            if event.name == b"error" and chunk.error is None:
                raise in_answer(_read(event.data, read_any))
            self._chunk(chunk)
        return stream.take()

    def _chunk(self, chunk: Chunk) -> None:
        reader = self._reader
        if chunk.usage is not None or chunk.error is not None or chunk.x_groq is not None or chunk.service_tier:
            reader.head(chunk)
        for choice in chunk.choices or ():
            if choice.index:
                continue
            reader.failed(choice)
            if choice.delta is not None:
                reader.delta(choice.delta)
            if choice.finish_reason:
                reader.stop(choice)
        if chunk.usage is not None and self.stream.started:
            reader.usage()

    def end(self) -> bytes:
        self._reader.end()
        self.stream.finish()
        return self.stream.take()


def _read(data: bytes, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(data)
    except INVALID:
        raise StreamError(_NONSENSE) from None


class _Reader:
    """Says messages and deltas to the stream."""

    __slots__ = (
        "_calls",
        "_context",
        "_details",
        "_held_chars",
        "_pieces",
        "_reasoning",
        "_refused",
        "_said",
        "_tags",
        "_texts",
        "stream",
    )

    def __init__(self, context: Context) -> None:
        self.stream = context.new_stream()
        self._context = context
        self._refused = False
        self._said: Usage | None = None
        # Reasoning that is under way, and its state as far as the host wants it back
        self._reasoning = False
        self._texts: list[str] = []
        self._details: list[Json] = []
        self._pieces: list[str] = []
        """The text of the last of them."""
        self._held_chars = 0
        self._tags = ThinkTags() if context.quirks.think_tags else None
        self._calls = Calls(context, self.stream)

    def head(self, chunk: Chunk) -> None:
        """What stands outside the choices; raises `StreamError` for an error."""
        if chunk.error is not None:
            raise in_answer(chunk.error)
        if chunk.x_groq is not None and chunk.x_groq.error:
            raise in_answer(chunk.x_groq.error)
        usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq is not None else None)
        if usage is not None:
            self._said = usage
        self.stream.service_tier = shown_tier(chunk.service_tier) or self.stream.service_tier

    def failed(self, choice: Choice) -> None:
        """Raises `StreamError` for a choice that is an error."""
        if choice.error is not None:
            raise in_answer(choice.error)
        if choice.finish_reason in _FAILED:
            raise ProviderError("The provider could not finish its answer", _FAILED[choice.finish_reason])

    # Content

    def delta(self, delta: Delta) -> None:
        """A piece of the answer."""
        if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
            self._reason(delta)
        content = delta.content
        if content:
            if isinstance(content, str):
                self._text(content)
            else:
                self._parts(content)
        if delta.refusal:
            self._refused = True
            self._text(delta.refusal)
        if delta.tool_calls or delta.function_call is not None:
            self._leave_text()
        for call in delta.tool_calls or ():
            self._calls.piece(call)
        if delta.function_call is not None:
            self._calls.piece(Call(index=-1, function=delta.function_call))

    def whole(self, message: Delta) -> None:
        """The whole answer; inputs of tools are made sound, which those of a stream cannot be."""
        calls = list(message.tool_calls or ())
        if message.function_call is not None:
            calls.append(Call(function=message.function_call))
        message.tool_calls = message.function_call = None
        self.delta(message)
        if calls:
            self._leave_text()
            self._calls.whole(calls)
        self.end()

    def _text(self, text: str) -> None:
        if self._tags is None:
            self._say(text)
        else:
            self._split(self._tags.feed(text))

    def _split(self, pieces: list[tuple[bool, str]]) -> None:
        for is_thinking, piece in pieces:
            if is_thinking:
                self._think(piece)
            else:
                self._say(piece)

    def _say(self, text: str) -> None:
        if self._reasoning:
            self._end_reasoning()
        self.stream.text(text)

    def _leave_text(self) -> None:
        """Something other than text or reasoning comes, or nothing more."""
        if self._tags is not None:
            self._split(self._tags.end())
        if self._reasoning:
            self._end_reasoning()

    def _parts(self, parts: list[Json]) -> None:
        """Mistral's content: parts of text and of thinking; others have no counterpart."""
        for part in parts:
            if part.get("type") == "text":
                text = part.get("text")
                if isinstance(text, str) and text:
                    self._text(text)
            elif part.get("type") == "thinking":
                pieces = part.get("thinking")
                for piece in pieces if isinstance(pieces, list) else ():
                    text = piece.get("text") if isinstance(piece, dict) else None
                    if isinstance(text, str) and text:
                        self._think(text)

    # Reasoning

    def _reason(self, delta: Delta) -> None:
        details = delta.reasoning_details or []
        text = delta.reasoning_content or delta.reasoning
        if not text:
            text = "".join(str(detail.get("text") or detail.get("summary") or "") for detail in details)
        if details and self._context.quirks.reasoning_field == "reasoning_details":
            self._reasoning = True
            for detail in details:
                self._add_detail(detail)
        if text:
            self._think(text)

    def _think(self, text: str) -> None:
        self._reasoning = True
        if not self._context.show_thinking and self._context.quirks.reasoning_field is not None:
            self._hold(len(text))
            self._texts.append(text)  # the client does not see it, so it could not send it back
        self.stream.thinking(text)

    def _end_reasoning(self) -> None:
        """The signature: what the host wants to have back with the next turn."""
        self._reasoning = False
        state: Json = {}
        self._join_detail()
        if self._details:
            state["details"] = self._details
        elif self._texts:
            state["text"] = "".join(self._texts)
        self._details, self._texts, self._held_chars = [], [], 0
        if state or self._context.wants_thinking:
            self.stream.signature(blobs.seal(self._context.provider, self._context.model, state))

    def _add_detail(self, detail: Json) -> None:
        """One more piece of OpenRouter's reasoning: pieces of one come one after another, with the same index."""
        last = self._details[-1] if self._details else None
        field = {"reasoning.text": "text", "reasoning.summary": "summary"}.get(str(detail.get("type")))
        text = str(detail.get(field) or "") if field is not None else ""
        self._hold(len(text) + 64)
        if last is None or field is None or any(last.get(name) != detail.get(name) for name in ("type", "index")):
            self._join_detail()
            self._details.append(dict(detail))
        else:
            last |= {name: value for name, value in detail.items() if value is not None and name != field}
        if field is not None:
            self._pieces.append(text)

    def _join_detail(self) -> None:
        """Put the text of the last detail together, once: piece by piece would be quadratic."""
        if len(self._pieces) > 1:
            last = self._details[-1]
            last["summary" if last["type"] == "reasoning.summary" else "text"] = "".join(self._pieces)
        self._pieces.clear()

    def _hold(self, chars: int) -> None:
        self._held_chars += chars
        if self._held_chars > blobs.MAX_CHARS:
            raise StreamError("The provider's answer holds too much reasoning")

    # The end

    def end(self) -> None:
        """No more is coming."""
        self.usage()
        if not self.stream.ended:
            self._leave_text()
        self._calls.end()

    def stop(self, choice: Choice) -> None:
        """Why the answer is over."""
        reason = _STOP.get(choice.finish_reason or "", "end_turn") if choice.finish_reason else None
        if self._refused or reason == "refusal":
            self.stream.stop("refusal", details=REFUSAL)
            return
        sequence = choice.stop_reason or choice.matched_stop  # vLLM, SGLang
        if reason == "end_turn" and isinstance(sequence, str):
            self.stream.stop("stop_sequence", sequence)
        elif reason is not None:
            self.stream.stop(reason)

    def usage(self) -> None:
        """The counts as said last. The first event has none: a host may count differently until the end."""
        said = self._said
        if said is None:
            return
        usage = self.stream.usage
        prompt, output, total = count(said.prompt_tokens), count(said.completion_tokens), count(said.total_tokens)
        inside, outside = said.prompt_tokens_details, said.completion_tokens_details
        cached = count(inside.cached_tokens if inside is not None else None)
        cached = cached or count(said.prompt_cache_hit_tokens) or count(said.cached_tokens)
        written = count(inside.cache_write_tokens if inside is not None else None)
        thought = count(outside.reasoning_tokens if outside is not None else None)
        if thought and total == prompt + output + thought:
            output += thought  # xAI counts them beside the answer
        usage.cache_read_input_tokens = min(cached, prompt)
        usage.cache_creation_input_tokens = min(written, prompt - usage.cache_read_input_tokens)
        usage.input_tokens = prompt - usage.cache_read_input_tokens - usage.cache_creation_input_tokens
        usage.output_tokens = output
        usage.thinking_tokens = min(thought, output)
