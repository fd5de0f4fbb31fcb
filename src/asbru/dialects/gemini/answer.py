"""A Gemini answer as a `MessageStream`: whole, or as it streams.

Every chunk of a stream is a whole `GenerateContentResponse` with the parts that are new; function calls come whole, in
one part; counts are those of the request so far; nothing marks the end but the end itself, after a ``finishReason``.
Thought signatures stand on parts of any kind; `_Teller` says where they go (state.py).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec

from asbru.dialects import faults, json_text, sse
from asbru.dialects.codec import Context
from asbru.dialects.gemini import errors, grounding, state
from asbru.dialects.gemini.wire import Answer, FunctionCall, Grounding, Part, TokenCount, UsageMetadata
from asbru.dialects.message_stream import MessageStream, ProviderError, StreamError
from asbru.dialects.messages import StopReason
from asbru.dialects.upstream_json import MAX_EVENT_VALUES, Reader

Json = dict[str, Any]

_answer = Reader(Answer, raw=("args",))
_event = Reader(Answer, max_values=MAX_EVENT_VALUES, raw=("args",))
_token_count = msgspec.json.Decoder(TokenCount).decode
_OF_MODEL = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"}
    | {"MISSING_THOUGHT_SIGNATURE"}
)
"""Why it stopped, where what the model wrote is at fault."""
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_STOPS: dict[str, StopReason] = {
    "STOP": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",
}
_REFUSALS = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "LANGUAGE",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "MODEL_ARMOR",
        "ESCALATION",
    }
)
"""Every other reason means that the answer is broken, such as ``MALFORMED_FUNCTION_CALL``: an error, because taken for
the end of a turn it would make agents stop with nothing done."""
_TIERS = {
    "standard": "standard",
    "flex": "standard",
    "priority": "priority",
    "ON_DEMAND": "standard",
    "ON_DEMAND_FLEX": "standard",
    "ON_DEMAND_PRIORITY": "priority",
}


class _Teller:
    """Says one answer's parts to a stream."""

    __slots__ = ("_context", "_grounding", "_in_text", "_late", "_thinking", "_tools", "stream")

    def __init__(self, context: Context) -> None:
        self.stream = context.new_stream()
        self._context = context
        self._tools = 0
        # What was said last: at most one of the two is true
        self._thinking = False
        self._in_text = False
        self._late: str | None = None
        """A signature that came behind text which is out already. It follows when something else does: as the last
        block of a message a thinking block hides the answer from clients that look for it there (Claude Code)."""
        self._grounding: Grounding | None = None

    def take(self, answer: Answer) -> None:
        """One chunk, or all of it."""
        if answer.error is not None:
            raise errors.stream_error(answer.error)
        stream = self.stream
        if answer.usage_metadata is not None:
            self._count(answer.usage_metadata)
            stream.start()
        if answer.candidates:
            candidate = answer.candidates[0]
            if candidate.content is not None and candidate.content.parts is not None:
                for part in candidate.content.parts:
                    self._part(part)
            if candidate.grounding_metadata is not None:
                self._ground(candidate.grounding_metadata)
            if candidate.finish_reason is not None:
                self._finish(candidate.finish_reason, candidate.finish_message)
        feedback = answer.prompt_feedback
        if feedback is not None and feedback.block_reason is not None:
            self._refuse(feedback.block_reason, feedback.block_reason_message)

    def end(self) -> None:
        """The answer is over."""
        if self._thinking:
            self._sign(None)
        if self._grounding is not None and self.stream.stopped:
            if self._in_text:
                grounding.cite(self._grounding, self.stream)
            if grounding.is_search(self._grounding):
                self._leave_text()
                call_id = f"srvtoolu_{self._context.message_id.removeprefix('msg_')}"
                grounding.tell_search(self._grounding, self.stream, call_id)
        self.stream.finish()

    # Parts

    def _part(self, part: Part) -> None:
        text, signature = part.text, part.thought_signature
        if text is not None and not part.thought:
            if signature is None and self._in_text:  # fast path: nearly all parts of a stream are these
                self.stream.text(text)
            else:
                self._text(text, signature)
        elif part.thought:
            self._thought(text or "", signature)
        elif part.function_call is not None:
            self._call(part.function_call, signature)
        else:
            self._other(part, signature)

    def _text(self, text: str, signature: str | None) -> None:
        if not text:
            self._late = signature or self._late
            return
        if self._in_text:
            self.stream.text(text)
            self._late = signature or self._late
            return
        self._sign(signature if self._context.wants_thinking else None)
        self.stream.text(text)
        self._in_text = True

    def _thought(self, text: str, signature: str | None) -> None:
        self._leave_text()
        if text:
            self.stream.thinking(text)
            self._thinking = True
        if signature is not None:
            part = {"text": "", "thought": True, "thoughtSignature": signature}
            self.stream.signature(self._seal(parts=[part]))
            self._thinking = False

    def _call(self, call: FunctionCall, signature: str | None) -> None:
        name, written = call.name, _object(call.args)
        if not name:
            raise StreamError("Gemini's answer has a tool call without a name")
        self._leave_text()
        self._sign(signature)
        if name == self._context.structured_tool:
            self.stream.text(written)
            self._in_text = True
            return
        self._tools += 1
        key = self._tools
        self.stream.tool(key, self._context.client_tool_id(call.id or ""), self._context.tool_names.get(name, name))
        self.stream.tool_json(key, written)
        self.stream.tool_end(key)

    def _other(self, part: Part, signature: str | None) -> None:
        """Parts that Messages has no words for go back as they were; of some the client is told in text."""
        whole: Json = {}
        if part.executable_code is not None:
            whole["executableCode"] = part.executable_code
        elif part.code_execution_result is not None:
            whole["codeExecutionResult"] = part.code_execution_result
        elif part.tool_call is not None:
            whole["toolCall"] = part.tool_call
        elif part.tool_response is not None:
            whole["toolResponse"] = part.tool_response
        media = part.inline_data or part.file_data
        if not whole and media is None:
            if signature is not None:
                self._late = signature
            return
        self._leave_text()
        if media is not None:
            self._sign(signature)
            told = f"[{media.mime_type or 'A file'}: cannot be shown here]"
        else:
            if signature is not None:
                whole["thoughtSignature"] = signature
            self.stream.signature(self._seal(parts=[whole]))
            self._thinking = False
            told = state.shown(whole)
        if told:
            self.stream.text(told)
            self.stream.end_block()

    def _leave_text(self) -> None:
        """Something other than text comes: the signature of the text before it can go."""
        if self._late is not None:
            if not self._context.wants_thinking:
                pass  # the text's own: no call needs it
            elif self._in_text:
                self.stream.signature(self._seal(after=self._late))
            else:
                self.stream.signature(self._seal(parts=[{"text": "", "thoughtSignature": self._late}]))
            self._thinking = False
            self._late = None
        self._in_text = False

    def _sign(self, signature: str | None) -> None:
        """Before a part: its signature, which also ends the thinking that was shown."""
        if signature is not None:
            self.stream.signature(self._seal(before=signature))
        elif self._thinking and self._context.wants_thinking:
            self.stream.signature(self._seal())
        self._thinking = False

    def _seal(self, **what: object) -> str:
        return state.seal(self._context.provider, self._context.model, **what)

    # The rest

    def _count(self, said: UsageMetadata) -> None:
        usage = self.stream.usage
        cached = said.cached_content_token_count or 0
        if said.prompt_token_count is not None:
            fresh = max(said.prompt_token_count - cached, 0)
            usage.input_tokens = fresh + (said.tool_use_prompt_token_count or 0)
            usage.cache_read_input_tokens = cached
        thoughts = said.thoughts_token_count or 0
        usage.thinking_tokens = thoughts
        usage.output_tokens = (said.candidates_token_count or 0) + thoughts
        tier = said.service_tier or said.traffic_type
        if tier is not None:
            self.stream.service_tier = _TIERS.get(tier)

    def _ground(self, said: Grounding) -> None:
        """Chunks of a stream say what is known so far; the last one with sources says all."""
        if said.grounding_chunks:
            self._grounding = said

    def _finish(self, reason: str, message: str | None) -> None:
        known = _STOPS.get(reason)
        if known is not None:
            self.stream.stop(known)
        elif reason in _REFUSALS:
            self._refuse(reason, message)
        elif reason == "PUP_LIMITED_DISABLED":
            raise StreamError(f"The provider's account is limited or disabled ({reason})", "permission_error")
        elif reason != "FINISH_REASON_UNSPECIFIED":
            detail = faults.clean(message or "")
            words = f"The model's answer is broken: {reason}" + (f". {detail}" if detail else "")
            raise ProviderError(words, of_model=reason in _OF_MODEL)

    def _refuse(self, reason: str, message: str | None) -> None:
        explanation = f"{reason}: {faults.clean(message)}" if message else reason
        self.stream.stop("refusal", details={"type": "refusal", "category": None, "explanation": explanation})


