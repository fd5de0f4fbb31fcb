"""The dialects that the sandbox speaks besides Anthropic's own."""

from __future__ import annotations

from asbru.sandbox.speech import Speech
from asbru.sandbox.speeches.bedrock_converse import Converse
from asbru.sandbox.speeches.bedrock_invoke import Invoke
from asbru.sandbox.speeches.gemini import GEMINI, VERTEX
from asbru.sandbox.speeches.openai_chat import OpenAIChat
from asbru.sandbox.speeches.openai_responses import OpenAIResponses

SPEECHES: tuple[Speech, ...] = (OpenAIChat(), OpenAIResponses(), GEMINI, VERTEX, Converse(), Invoke())
