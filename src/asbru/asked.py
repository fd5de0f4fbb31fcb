"""What the gateway reads of a request's body, and the body as each candidate gets it.

The body is not parsed into objects: its top level is split once, a handful of values are read, and for a candidate
only the members that must differ are replaced (`model`) or removed (`fallbacks`, when it is a list of names and so
meant for the gateway). Wrong values of the fields read here are refused with the field's name; everything else is the
provider's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from asbru.dialects import bounds, foreign, member_names, named_models, splice
from asbru.dialects.by_url import Media, Refused, Wanted
from asbru.dialects.named_models import NamedModel
from asbru.errors import GatewayError
from asbru.limits import Limits

MAX_FALLBACKS = 16
MAX_MODEL_CHARS = 512


class _Thread(msgspec.Struct):
    type: str = ""
    previous_message_id: str | None = None


T = TypeVar("T")

_string = msgspec.json.Decoder(str | None).decode
_boolean = msgspec.json.Decoder(bool | None).decode
_integer = msgspec.json.Decoder(int | None).decode
_thread = msgspec.json.Decoder(_Thread | None).decode


def _field(members: splice.Members, name: str, decode: Callable[[bytes], T | None], says: str) -> T | None:
    raw = members.get(name)
    if raw is None:
        return None
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise GatewayError("invalid_request", f"{name}: {says}") from None


class Asked:
    """A request's body and what it asks for.

    ``fallbacks`` holds model names meant for the gateway; a provider's own ``fallbacks`` stay in the body.
    ``thread`` is ``None`` or the thread's type, and ``previous_message_id`` goes with ``continue``.
    """

    __slots__ = (
        "_members",
        "_own_fallbacks",
        "_spliced",
        "body",
        "fallbacks",
        "fetched",
        "model",
        "named",
        "previous_message_id",
        "stream",
        "strip_thinking",
        "thread",
    )

    def __init__(self, body: bytes, limits: Limits) -> None:
        try:
            if len(body) > bounds.LARGE_BYTES:
                bounds.check(body, limits)
            members = splice.split(body, max_members=len(body))
            bounds.check_members(len(members.spans), limits)
        except bounds.BoundError as error:
            raise GatewayError("too_large", str(error)) from None
        except splice.SpliceError as error:
            raise GatewayError("invalid_request", str(error)) from None
        if (fault := member_names.other_case(members.spans.keys(), member_names.MESSAGE)) is not None:
            raise GatewayError("invalid_request", fault)
        self.body = body
        self._members = members
        model = _field(members, "model", _string, "Input should be a valid string")
        if model is None:
            raise GatewayError("invalid_request", "model: Field required")
        if not 0 < len(model) <= MAX_MODEL_CHARS:
            raise GatewayError("invalid_request", f"model: String should have 1 to {MAX_MODEL_CHARS} characters")
        self.model = model
        self.stream = _field(members, "stream", _boolean, "Input should be a valid boolean") is True
        self.fallbacks = self._read_fallbacks()
        self.thread: str | None = None
        self.previous_message_id: str | None = None
        if "thread" in members:
            thread = _field(members, "thread", _thread, "Input should be a valid dictionary")
            if thread is not None:
                self.thread = thread.type
                self.previous_message_id = thread.previous_message_id
        self.strip_thinking = False
        """The target at hand refused the signature of earlier reasoning: it is sent the conversation without any."""
        self.named: list[NamedModel] = []
        """The models that it names besides ``model``, once `find_named` has looked for them."""
        self._spliced: tuple[str, Mapping[str, str], bool, bytes] | None = None
        self.fetched: dict[Wanted, Media | Refused] = {}
        """What URLs in it led to, for targets that cannot fetch; once for all attempts."""

    def _read_fallbacks(self) -> tuple[str, ...]:
        self._own_fallbacks = False
        raw = self._members.get("fallbacks")
        if raw is None or not raw.startswith(b"["):
            return ()
        try:
            names = msgspec.json.decode(raw, type=list[str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ()  # Anthropic's own fallbacks are objects: theirs to read
        if len(names) > MAX_FALLBACKS:
            raise GatewayError("invalid_request", f"fallbacks: List should have at most {MAX_FALLBACKS} items")
        self._own_fallbacks = True
        return tuple(names)

    @property
    def max_tokens(self) -> int:
        """The most output tokens it may cost; 0 when the field is missing or wrong, which the provider refuses."""
        return _field(self._members, "max_tokens", _integer, "Input should be a valid integer") or 0

    def find_named(self) -> None:
        """Look for the models that it names besides ``model``; raises `GatewayError` where that is not plain."""
        try:
            self.named = named_models.in_message(self._members, own_fallbacks=self._own_fallbacks)
        except splice.SpliceError as error:
            raise GatewayError("invalid_request", str(error)) from None

    def relayed(self, model: str, renamed: Mapping[str, str], *, foreign_reasoning: bool) -> bytes:
        """The body for an Anthropic-dialect provider; the client's own bytes when nothing has to change.

        ``renamed``: other names for models in ``named``.

        ``foreign_reasoning``: the conversation may have been answered by a provider of another dialect, whose reasoning
        must be left out; where there is none, looking for it would cost a third of what a body of 100 KB costs.
        Raises `GatewayError` when reasoning of another provider would have to be taken out of what is no conversation.
        """
        wanted = model, renamed, self.strip_thinking
        if self._spliced is None or self._spliced[:3] != wanted:
            try:
                body = self._with_model(model, renamed)
                if self.strip_thinking:
                    body = foreign.without_thinking(body)
                self._spliced = *wanted, foreign.without_sealed(body) if foreign_reasoning else body
            except splice.SpliceError as error:
                raise GatewayError("invalid_request", str(error)) from None
        return self._spliced[3]

    def _with_model(self, model: str, renamed: Mapping[str, str] | None = None) -> bytes:
        body, members = self.body, self._members
        if renamed:
            names = [(name, renamed.get(name, name), span) for _, name, span in self.named]
            body = splice.replace_models(body, names)
            members = splice.split(body)
        changes: dict[str, bytes | None] = {}
        if model != self.model:
            changes["model"] = msgspec.json.encode(model)
        if self._own_fallbacks:
            changes["fallbacks"] = None
        return splice.replace(body, members, changes) if changes else body

    def leave_out_thinking(self) -> bool:
        """Send the target at hand no earlier reasoning from here on; False when that makes no difference."""
        if self.strip_thinking or b"thinking" not in self.body:
            return False
        self.strip_thinking = True
        return True

    @property
    def wrappable(self) -> splice.Members:
        """The top level of the body without what was said to the gateway and without foreign reasoning.

        For a host of the client's own dialect that wraps it; raises `splice.SpliceError` as `relayed` does.
        """
        body = foreign.without_sealed(self._with_model(self.model))
        if self.strip_thinking:
            body = foreign.without_thinking(body)
        return self._members if body is self.body else splice.split(body, len(self._members.spans))

    @property
    def translatable(self) -> bytes:
        """The body without what was said to the gateway, for a codec to read."""
        return self._with_model(self.model)
