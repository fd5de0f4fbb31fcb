"""Which codec speaks which dialect. A codec's module is imported when it is first asked for.

Each of these modules offers ``CODEC``, an `asbru.dialects.codec.Codec`. The client's own dialect, ``anthropic``, is
not here: it is relayed, not translated.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from asbru.dialects.codec import Codec

_MODULES = {
    "openai-chat": "asbru.dialects.openai_chat",
    "openai-responses": "asbru.dialects.openai_responses",
}

DIALECTS = tuple(_MODULES)
"""Every dialect that can be translated to."""


@cache
def codec(dialect: str) -> Codec:
    """The dialect's codec; raises `KeyError` for one that is not in `DIALECTS`."""
    found: Codec = import_module(_MODULES[dialect]).CODEC
    return found
