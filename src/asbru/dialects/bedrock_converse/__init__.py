"""Amazon Bedrock's Converse and ConverseStream, for every model there: contract/translation.md §8.4.

``request`` and ``conversation`` write, ``answer`` reads; ``asbru.dialects.bedrock`` has what this shares with
InvokeModel. Reasoning goes back to the model that made it and to no other: Claude's own signatures, and the
redacted content of others, are sealed with the provider's name (`blobs`).
"""

from __future__ import annotations

from asbru.dialects import bedrock
from asbru.dialects.bedrock_converse import answer, request
from asbru.dialects.bedrock_converse.fidelity import FIDELITY
from asbru.dialects.codec import Codec, Context, Decoder
from asbru.dialects.message_stream import MessageStream


class BedrockConverse:
    """The codec."""

    dialect = "bedrock-converse"
    fidelity = FIDELITY
    counts = True

    unfetched = staticmethod(request.unfetched)
    encode = staticmethod(request.encode)
    encode_count = staticmethod(request.encode_count)
    decode_count = staticmethod(answer.decode_count)
    fault = staticmethod(bedrock.fault)

    def decode(self, body: bytes, context: Context) -> MessageStream:
        return answer.decode(body, context)

    def decoder(self, context: Context) -> Decoder:
        return answer.FrameDecoder(context)


CODEC: Codec = BedrockConverse()
