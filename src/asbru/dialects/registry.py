"""Which codec speaks which dialect, and which envelope goes around the client's own at a host that wants one.

A codec's module is imported when it is first asked for. Each of these modules offers ``CODEC``, a `Codec` or an
`Envelope`. The client's own dialect, ``anthropic``, by itself is not here: it is relayed.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from asbru.dialects.codec import Codec, Envelope

_MODULES = {
    "openai-chat": "asbru.dialects.openai_chat",
    "openai-responses": "asbru.dialects.openai_responses",
    "gemini": "asbru.dialects.gemini",
    "bedrock-converse": "asbru.dialects.bedrock_converse",
}
_ENVELOPES = {
    "anthropic+bedrock": "asbru.dialects.anthropic_bedrock",
    "anthropic+vertex": "asbru.dialects.anthropic_vertex",
}

DIALECTS = tuple(_MODULES)
"""Every dialect that can be translated to."""
ENVELOPES = tuple(_ENVELOPES)
"""Every host that wraps the client's own dialect."""


@cache
def codec(dialect: str) -> Codec:
    """The dialect's codec; raises `KeyError` for one that is not in `DIALECTS`."""
    found: Codec = import_module(_MODULES[dialect]).CODEC
    return found


@cache
def envelope(name: str) -> Envelope:
    """The envelope of that name; raises `KeyError` for one that is not in `ENVELOPES`."""
    found: Envelope = import_module(_ENVELOPES[name]).CODEC
    return found
