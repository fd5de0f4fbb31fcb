"""What an OpenAI-compatible host says when something is wrong, as a `Fault`.

There is no one shape: ``{"error": {message, type, param, code}}`` is OpenAI's; elsewhere ``error`` is a text (vLLM),
``code`` a status (OpenRouter, vLLM), the object is not wrapped (Mistral), there is only a ``detail`` (FastAPI), or the
body is no JSON at all. So the status decides, and what else can be read refines it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from asbru.dialects import faults
from asbru.dialects.codec import Fault
from asbru.dialects.message_stream import ProviderError

Json = dict[str, Any]

_TOO_LONG = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "token_limit_exceeded", "string_above_max_length"}
)
_BILLING = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "payment_required"})
_OF_MODEL = frozenset({"tool_use_failed", "json_validate_failed", "output_parse_failed", "invalid_tool_call"})
"""What the model wrote is no tool call, or not the JSON that was asked for (Groq)."""
_OF_MODEL_WORDS = re.compile(
    r"failed to call a function|tool call validation failed|failed to (?:generate|validate) json"
    r"|(?:model|it) generated (?:an )?(?:invalid|malformed)|could not parse (?:the )?(?:model|tool call)",
    re.IGNORECASE,
)
_NO_IMAGES = re.compile(
    r"image input is not supported|does not support (?:image|vision)|image_url is (?:only|not) supp"
    r"|not a multimodal model|missing data required for image input|model does not support images"
    r"|no endpoints found that support image",
    re.IGNORECASE,
)
"""llama.cpp (500, without a projector), vLLM, Ollama, Groq, OpenRouter: an image for a model that takes none."""
_NO_MODEL = frozenset({"model_not_found", "invalid_model"})
_POLICY = frozenset({"content_policy_violation", "content_filter", "content_policy", "refusal"})
_OF_THE_PROMPT = """
    invalid_image invalid_image_format invalid_base64_image invalid_image_url invalid_image_mode image_too_large
    image_too_small image_parse_error image_content_policy_violation image_file_too_large image_file_not_found
    unsupported_image_media_type empty_image_file failed_to_download_image bio_policy misalignment_policy_violation
    data_residency_mismatch
"""  # of the codes that a failed response of the Responses API may have
_STATUS = {
    # Where an error comes inside an answer there is no status; its words stand for one.
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "invalid_request_error": 400,
    "invalid_request": 400,
    "invalid_prompt": 400,
    "not_found": 404,
    "payload_too_large": 413,
    "timeout": 504,
    "overloaded": 529,
    "overloaded_error": 529,
    "provider_overloaded": 529,
    "server_overloaded": 529,
    "service_unavailable": 503,
    "server_is_overloaded": 529,
    "slow_down": 529,
} | dict.fromkeys(_OF_THE_PROMPT.split(), 400)
_NOT_THE_CLIENTS = frozenset({"authentication_error", "permission_error"})

_decode = msgspec.json.Decoder(Json).decode


class _Said(NamedTuple):
    message: str = ""
    words: frozenset[str] = frozenset()
    """Its code, its type, and what else names the kind of error."""
    code: int | None = None
    asked_tokens: int | None = None
    most_tokens: int | None = None
    moderated: bool = False


def fault(status: int, headers: Mapping[bytes, bytes], body: bytes) -> Fault:
    """See `Codec.fault`."""
    try:
        said = _said(_decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = _Said(body[: 2 * faults.MAX_MESSAGE_CHARS].decode("utf-8", "replace"))
    return _fault(status, said, headers)


def in_answer(error: object) -> ProviderError:
    """An error inside an answer that began with status 200."""
    said = _said({"error": error})
    known = (said.code, *(_STATUS.get(word) for word in sorted(said.words)))
    status = next((each for each in known if each is not None and 400 <= each < 600), 500)
    found = _fault(status, said, {})
    # A client that reads of credentials asks its user to log in, but these are the gateway's own.
    type = "api_error" if found.type in _NOT_THE_CLIENTS else found.type
    return ProviderError(found.message, type, of_model=found.of_model)


def _fault(status: int, said: _Said, headers: Mapping[bytes, bytes]) -> Fault:
    if status != 429 and (said.words & _TOO_LONG or faults.says_too_long(said.message)):
        return faults.too_long(said.message, said.asked_tokens, said.most_tokens)
    if said.words & _OF_MODEL or _OF_MODEL_WORDS.search(said.message, 0, faults.MAX_MESSAGE_CHARS) is not None:
        return faults.of_model(said.message)
    if status in (400, 413, 422) and (found := faults.shaped_too_long(said.message)) is not None:
        return faults.too_long(said.message, *found)
    if status >= 400 and _NO_IMAGES.search(said.message, 0, faults.MAX_MESSAGE_CHARS) is not None:
        status = 400
    if said.words & _BILLING or "exceeded your current quota" in said.message:
        return faults.billing(said.message)
    if said.words & _NO_MODEL or "is not a valid model ID" in said.message:
        status = 404
    elif status == 403 and (said.moderated or said.words & _POLICY):
        status = 400  # it is the prompt that is refused, not the key
    return faults.fault(status, said.message, headers)


def _said(body: Json) -> _Said:
    error = body.get("error")
    if isinstance(error, str):
        return _Said(error)
    if not isinstance(error, dict):
        error = body
    metadata = error.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    named = (error.get("code"), error.get("type"), error.get("error_type"), metadata.get("error_type"))
    return _Said(
        _text(error.get("message") or error.get("detail")),
        frozenset(word for word in named if isinstance(word, str)),
        _status(error.get("code")),
        _count(error.get("n_prompt_tokens")),
        _count(error.get("n_ctx")),
        not {"flagged_input", "reasons", "patterns"}.isdisjoint(metadata),
    )


def _status(code: object) -> int | None:
    """A code that is a number; as a text it is no longer than a status, since Python makes no int of any length."""
    if isinstance(code, str):
        return int(code) if len(code) <= 3 and code.isdecimal() else None
    return _count(code)


def _text(message: object) -> str:
    """The words; of FastAPI's list of mistakes, each with the field it is about."""
    if isinstance(message, str):
        return message
    if isinstance(message, list):
        mistakes = [each for each in message if isinstance(each, dict)]
        return "; ".join(f"{'.'.join(map(str, _list(each.get('loc'))))}: {each.get('msg')}" for each in mistakes)
    return _text(message.get("detail") or message.get("message")) if isinstance(message, dict) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None
