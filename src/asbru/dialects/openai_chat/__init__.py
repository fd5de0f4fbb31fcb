"""OpenAI Chat Completions, and every host that is compatible with it: contract/translation.md §8.1.

The reference is OpenAI's own (`openai-python`, ``types/chat``); where a host differs, its `Quirks` say so, so that
Groq, Mistral, DeepSeek, xAI, Together, Fireworks, OpenRouter, Cerebras, Perplexity, Ollama, vLLM, LM Studio, llama.cpp,
NIM and Azure are data. ``request`` and ``conversation`` write, ``answer`` reads; `openai_errors` reads what went wrong.
"""

from __future__ import annotations

from functools import partial

from asbru.dialects import openai_common, openai_errors
from asbru.dialects.codec import Codec, Context, Decoder, Sent
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.message_stream import MessageStream
from asbru.dialects.messages import Request
from asbru.dialects.openai_chat import answer, request
from asbru.dialects.openai_chat.fidelity import FIDELITY


class OpenAIChat:
    """The codec."""

    dialect = "openai-chat"
    fidelity = FIDELITY
    counts = False

    unfetched = staticmethod(partial(openai_common.unfetched, documents_by_url=False))
    encode = staticmethod(request.encode)
    fault = staticmethod(openai_errors.fault)

    def decode(self, body: bytes, context: Context) -> MessageStream:
        return answer.decode(body, context)

    def decoder(self, context: Context) -> Decoder:
        return answer.ChunkDecoder(context)

    def encode_count(self, request: Request, context: Context, losses: Losses) -> Sent:
        raise LossyError("count_tokens", "This provider does not count tokens")

    def decode_count(self, body: bytes) -> int:
        raise NotImplementedError  # `counts` is False


CODEC: Codec = OpenAIChat()
