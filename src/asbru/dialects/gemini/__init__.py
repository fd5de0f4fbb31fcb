"""Google Gemini, ``generateContent`` and ``streamGenerateContent``, by API key and on Vertex AI: translation.md §8.3.

The reference is the Python SDK `google-genai` 3.4 (types.py, models.py) and ai.google.dev/api. Vertex AI speaks the
same but for a few fields (`Quirks.vertex`), and at other paths, which are the base URL's. ``request``,
``conversation``, ``tools``, ``mcp`` and ``thinking`` write, ``answer`` and ``grounding`` read, ``errors`` reads what
went wrong, ``state`` is what rides through the client.
"""

from __future__ import annotations

from asbru.dialects.codec import Codec, Context, Decoder
from asbru.dialects.gemini import answer, errors, request
from asbru.dialects.gemini.fidelity import FIDELITY
from asbru.dialects.message_stream import MessageStream


class Gemini:
    """The codec."""

    dialect = "gemini"
    fidelity = FIDELITY
    counts = True

    unfetched = staticmethod(request.unfetched)
    encode = staticmethod(request.encode)
    encode_count = staticmethod(request.encode_count)
    decode_count = staticmethod(answer.decode_count)
    fault = staticmethod(errors.fault)

    def decode(self, body: bytes, context: Context) -> MessageStream:
        return answer.decode(body, context)

    def decoder(self, context: Context) -> Decoder:
        return answer.ChunkDecoder(context)


CODEC: Codec = Gemini()
