"""The legacy ``/v1/complete``: the same answers in the old form."""

from __future__ import annotations

from collections.abc import Iterator

from asbru.sandbox.answers import invalid
from asbru.sandbox.ids import fingerprint, identifier
from asbru.sandbox.models import Options
from asbru.sandbox.script import Draft, answer_text
from asbru.sandbox.stream import Event, encode, pieces

Json = dict[str, object]

HUMAN = "\n\nHuman:"
ASSISTANT = "\n\nAssistant:"


def complete(body: Json, options: Options) -> Json:
    """The completion of a body that has passed `request_fields.COMPLETION`."""
    prompt = str(body["prompt"])
    if HUMAN not in prompt:
        raise invalid(f'prompt must start with "{_shown(HUMAN)}" turn')
    if ASSISTANT not in prompt[prompt.rindex(HUMAN) :]:
        raise invalid(f'prompt must end with "{_shown(ASSISTANT)}" turn')
    said = prompt[prompt.rindex(HUMAN) + len(HUMAN) :].partition(ASSISTANT)[0].strip()
    stops = body.get("stop_sequences")
    stop_sequences = [str(stop) for stop in stops] if isinstance(stops, list) else []
    draft = Draft(int(str(body["max_tokens_to_sample"])), [*stop_sequences, HUMAN])
    draft.say(answer_text(said, options))
    reason = "max_tokens" if draft.stop_reason == "max_tokens" else "stop_sequence"
    return {
        "type": "completion",
        "id": identifier("compl", fingerprint(body)),
        "completion": " " + "".join(str(block["text"]) for block in draft.content),
        "stop_reason": reason,
        "model": body["model"],
        "stop": draft.stop_sequence or (HUMAN if reason == "stop_sequence" else None),
        "log_id": identifier("compl", fingerprint(body)),
    }


def _shown(text: str) -> str:
    return text.replace("\n", "\\n")


def events(completion: Json, options: Options) -> Iterator[Event]:
    """The completion as events: each brings a piece of the text, the last one why it ended."""
    open_end = {**completion, "stop_reason": None, "stop": None}
    for index, piece in enumerate(pieces(str(completion["completion"]), options.chunks)):
        yield Event(encode({**open_end, "completion": piece}).data, is_delta=True)
        if index == 0:
            yield encode({"type": "ping"})
    yield encode({**completion, "completion": ""})