def _object(args: msgspec.Raw) -> str:
    """The arguments as JSON text: an object, whatever came."""
    raw = bytes(args)
    if raw.startswith(b"{"):
        return raw.decode()
    return "{}" if raw in (b"", b"null") else json_text.encode({"INVALID_JSON": raw.decode()}).decode()


class ChunkDecoder:
    """A streamed answer."""

    __slots__ = ("_events", "_teller", "stream")

    def __init__(self, context: Context) -> None:
        self._events = sse.Reader()
        self._teller = _Teller(context)
        self.stream = self._teller.stream

    def feed(self, data: bytes) -> bytes:
        try:
            for event in self._events.feed(data):
                if not self.stream.ended and not sse.is_filler(event):
                    self._teller.take(_event(event.data))
        except _NOT_JSON:
            raise StreamError("The upstream's stream holds what is not a Gemini answer") from None
        except sse.SseError as error:
            raise StreamError(str(error)) from None
        return self.stream.take()

    def end(self) -> bytes:
        if not self.stream.ended:
            self._teller.end()
        return self.stream.take()


def decode(body: bytes, context: Context) -> MessageStream:
    """A whole answer; raises `StreamError`."""
    teller = _Teller(context)
    try:
        answer = _answer(body)
        _gather(answer)
        teller.take(answer)
    except _NOT_JSON:
        raise StreamError("The upstream's answer is not a Gemini answer") from None
    if not teller.stream.stopped:
        raise StreamError("The upstream's answer is not complete")
    teller.end()
    return teller.stream


def _gather(answer: Answer) -> None:
    """A signature on empty text behind a text is that text's: in a whole answer it can still go before."""
    for candidate in answer.candidates or ():
        parts = (candidate.content.parts if candidate.content is not None else None) or []
        for before, part in pairwise(parts):
            is_text = before.text and not before.thought and before.thought_signature is None
            if is_text and part.text == "" and not part.thought and part.function_call is None:
                before.thought_signature, part.thought_signature = part.thought_signature, None


def decode_count(body: bytes) -> int:
    """The answer to ``countTokens``; raises `StreamError`."""
    try:
        return _token_count(body).total_tokens
    except _NOT_JSON:
        raise StreamError("The upstream's count is not one of Gemini's") from None
