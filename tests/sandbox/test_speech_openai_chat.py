"""The sandbox as OpenAI's Chat Completions, asked by OpenAI's SDK and held against its types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.sandbox.openai_calling import PDF, PIXEL, STRICT, WEATHER, client, said, strictly

Json = dict[str, Any]

TOOL: Json = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
CALL: Json = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
HI: list[Json] = [{"role": "user", "content": "hi"}]
WEATHER_PLEASE: list[Json] = [{"role": "user", "content": "get_weather"}]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[openai.OpenAI]:
    with client() as made:
        yield made


def create(sandbox: openai.OpenAI, **fields: Any) -> ChatCompletion:
    completion: ChatCompletion = sandbox.chat.completions.create(**{"model": "gpt-5.6", "messages": HI, **fields})
    return strictly(completion, more=("reasoning_content",))


def chunks(sandbox: openai.OpenAI, **fields: Any) -> list[ChatCompletionChunk]:
    stream = sandbox.chat.completions.create(**{"model": "gpt-5.6", "messages": HI, "stream": True, **fields})
    return [strictly(chunk, more=("reasoning_content", "annotations")) for chunk in stream]


def test_text(sandbox: openai.OpenAI) -> None:
    answer = create(sandbox, messages=[{"role": "developer", "content": "Be brief."}, *HI])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content is not None
    assert answer.choices[0].message.content.startswith("You said: “hi”.")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer == create(sandbox, messages=[{"role": "developer", "content": "Be brief."}, *HI])


def test_a_stream_says_the_same(sandbox: openai.OpenAI) -> None:
    whole = create(sandbox, messages=WEATHER_PLEASE, tools=[TOOL])
    made = chunks(sandbox, messages=WEATHER_PLEASE, tools=[TOOL], stream_options={"include_usage": True})
    *said_before, last = made
    assert last.choices == [] and last.usage == whole.usage
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in said_before)
    deltas = [chunk.choices[0].delta for chunk in said_before]
    assert [delta.role for delta in deltas] == ["assistant", *[None] * (len(deltas) - 1)]
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert whole.choices[0].message.tool_calls is not None
    expected = whole.choices[0].message.tool_calls[0]
    assert expected.type == "function"
    assert calls[0].id == expected.id
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert arguments == expected.function.arguments
    reasons = [chunk.choices[0].finish_reason for chunk in said_before]
    assert reasons == [*[None] * (len(reasons) - 1), "tool_calls"]


def test_usage_of_a_stream_only_when_asked(sandbox: openai.OpenAI) -> None:
    assert all(chunk.choices and "usage" not in chunk.model_fields_set for chunk in chunks(sandbox))


def test_tools_over_turns(sandbox: openai.OpenAI) -> None:
    messages = [*WEATHER_PLEASE]
    first = create(sandbox, messages=messages, tools=[TOOL]).choices[0].message
    assert first.tool_calls is not None
    call = first.tool_calls[0]
    assert call.type == "function" and json.loads(call.function.arguments).keys() == {"city"}
    messages += [first.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "Rain."}]
    second = create(sandbox, messages=messages, tools=[TOOL]).choices[0]
    assert second.finish_reason == "stop"
    assert second.message.content == f"The tool call {call.id} returned: Rain."


def test_tool_choice(sandbox: openai.OpenAI) -> None:
    other = {"type": "function", "function": {"name": "other", "parameters": WEATHER}}
    tools = [TOOL, other]
    named = create(sandbox, tools=tools, tool_choice={"type": "function", "function": {"name": "other"}}).choices[0]
    assert named.finish_reason == "stop"  # as OpenAI has it for a function that was named
    assert named.message.tool_calls is not None and named.message.content is None
    required = create(sandbox, tools=tools, tool_choice="required").choices[0]
    assert required.finish_reason == "tool_calls"
    assert create(sandbox, tools=tools, tool_choice="none").choices[0].message.tool_calls is None
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [other]}}
    calls = create(sandbox, tools=tools, tool_choice=allowed).choices[0].message.tool_calls
    assert calls is not None and [call.function.name for call in calls if call.type == "function"] == ["other"]
    both = [{"role": "user", "content": "get_weather and other"}]
    for parallel, count in ((True, 2), (False, 1)):
        made = create(sandbox, messages=both, tools=tools, parallel_tool_calls=parallel).choices[0].message
        assert len(made.tool_calls or []) == count


def test_structured_output(sandbox: openai.OpenAI) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": STRICT, "strict": True}}
    assert json.loads(create(sandbox, response_format=form).choices[0].message.content or "").keys() == {"city"}
    refusal = create(sandbox, model="any:stop_reason=refusal", response_format=form).choices[0]
    assert refusal.message.content is None and refusal.message.refusal and refusal.finish_reason == "stop"
    assert create(sandbox, model="any:stop_reason=refusal").choices[0].finish_reason == "content_filter"


def test_images_and_files(sandbox: openai.OpenAI) -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
    ]
    answer = create(sandbox, messages=[{"role": "user", "content": parts}])
    assert answer.usage is not None and answer.usage.prompt_tokens > 3 * 1_500


def test_reasoning_is_counted_and_not_shown(sandbox: openai.OpenAI) -> None:
    usage = create(sandbox, reasoning_effort="high").usage
    assert usage is not None and usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens
    shown = create(sandbox, model="deepseek-chat", reasoning_effort="high").choices[0].message
    assert shown.model_extra is not None and shown.model_extra["reasoning_content"]
    streamed = chunks(sandbox, model="deepseek-chat", reasoning_effort="high")
    pieces = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content", "") for chunk in streamed]
    assert "".join(pieces) == shown.model_extra["reasoning_content"]


def test_the_cache(sandbox: openai.OpenAI) -> None:
    mark = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    system = {"role": "developer", "content": [{"type": "text", "text": "Long. " * 400, **mark}]}
    first = create(sandbox, messages=[system, *HI]).usage
    later = create(sandbox, messages=[system, *HI, {"role": "assistant", "content": "yes"}, *HI]).usage
    assert first is not None and first.prompt_tokens_details is not None
    assert later is not None and later.prompt_tokens_details is not None
    assert first.prompt_tokens_details.cache_write_tokens == later.prompt_tokens_details.cached_tokens == 600


def test_limits_cut_the_answer(sandbox: openai.OpenAI) -> None:
    assert create(sandbox, max_completion_tokens=3).choices[0].finish_reason == "length"
    stopped = create(sandbox, model="gpt-4o", stop=["sandbox"]).choices[0]
    assert stopped.finish_reason == "stop" and (stopped.message.content or "").endswith("This is the Asbru ")


def test_web_search_is_cited(sandbox: openai.OpenAI) -> None:
    asked = [{"role": "user", "content": "web_search"}]
    message = create(sandbox, model="gpt-5-search-api", messages=asked, web_search_options={}).choices[0].message
    assert message.annotations and message.content is not None
    place = message.annotations[0].url_citation
    assert message.content[place.start_index : place.end_index].strip().startswith("Sandbox result 1")


def test_the_list_of_models(sandbox: openai.OpenAI) -> None:
    listed = [strictly(model) for model in sandbox.models.list()]
    assert {"claude-sandbox", "error-529"} <= {model.id for model in listed}


# What is refused

REFUSED: dict[str, tuple[Json, str | None, str | None, str]] = {
    "unknown field": ({"extra_body": {"top_k": 4}}, "top_k", "unknown_parameter", "Unknown parameter: 'top_k'."),
    "no messages": ({"messages": []}, "messages", "empty_array", "Invalid 'messages': empty array."),
    "no role": (
        {"messages": [{"content": "x"}]},
        "messages[0].role",
        "missing_required_parameter",
        "Missing required parameter: 'messages[0].role'.",
    ),
    "role": (
        {"messages": [{"role": "bot", "content": "x"}]},
        "messages[0].role",
        "invalid_value",
        "Invalid value: 'bot'. Supported values are: 'system', 'developer', 'user', 'assistant', and 'tool'.",
    ),
    "part": (
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        "messages[0].content[0].type",
        "invalid_value",
        "Invalid value: 'image'. Supported values are: 'text', 'image_url', and 'file'.",
    ),
    "no image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PDF}}]}]},
        "messages[0].content[0].image_url.url",
        "invalid_value",
        "Invalid 'messages[0].content[0].image_url.url'. Expected a base64-encoded data URL with an image MIME type",
    ),
    "temperature": (
        {"model": "gpt-4o", "temperature": 3},
        "temperature",
        "decimal_above_max_value",
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
    ),
    "sampling of a model that reasons": (
        {"model": "gpt-5", "temperature": 0.5},
        "temperature",
        "unsupported_value",
        "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value",
    ),
    "top_p of a model that reasons": (
        {"model": "o3", "top_p": 0.5},
        "top_p",
        "unsupported_parameter",
        "Unsupported parameter: 'top_p' is not supported with this model.",
    ),
    "stop of a model that reasons": (
        {"model": "o3", "stop": "x"},
        "stop",
        "unsupported_parameter",
        "Unsupported parameter: 'stop' is not supported with this model.",
    ),
    "max_tokens of a model that reasons": (
        {"model": "o3", "max_tokens": 10},
        "max_tokens",
        "unsupported_parameter",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    ),
    "effort": (
        {"model": "gpt-5.1", "reasoning_effort": "minimal"},
        "reasoning_effort",
        "unsupported_value",
        "Unsupported value: 'minimal' is not supported with the 'gpt-5.1' model. Supported values are: 'none',",
    ),
    "effort of a model that does not reason": (
        {"model": "gpt-4o", "reasoning_effort": "low"},
        None,
        None,
        "Unrecognized request argument supplied: reasoning_effort",
    ),
    "too many stops": ({"model": "gpt-4o", "stop": list("abcde")}, "stop", "array_above_max_length", "Invalid 'stop'"),
    "tool's name": (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        "tools[0].function.name",
        "invalid_value",
        "Invalid 'tools[0].function.name': string does not match pattern.",
    ),
    "long tool's name": (
        {"tools": [{"type": "function", "function": {"name": "a" * 65}}]},
        "tools[0].function.name",
        "string_above_max_length",
        "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got",
    ),
    "tool's schema": (
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}}]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
        "Invalid schema for function 'a': In context=(), object schema missing properties.",
    ),
    "strict tool's schema": (
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": WEATHER, "strict": True}}]},
        "tools[0].function.parameters",
        "invalid_function_parameters",
        "Invalid schema for function 'a': In context=(), 'additionalProperties' is required to be supplied and to be",
    ),
    "choice without tools": (
        {"tool_choice": "auto"},
        "tool_choice",
        None,
        "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
    ),
    "unanswered call": (
        {"messages": [*HI, {"role": "assistant", "tool_calls": [CALL]}, *HI]},
        "messages.[1].role",
        None,
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
    ),
    "result of nothing": (
        {"messages": [*HI, {"role": "tool", "tool_call_id": "call_1", "content": "x"}]},
        "messages.[1].role",
        None,
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
    ),
    "reasoning": (
        {"messages": [*HI, {"role": "assistant", "content": "x", "reasoning_content": "y"}, *HI]},
        "messages[1].reasoning_content",
        "unknown_parameter",
        "Unknown parameter: 'messages[1].reasoning_content'.",
    ),
    "nothing said": (
        {"messages": [*HI, {"role": "assistant"}, *HI]},
        "messages.[1].content",
        None,
        "Invalid value for 'content': expected a string, got null.",
    ),
    "stream options without a stream": (
        {"stream_options": {"include_usage": True}},
        "stream_options",
        None,
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
    ),
    "json without the word": (
        {"response_format": {"type": "json_object"}},
        "messages",
        None,
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
    ),
    "cache of an old model": (
        {"model": "gpt-4o", "prompt_cache_options": {"mode": "explicit"}},
        "prompt_cache_options",
        "unsupported_parameter",
        "Unsupported parameter: 'prompt_cache_options' is not supported with this model.",
    ),
    "too much": (
        {"messages": [{"role": "user", "content": "x" * 4_000_004}]},
        "messages",
        "context_length_exceeded",
        "This model's maximum context length is 1000000 tokens. However, your messages resulted in 10000",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(sandbox: openai.OpenAI, name: str) -> None:
    fields, param, code, message = REFUSED[name]
    with pytest.raises(openai.BadRequestError) as raised:
        create(sandbox, **fields)
    assert said(raised.value) == (400, param, code)
    assert raised.value.body is not None and str(raised.value.body["message"]).startswith(message)  # type: ignore[index]  # the SDK says object


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, openai.AuthenticationError, "invalid_api_key"),
        (402, openai.APIStatusError, "insufficient_quota"),
        (404, openai.NotFoundError, "model_not_found"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
        (503, openai.InternalServerError, "server_is_overloaded"),
    ],
)
def test_errors_on_request(
    sandbox: openai.OpenAI, status: int, kind: type[openai.APIStatusError], code: str | None
) -> None:
    with pytest.raises(kind) as raised:
        create(sandbox, model=f"error-{status}")
    assert said(raised.value) == (status, None, code)
    assert raised.value.request_id is not None and raised.value.request_id.startswith("req_")
    left = raised.value.response.headers.get("x-ratelimit-remaining-requests")
    assert (left, raised.value.response.headers.get("retry-after")) == (("0", "1") if status == 429 else (None, None))
    with pytest.raises(kind):
        create(sandbox.with_options(api_key=f"sk-error-{status}"))


def test_no_key(sandbox: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError, match="You didn't provide an API key"):
        create(sandbox, extra_headers={"authorization": openai.Omit()})


def test_an_error_in_a_stream(sandbox: openai.OpenAI) -> None:
    seen: list[str | None] = []
    hi: Any = HI
    with pytest.raises(openai.APIError, match="currently overloaded"):
        for chunk in sandbox.chat.completions.create(model="error-mid-stream:status=503", messages=hi, stream=True):
            seen += [choice.delta.content for choice in chunk.choices]
    assert seen[0] == "" and len(seen) == 2 and seen[1]


def test_answers_have_openais_headers(sandbox: openai.OpenAI) -> None:
    raw = sandbox.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}]
    )
    assert raw.headers["x-ratelimit-remaining-requests"] == "3999"
    assert raw.headers["openai-organization"] and not [name for name in raw.headers if name.startswith("anthropic")]
