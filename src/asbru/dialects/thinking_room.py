"""One rule for a small ``max_tokens`` beside thinking that nobody asked for.

Providers count thinking in the limit of an answer. A client that asks for 300 tokens and no thinking would get an empty
answer from a model that thinks all the same. So where a model thinks though the request does not ask for it, and that
cannot be switched off, a limit below `ROOM_TOKENS` is raised by as much, up to what the model gives, and named.
Thinking that was asked for counts in ``max_tokens`` in the Messages API too.
"""

from __future__ import annotations

from asbru.dialects.codec import Context
from asbru.dialects.losses import Losses
from asbru.dialects.messages import Request

ROOM_TOKENS = 8192


def room(request: Request) -> int:
    """How many tokens more an answer may have whose thinking nobody asked for."""
    return ROOM_TOKENS if request.max_tokens < ROOM_TOKENS else 0


def most_tokens(request: Request, context: Context, room_tokens: int, losses: Losses) -> int:
    """The limit to send."""
    most, limit = request.max_tokens, context.facts.max_output_tokens
    raised = most + room_tokens if limit is None else min(most + room_tokens, max(limit, most))
    if raised != most:
        losses.note("approximated", "max_tokens", f"{raised}, because thinking counts in it and cannot be switched off")
    return raised
