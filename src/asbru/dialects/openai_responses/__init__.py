"""OpenAI's Responses API, and the hosts that speak it: contract/translation.md §8.2.

The reference is OpenAI's own (`openai-python` 2.54 and 3.52, ``types/responses``). Nothing is stored at the provider:
``store`` is false, and reasoning travels encrypted through the client (``state``). ``request`` and ``conversation``
write, ``answer`` and ``stream`` read, ``hosted`` does both for what the provider runs itself: web search and MCP.
"""

from __future__ import annotations

from functools import partial

from asbru.dialects import openai_common
from asbru.dialects.codec import Codec
from asbru.dialects.openai_errors import fault
from asbru.dialects.openai_responses.answer import decode, decode_count
from asbru.dialects.openai_responses.fidelity import FIDELITY
from asbru.dialects.openai_responses.request import encode, encode_count
from asbru.dialects.openai_responses.stream import EventDecoder


class OpenAIResponses:
    """The codec."""

    dialect = "openai-responses"
    fidelity = FIDELITY
    counts = True

    unfetched = staticmethod(partial(openai_common.unfetched, documents_by_url=True))
    encode = staticmethod(encode)
    decode = staticmethod(decode)
    decoder = EventDecoder
    fault = staticmethod(fault)
    encode_count = staticmethod(encode_count)
    decode_count = staticmethod(decode_count)


CODEC: Codec = OpenAIResponses()
