"""An upstream's answer that has been read whole, made into what the client asked for.

These run in a worker thread when the answer is large (`workers`), so they take and return all they need.
"""

from __future__ import annotations

from asbru.dialects import bounds, whole
from asbru.dialects.watch import MessageFacts, message_facts
from asbru.limits import Limits
from asbru.translate import Translation
from asbru.upstream.http1 import UpstreamError

ANSWER_LIMITS = Limits()


def message(
    body: bytes, translation: Translation | None, *, streamed: bool, stream: bool
) -> tuple[bytes, MessageFacts]:
    """The Message or, for a client that asked for a ``stream``, its events; and the Message's facts.

    ``streamed``: the provider sent events all the same. Raises `UpstreamError` and `StreamError`.
    """
    if translation is not None:
        if not streamed:
            check(body)
        body = translation.message(body, streamed=streamed)
    try:
        if streamed and translation is None:
            body = whole.join(body)
        check(body)
        facts = message_facts(body)
        if facts is None:
            raise whole.JoinError("the answer is not a Message")
        return (whole.events(body) if stream else body), facts
    except whole.JoinError as error:
        raise UpstreamError("protocol", str(error), responded=True) from None


def count(body: bytes, translation: Translation) -> bytes:
    """A count of tokens in the client's dialect; raises `UpstreamError` and `StreamError`."""
    check(body)
    return translation.count(body)


def check(body: bytes) -> None:
    """Raises `UpstreamError` for a JSON answer that holds more than is worked on."""
    if len(body) > bounds.LARGE_BYTES:
        try:
            bounds.check(body, ANSWER_LIMITS)
        except bounds.BoundError:
            raise UpstreamError("protocol", "the answer holds too much", responded=True) from None
