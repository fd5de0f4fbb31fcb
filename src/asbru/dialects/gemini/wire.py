"""What Gemini answers, as structs: `GenerateContentResponse` of google-genai 3.4 (types.py), as far as it is used.

Every field may be missing or null, unknown ones are passed over. Names are camelCase on the wire.
"""

from __future__ import annotations

from typing import Any

import msgspec

Json = dict[str, Any]


class FunctionCall(msgspec.Struct, rename="camel"):
    name: str | None = None
    id: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"")


class Media(msgspec.Struct, rename="camel"):
    """``inlineData`` or ``fileData``: only what it is."""

    mime_type: str | None = None


class Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    executable_code: Json | None = None
    code_execution_result: Json | None = None
    inline_data: Media | None = None
    file_data: Media | None = None
    tool_call: Json | None = None
    tool_response: Json | None = None


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class Web(msgspec.Struct):
    uri: str | None = None
    title: str | None = None


class GroundingChunk(msgspec.Struct):
    web: Web | None = None


class Segment(msgspec.Struct):
    text: str | None = None


class GroundingSupport(msgspec.Struct, rename="camel"):
    segment: Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: list[str] | None = None
    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[GroundingSupport] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    grounding_metadata: Grounding | None = None


class PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class UsageMetadata(msgspec.Struct, rename="camel"):
    """Of the whole request so far, in every chunk of a stream."""

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    service_tier: str | None = None
    """The Gemini API's."""
    traffic_type: str | None = None
    """Vertex AI's."""


class Error(msgspec.Struct):
    """A `google.rpc.Status` as JSON: of an error's body, and within a stream."""

    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[Json] | None = None


class Answer(msgspec.Struct, rename="camel"):
    """A whole answer, or one chunk of a stream."""

    candidates: list[Candidate] | None = None
    usage_metadata: UsageMetadata | None = None
    prompt_feedback: PromptFeedback | None = None
    error: Error | None = None


class TokenCount(msgspec.Struct, rename="camel"):
    total_tokens: int
