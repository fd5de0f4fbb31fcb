"""openai-chat errors: every host's shape, what it becomes, and nothing of a key in it.

Bodies are from the hosts' references and from recorded answers; where a host is named, that is whose it is.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects.openai_chat import CODEC
from asbru.dialects.openai_errors import in_answer
from tests.grammar import ERROR_TYPES


def openai(message: str, type: str, code: str | int | None = None, param: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": type, "param": param, "code": code}}).encode()


CASES: list[tuple[str, int, bytes, int, str, str]] = [
    # host and case, status, body -> status, type, message
    (
        "OpenAI: a wrong value",
        400,
        openai("Invalid value: 'x'.", "invalid_request_error", "invalid_value", "messages[0].role"),
        400,
        "invalid_request_error",
        "Invalid value: 'x'.",
    ),
    (
        "OpenAI: a wrong key",
        401,
        openai(
            "Incorrect API key provided: sk-inval**********6789. You can", "invalid_request_error", "invalid_api_key"
        ),
        401,
        "authentication_error",
        "Incorrect API key provided: [redacted]. You can",
    ),
    (
        "DeepSeek: a wrong key",
        401,
        openai(
            "Authentication Fails, Your api key: ****6789 is invalid", "authentication_error", "invalid_request_error"
        ),
        401,
        "authentication_error",
        "Authentication Fails, Your api key: [redacted] is invalid",
    ),
    ("vLLM: a wrong key", 401, b'{"error":"Unauthorized"}', 401, "authentication_error", "Unauthorized"),
    ("Mistral: a wrong key", 401, b'{"detail":"Unauthorized"}', 401, "authentication_error", "Unauthorized"),
    (
        "DeepSeek: no money",
        402,
        openai("Insufficient Balance", "unknown_error", "invalid_request_error"),
        402,
        "billing_error",
        "Insufficient Balance",
    ),
    (
        "OpenAI: no money",
        429,
        openai("You exceeded your current quota, please check your plan", "insufficient_quota", "insufficient_quota"),
        402,
        "billing_error",
        "You exceeded your current quota, please check your plan",
    ),
    (
        "OpenAI: a country",
        403,
        openai("Country not supported", "request_forbidden", "unsupported_country_region_territory"),
        403,
        "permission_error",
        "Country not supported",
    ),
    (
        "OpenRouter: a flagged prompt is no matter of the key",
        403,
        b'{"error":{"code":403,"message":"Input was flagged","metadata":{"reasons":["violence"],"flagged_input":"x"}}}',
        400,
        "invalid_request_error",
        "Input was flagged",
    ),
    (
        "Azure: the content filter",
        400,
        openai("The response was filtered", "invalid_request_error", "content_filter", "prompt"),
        400,
        "invalid_request_error",
        "The response was filtered",
    ),
    (
        "OpenAI: no such model",
        404,
        openai("The model `gpt-x` does not exist", "invalid_request_error", "model_not_found"),
        404,
        "not_found_error",
        "The model `gpt-x` does not exist",
    ),
    (
        "OpenRouter: no such model",
        400,
        b'{"error":{"message":"a/b is not a valid model ID","code":400}}',
        404,
        "not_found_error",
        "a/b is not a valid model ID",
    ),
    ("any: too slow", 408, openai("Timed out", "timeout"), 504, "timeout_error", "Timed out"),
    ("any: a conflict", 409, openai("Conflict", "conflict"), 409, "conflict_error", "Conflict"),
    (
        "Groq: too large",
        413,
        openai("Request too large for model `m`: Limit 6000, Requested 7213", "tokens", "rate_limit_exceeded"),
        413,
        "request_too_large",
        "Request too large for model `m`: Limit 6000, Requested 7213",
    ),
    (
        "Mistral: FastAPI's mistakes",
        422,
        b'{"object":"error","message":{"detail":[{"loc":["body","messages"],"msg":"Field required"}]}}',
        400,
        "invalid_request_error",
        "body.messages: Field required",
    ),
    (
        "Mistral: not wrapped",
        400,
        b'{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}',
        404,
        "not_found_error",
        "Invalid model: x",
    ),
    (
        "OpenAI: too many requests",
        429,
        openai("Rate limit reached for gpt-x", "tokens", "rate_limit_exceeded"),
        429,
        "rate_limit_error",
        "Rate limit reached for gpt-x",
    ),
    (
        "Groq: no capacity",
        498,
        openai("Flex tier capacity exceeded", "x"),
        529,
        "overloaded_error",
        "Flex tier capacity exceeded",
    ),
    ("vLLM: inside", 500, openai("CUDA error", "InternalServerError", 500), 500, "api_error", "CUDA error"),
    (
        "any: a gateway's page",
        502,
        b"<html><body>502</body></html>",
        500,
        "api_error",
        "The provider answered with status 500 and no reason",
    ),
    (
        "OpenAI: overloaded",
        503,
        openai("The engine is overloaded", "server_error"),
        529,
        "overloaded_error",
        "The engine is overloaded",
    ),
    ("any: too slow behind", 504, b"", 504, "timeout_error", "The provider answered with status 504 and no reason"),
    ("Together: Cloudflare", 524, b"error code: 524", 504, "timeout_error", "error code: 524"),
    (
        "DeepSeek: plain text",
        401,
        b"Authentication Fails (governor)",
        401,
        "authentication_error",
        "Authentication Fails (governor)",
    ),
]


@pytest.mark.parametrize(
    ("status", "body", "told", "type", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_an_error(status: int, body: bytes, told: int, type: str, message: str) -> None:
    fault = CODEC.fault(status, {}, body)
    assert (fault.status, fault.type, fault.message) == (told, type, message)
    assert fault.type in ERROR_TYPES
    assert fault.should_retry is (False if type == "billing_error" else None)


LIMIT = "input length and `max_tokens` exceed context limit: "
LOWER = ", decrease input length or `max_tokens` and try again"
TOO_LONG = [
    (
        "vLLM, now",
        "You passed 131073 input tokens and requested 0 output tokens. However, the model's context length is only "
        "131072 tokens, resulting in a maximum input length of 131072 tokens. Please reduce the length of the input "
        "prompt. (parameter=input_tokens, value=131073)",
        "prompt is too long: 131073 tokens > 131072 maximum",
    ),
    (
        "vLLM, now, where only the output does not fit",
        "You passed 100000 input tokens and requested 40000 output tokens. However, the model's context length is only "
        "131072 tokens, resulting in a maximum input length of 91072 tokens.",
        f"{LIMIT}100000 + 40000 > 131072{LOWER}",
    ),
    (
        "Together, SGLang",
        "The input (345516 tokens) is longer than the model's context length (262144 tokens).",
        "prompt is too long: 345516 tokens > 262144 maximum",
    ),
    (
        "SGLang, with the output",
        "Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total of "
        "40000 tokens: 38000 tokens from the input messages and 2000 tokens for the completion.",
        "prompt is too long: 38000 tokens > 32768 maximum",
    ),
    (
        "DashScope, which does not count for us",
        "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]",
        "prompt is too long: 129025 tokens > 129024 maximum",
    ),
    (
        "OpenAI",
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 4294 tokens.",
        "prompt is too long: 4294 tokens > 4097 maximum",
    ),
    (
        "OpenAI, later",
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300001 tokens.",
        "prompt is too long: 300001 tokens > 272000 maximum",
    ),
    (
        "OpenAI, with the output",
        "This model's maximum context length is 4096 tokens. However, you requested 4130 tokens (3130 in the "
        "messages, 1000 in the completion). Please reduce the length of the messages or completion.",
        f"{LIMIT}3130 + 1000 > 4096{LOWER}",
    ),
    (
        "OpenAI, with the output, too long by itself",
        "This model's maximum context length is 4096 tokens. However, you requested 6130 tokens (5130 in the "
        "messages, 1000 in the completion).",
        "prompt is too long: 5130 tokens > 4096 maximum",
    ),
    (
        "OpenRouter",
        "This endpoint's maximum context length is 200000 tokens. However, you requested about 205000 tokens (197000 "
        "of text input, 8000 in the output). Please reduce the length of either one",
        f"{LIMIT}197000 + 8000 > 200000{LOWER}",
    ),
    (
        "vLLM",
        "'max_tokens' or 'max_completion_tokens' is too large: 10000. This model's maximum context length is 8192 "
        "tokens and your request has 500 input tokens (10000 > 8192 - 500).",
        f"{LIMIT}500 + 10000 > 8192{LOWER}",
    ),
    (
        "vLLM, later",
        "This model's maximum context length is 8192 tokens. However, you requested 1000 output tokens and your prompt "
        "contains at least 7193 input tokens, for a total of at least 8193 tokens.",
        f"{LIMIT}7193 + 1000 > 8192{LOWER}",
    ),
    (
        "xAI",
        "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
        "prompt is too long: 136973 tokens > 131072 maximum",
    ),
    (
        "Mistral",
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        "prompt is too long: 40000 tokens > 32768 maximum",
    ),
    (
        "Fireworks, Ollama",
        "The prompt is too long: 140000, model maximum context length: 131071",
        "prompt is too long: 140000 tokens > 131071 maximum",
    ),
    (
        "Cerebras",
        "Please reduce the length of the messages or completion. Current length is 42328 while limit is 40000",
        "prompt is too long: 42328 tokens > 40000 maximum",
    ),
    (
        "llama.cpp",
        "request (14429 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "prompt is too long: 14429 tokens > 8192 maximum",
    ),
    (
        "Moonshot",
        "Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)",
        "prompt is too long: 291351 tokens > 262144 maximum",
    ),
    (
        "Together",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 7000 `inputs` tokens and "
        "2000 `max_new_tokens`",
        f"{LIMIT}7000 + 2000 > 8193{LOWER}",
    ),
    (
        "Anthropic behind a host",
        "prompt is too long: 250,000 tokens > 200,000 maximum",
        "prompt is too long: 250000 tokens > 200000 maximum",
    ),
    (
        "Groq, without numbers",
        "Please reduce the length of the messages or completion.",
        "prompt is too long: Please reduce the length of the messages or completion.",
    ),
]


@pytest.mark.parametrize("status", [400, 413, 422, 500])
@pytest.mark.parametrize(("said", "told"), [case[1:] for case in TOO_LONG], ids=[case[0] for case in TOO_LONG])
def test_a_prompt_that_does_not_fit_is_said_in_words_that_clients_act_on(said: str, told: str, status: int) -> None:
    fault = CODEC.fault(status, {}, openai(said, "invalid_request_error"))
    assert (fault.status, fault.type, fault.message) == (400, "invalid_request_error", told)


def test_a_number_that_is_none_is_left_as_it_came() -> None:
    message = CODEC.fault(400, {}, openai(f"prompt is too long: {'9' * 900} tokens > {'1' * 900} maximum", "x")).message
    assert message == f"prompt is too long: prompt is too long: {'9' * 900} tokens > {'1' * 900} maximum"


def test_llama_cpp_gives_the_numbers_as_fields() -> None:
    error = {"code": 400, "message": "the request is too large", "type": "exceed_context_size_error"}
    body = json.dumps({"error": {**error, "n_prompt_tokens": 1407, "n_ctx": 256}}).encode()
    assert CODEC.fault(400, {}, body).message == "prompt is too long: 1407 tokens > 256 maximum"


def test_too_many_tokens_a_minute_are_not_too_long_a_prompt() -> None:
    fault = CODEC.fault(429, {}, openai("Limit 6000 TPM. Please reduce the length of the messages", "tokens"))
    assert (fault.status, fault.type) == (429, "rate_limit_error")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({b"retry-after": b"7"}, 7.0),
        ({b"retry-after": b"0.5"}, 0.5),
        ({b"retry-after": b"9", b"retry-after-ms": b"1500"}, 1.5),
        ({b"retry-after": b"999999999"}, 86400.0),
        ({b"retry-after": b"Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({b"retry-after": b"nan"}, None),
        ({b"retry-after": b"-1"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[bytes, bytes], wait_s: float | None) -> None:
    assert CODEC.fault(429, headers, openai("Slow down", "tokens")).retry_after_s == wait_s


@pytest.mark.parametrize(
    ("error", "type", "message"),
    [
        ({"code": 429, "message": "Rate limit exceeded"}, "rate_limit_error", "Rate limit exceeded"),
        ({"code": 502, "message": "Provider returned error"}, "api_error", "Provider returned error"),
        ({"code": "rate_limit_exceeded", "message": "Slow"}, "rate_limit_error", "Slow"),
        ({"type": "overloaded_error", "message": "Overloaded"}, "overloaded_error", "Overloaded"),
        ({"type": "server_error", "message": "Oops"}, "api_error", "Oops"),
        ({"code": 401, "message": "User not found."}, "api_error", "User not found."),
        ({"type": "insufficient_quota", "message": "No money"}, "billing_error", "No money"),
        ("stopped early", "api_error", "stopped early"),
        (7, "api_error", "The provider answered with status 500 and no reason"),
    ],
)
def test_an_error_inside_an_answer(error: object, type: str, message: str) -> None:
    found = in_answer(error)
    assert (found.type, found.message) == (type, message)


SECRETS = [
    "sk-proj-abcdefghijklmnop1234567890",
    "sk-ant-api03-AAAA-bbbb_cccc",
    "gsk_abcdefghijklmnopqrstuvwxyz012345",
    "xai-abcdefghijklmnop1234",
    "nvapi-abcdefghij-klmnop",
    "AIzaSyA1234567890abcdefghij",
    "0123456789abcdef0123456789abcdef",
    "Bearer short",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_that_looks_like_a_credential_comes_through(secret: str) -> None:
    message = CODEC.fault(400, {}, openai(f"The key {secret} (yours) is bad", "x")).message
    assert message == "The key [redacted] (yours) is bad"


def test_a_providers_words_are_bounded() -> None:
    message = CODEC.fault(400, {}, openai("word " * 10_000, "x")).message
    assert len(message) == 2000 and message.endswith("…")


@given(st.integers(300, 999), st.binary(max_size=200))
def test_no_body_is_too_strange(status: int, body: bytes) -> None:
    fault = CODEC.fault(status, {}, body)
    assert fault.type in ERROR_TYPES and 400 <= fault.status < 600 and fault.message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "detail", "metadata", "loc", "msg"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.integers(300, 999), VALUES)
def test_no_shape_is_too_strange(status: int, value: object) -> None:
    fault = CODEC.fault(status, {}, json.dumps(value).encode())
    assert fault.type in ERROR_TYPES and fault.message
    assert in_answer(value).type in ERROR_TYPES


@pytest.mark.parametrize("code", ["9" * 5000, "9" * 4])
def test_a_code_of_any_length_is_no_status(code: str) -> None:
    body = json.dumps({"error": {"message": "Slow", "code": code}}).encode()
    assert CODEC.fault(429, {}, body).type == "rate_limit_error"
    assert in_answer({"message": "Slow", "code": code}).type == "api_error"
    assert in_answer({"message": "Slow", "code": "429"}).type == "rate_limit_error"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_words_of_tomorrow_are_known_by_their_shape(status: int) -> None:
    said = openai("Your prompt has 70,001 tokens, which is larger than the 65,536 that fit.", "invalid_request_error")
    assert CODEC.fault(status, {}, said).message == "prompt is too long: 70001 tokens > 65536 maximum"


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens must be less than or equal to 8192, got 16384 tokens",
        "Request too large for model on tokens per minute (TPM): Limit 6000, Requested 9000",
        "This model supports at most 8192 output tokens, 16384 requested",
        "temperature must be at most 2000, got 3000",
        "Maximum of 128 tools exceeded: 200 tokens",
    ],
)
def test_other_limits_are_not_the_context(message: str) -> None:
    fault = CODEC.fault(400, {}, openai(message, "invalid_request_error"))
    assert (fault.status, fault.message) == (400, message)


def test_a_text_that_begins_with_an_angle_bracket_is_no_page() -> None:
    message = "<400> InternalError.Algo.InvalidParameter: The tool call is not supported."
    assert CODEC.fault(400, {}, openai(message, "invalid_request_error")).message == message
    assert "<" not in CODEC.fault(502, {}, b"<html><body>nginx</body></html>").message
    assert "<" not in CODEC.fault(502, {}, b"<!DOCTYPE html><title>x</title>").message


@pytest.mark.parametrize("code", ["tool_use_failed", "json_validate_failed"])
def test_what_the_model_wrote_is_not_the_clients_fault(code: str) -> None:
    body = {"message": "Failed to call a function.", "type": "invalid_request_error", "code": code}
    fault = CODEC.fault(400, {}, json.dumps({"error": body}).encode())
    assert (fault.status, fault.type, fault.should_retry, fault.of_model) == (500, "api_error", True, True)
    error = in_answer({**body, "status_code": 400})
    assert (error.type, error.of_model) == ("api_error", True)


@pytest.mark.parametrize("status", [400, 500])
def test_an_image_for_a_server_without_vision_is_the_callers_fault(status: int) -> None:
    message = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    body = {"error": {"code": status, "message": message, "type": "server_error"}}
    fault = CODEC.fault(status, {}, json.dumps(body).encode())
    assert (fault.status, fault.type, fault.message) == (400, "invalid_request_error", message)
