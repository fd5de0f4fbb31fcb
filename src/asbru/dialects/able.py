"""What is refused before it is sent, because the model is known not to be able to do it; and whether to stream.

Only what makes the answer wrong rather than less: tools that cannot be called, and an image that is asked about now.
Images further back, or in what a tool gave, are the codecs' to leave out and to name: a conversation goes on without
them. Where nothing is known, nothing is refused.
"""

from __future__ import annotations

from asbru.dialects.codec import Context
from asbru.dialects.losses import LossyError
from asbru.dialects.messages import Image, Request


def streams(request: Request, context: Context) -> bool:
    """Whether to ask for a stream: as the client does, unless the host cannot. Answers are joined or split."""
    quirks = context.quirks
    if request.stream:
        return quirks.stream_tools or not request.tools
    return quirks.whole_max_tokens is not None and request.max_tokens > quirks.whole_max_tokens


def refuse_unable(request: Request, context: Context) -> None:
    """Raises `LossyError` for what the model cannot do."""
    facts = context.facts
    if facts.tools is False and request.tools:
        raise LossyError("tools", f"{context.model} is known to call no tools")
    if facts.images is not False:
        return
    for index in range(len(request.messages) - 1, -1, -1):
        turn = request.messages[index]
        if turn.role == "assistant":
            return
        for position, block in enumerate(turn.content):
            if isinstance(block, Image):
                raise LossyError(f"messages.{index}.content.{position}", f"{context.model} is known to take no images")
