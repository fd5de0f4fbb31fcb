"""A model as ``/v1/models`` shows it, made from what another dialect's list says and what is known of the model."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from asbru.dialects.codec import Model

_EPOCH = "1970-01-01T00:00:00Z"
"""What the Messages API says of a model whose release date is unknown; SDKs want a date in any case."""
_dated = re.compile(r"[-@](20\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?:-v\d+(?::\d+)?)?\Z")


class Listed(NamedTuple):
    """One entry of a list, whatever its dialect."""

    id: str
    name: str | None = None
    created_unix_s: int = 0
    context_tokens: int | None = None
    max_output_tokens: int | None = None


def info(entry: Listed, facts: Model) -> bytes:
    """A ModelInfo: what the provider says, then what is known; null where nothing is."""
    created = _EPOCH
    named = _dated.search(entry.id)
    if named is not None:
        created = f"{named[1]}-{named[2]}-{named[3]}T00:00:00Z"
    elif 0 < entry.created_unix_s < 1 << 32:
        created = datetime.fromtimestamp(entry.created_unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return msgspec.json.encode(
        {
            "type": "model",
            "id": entry.id,
            "display_name": entry.name or entry.id,
            "created_at": created,
            "lifecycle": "active",
            "capabilities": None,
            "max_input_tokens": entry.context_tokens or facts.context_tokens,
            "max_tokens": entry.max_output_tokens or facts.max_output_tokens,
        }
    )
