"""An `Answer` as server-sent events, exactly as contract §4 has them.

`events` yields whole events, each with whether it is a delta (the pauses of ``delay_ms`` come before deltas). Putting
the events together again gives the answer's message, field by field.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from asbru.sandbox.models import Options
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json

TEXT_CHARACTERS = 20
"""Length of a text delta, unless the model's name says how many there are."""
EAGER_CHARACTERS = 8
"""Length of a delta of tool input that is streamed as it comes."""
DELTA_USAGE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
)
"""What ``message_delta`` repeats of the usage; all of it is cumulative."""
IN_DELTA = ("container",)
"""Extra fields that stand inside ``message_delta.delta``; the others stand beside it."""


class Event(NamedTuple):
    data: bytes
    is_delta: bool = False


def encode(value: Json) -> Event:
    """One event: its name, its data on one line, an empty line."""
    kind = str(value["type"])
    return Event(
        b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(value)), kind == "content_block_delta"
    )


def pieces(text: str, count: int | None, length: int = TEXT_CHARACTERS) -> list[str]:
    """The text in ``count`` nearly equal pieces (fewer when it is shorter), or in pieces of ``length``."""
    if count is None:
        return [text[at : at + length] for at in range(0, len(text), length)]
    count = min(count, len(text))
    cuts = [len(text) * index // count for index in range(count + 1)] if count else []
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


def parameters(value: object) -> list[str]:
    """Tool input as the API streams it by default: one piece per finished parameter."""
    if not isinstance(value, dict) or not value:
        return ["{}"]
    made = []
    for index, (name, item) in enumerate(value.items()):
        pair = f"{msgspec.json.encode(name).decode()}: {msgspec.json.encode(item).decode()}"
        made.append(("{" if index == 0 else ", ") + pair)
    made[-1] += "}"
    return made


def begin(answer: Answer) -> Event:
    usage = {**answer.usage, "output_tokens": min(1, int(str(answer.usage["output_tokens"])))}
    for name in ("output_tokens_details", "server_tool_use"):
        usage.pop(name, None)
    unknown = ("stop_reason", "stop_sequence", "stop_details", *(name for name in answer.extra if name in IN_DELTA))
    message = {name: value for name, value in answer.message().items() if name not in answer.extra}
    message |= {**dict.fromkeys(unknown), "content": [], "usage": usage}
    return encode({"type": "message_start", "message": message})


def end(answer: Answer) -> Iterator[Event]:
    delta: Json = {
        "stop_reason": answer.stop_reason,
        "stop_sequence": answer.stop_sequence,
        "stop_details": answer.stop_details,
    }
    delta |= {name: value for name, value in answer.extra.items() if name in IN_DELTA}
    beside = {name: value for name, value in answer.extra.items() if name not in IN_DELTA and value is not None}
    usage = {name: answer.usage[name] for name in DELTA_USAGE if name in answer.usage}
    yield encode({"type": "message_delta", "delta": delta, "usage": usage, **beside})
    yield encode({"type": "message_stop"})


def block_parts(block: Json, answer: Answer, options: Options, estimates: bool) -> tuple[Json, list[Json]]:
    """What a block's start shows and the deltas that follow."""
    match block["type"]:
        case "text":
            cited = block.get("citations")
            found = cited if isinstance(cited, list) else []
            texts = pieces(str(block["text"]), options.chunks)
            deltas: list[Json] = [{"type": "text_delta", "text": text} for text in texts]
            deltas += [{"type": "citations_delta", "citation": citation} for citation in found]
            start: Json = {"type": "text", "text": "", "citations": []} if found else {"type": "text", "text": ""}
            return start, deltas
        case "thinking":
            texts = pieces(str(block["thinking"]), None)
            deltas = [{"type": "thinking_delta", "thinking": text} for text in texts]
            if estimates and not texts:
                deltas = [{"type": "thinking_delta", "thinking": "", "estimated_tokens": _thinking_tokens(answer)}]
            signature: Json = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            whole = parameters(block["input"])
            if block["id"] in answer.eager:
                whole = pieces("".join(whole), None, EAGER_CHARACTERS)
            deltas = [{"type": "input_json_delta", "partial_json": text} for text in ["", *whole]]
            return {**block, "input": {}}, deltas
    return block, []


def _thinking_tokens(answer: Answer) -> object:
    details = answer.usage.get("output_tokens_details")
    return details.get("thinking_tokens", 0) if isinstance(details, dict) else 0


def events(answer: Answer, options: Options, *, estimates: bool = False) -> Iterator[Event]:
    """Every event of the answer's stream; ``estimates``: the caller asked for thinking token counts."""
    yield begin(answer)
    for index, block in enumerate(answer.content):
        start, deltas = block_parts(block, answer, options, estimates)
        yield encode({"type": "content_block_start", "index": index, "content_block": start})
        if index == 0:
            yield encode({"type": "ping"})
        for delta in deltas:
            yield encode({"type": "content_block_delta", "index": index, "delta": delta})
        yield encode({"type": "content_block_stop", "index": index})
    yield from end(answer)
