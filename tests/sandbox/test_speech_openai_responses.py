"""The sandbox as OpenAI's Responses API, asked by OpenAI's SDK and held against its types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from tests.sandbox.openai_calling import PDF, PIXEL, STRICT, WEATHER, client, said, strictly

Json = dict[str, Any]

TOOL: Json = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}
HI: list[Json] = [{"role": "user", "content": "hi"}]
KEPT = ["reasoning.encrypted_content"]
MORE = ("store",)
"""Real responses have it; the SDK's type has not."""
THINKS: Json = {"reasoning": {"effort": "high", "summary": "auto"}, "include": KEPT, "store": False}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[openai.OpenAI]:
    with client() as made:
        yield made


def create(sandbox: openai.OpenAI, **fields: Any) -> Response:
    response: Response = sandbox.responses.create(**{"model": "gpt-5.6", "input": "hi", **fields})
    return strictly(response, more=MORE)


def events(sandbox: openai.OpenAI, **fields: Any) -> list[ResponseStreamEvent]:
    stream = sandbox.responses.create(**{"model": "gpt-5.6", "input": "hi", "stream": True, **fields})
    found = [strictly(event, more=MORE) for event in stream]
    assert [event.sequence_number for event in found] == list(range(len(found)))
    return found


def both_ways(sandbox: openai.OpenAI, **fields: Any) -> Response:
    """The response, whole and as a stream; its last event must have the same, and so must its deltas."""
    whole = create(sandbox, **fields)
    made = events(sandbox, **fields)
    last = made[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.to_dict() == whole.to_dict()
    done = [event.item.to_dict() for event in made if event.type == "response.output_item.done"]
    assert done == [item.to_dict() for item in whole.output]
    text = "".join(event.delta for event in made if event.type == "response.output_text.delta")
    assert text == whole.output_text
    arguments = "".join(event.delta for event in made if event.type == "response.function_call_arguments.delta")
    assert arguments == "".join(item.arguments for item in whole.output if item.type == "function_call")
    if whole.status == "completed":  # the helper knows no other end
        with sandbox.responses.stream(**{"model": "gpt-5.6", "input": "hi", **fields}) as stream:
            assert stream.get_final_response().output_text == whole.output_text
    return whole


def test_text(sandbox: openai.OpenAI) -> None:
    answer = both_ways(sandbox, instructions="Be brief.")
    assert answer.output_text.startswith("You said: “hi”.")
    assert (answer.status, answer.instructions) == ("completed", "Be brief.")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_tools_over_turns(sandbox: openai.OpenAI) -> None:
    tools = [TOOL, {**TOOL, "name": "other"}]
    items: list[Json] = [{"role": "user", "content": "get_weather and other"}]
    first = both_ways(sandbox, input=items, tools=tools, **THINKS)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["get_weather", "other"]
    assert [item.type for item in first.output] == ["reasoning", "message", "function_call", "function_call"]
    items += [item.to_dict() for item in first.output]
    picture = [{"type": "input_text", "text": "See."}, {"type": "input_image", "image_url": PIXEL, "detail": "auto"}]
    items += [
        {"type": "function_call_output", "call_id": calls[1].call_id, "output": picture},
        {"type": "function_call_output", "call_id": calls[0].call_id, "output": "Rain."},
    ]
    second = both_ways(sandbox, input=items, tools=tools, **THINKS)
    assert "returned: Rain." in second.output_text and "returned: See. [image]" in second.output_text


def test_tool_choice(sandbox: openai.OpenAI) -> None:
    tools = [TOOL, {**TOOL, "name": "other"}]

    def called(**fields: Any) -> list[str]:
        output = create(sandbox, input="get_weather other", tools=tools, **fields).output
        return [item.name for item in output if item.type == "function_call"]

    assert called() == ["get_weather", "other"]
    assert called(parallel_tool_calls=False) == ["get_weather"]
    assert called(tool_choice="none") == []
    assert called(tool_choice="required") == ["get_weather", "other"]
    assert called(tool_choice={"type": "function", "name": "other"}) == ["other"]
    allowed = [{"type": "function", "name": "other"}]
    assert called(tool_choice={"type": "allowed_tools", "mode": "auto", "tools": allowed}) == ["other"]


def test_reasoning_goes_back_as_it_came(sandbox: openai.OpenAI) -> None:
    first = both_ways(sandbox, **THINKS)
    thought, message = first.output
    assert thought.type == "reasoning" and thought.summary[0].text and thought.encrypted_content
    assert first.usage is not None and first.usage.output_tokens_details.reasoning_tokens
    kept = thought.to_dict()
    assert create(sandbox, input=[*HI, kept, message.to_dict(), *HI]).status == "completed"

    def refused(*items: Json) -> tuple[int, str | None, str | None]:
        with pytest.raises(openai.APIStatusError) as raised:
            create(sandbox, input=[*HI, *items])
        return said(raised.value)

    tampered = {**kept, "encrypted_content": "AAAA" + str(kept["encrypted_content"])[4:]}
    assert refused(tampered, message.to_dict()) == (400, None, "invalid_encrypted_content")
    other = {**kept, "id": "rs_other"}
    assert refused(other, message.to_dict()) == (400, None, "invalid_encrypted_content")
    alone = {key: value for key, value in kept.items() if key != "encrypted_content"}
    assert refused(alone, message.to_dict()) == (404, "input", None)
    assert refused(kept) == (400, "input", None)
    hidden = create(sandbox, reasoning={"effort": "high"}).output[0]
    assert hidden.type == "reasoning" and hidden.summary == [] and hidden.encrypted_content is None


def test_structured_output(sandbox: openai.OpenAI) -> None:
    text = {"format": {"type": "json_schema", "name": "city", "schema": STRICT, "strict": True}}
    assert json.loads(both_ways(sandbox, text=text).output_text).keys() == {"city"}
    item = both_ways(sandbox, model="any:stop_reason=refusal", text=text).output[-1]
    assert item.type == "message" and item.content[0].type == "refusal"
    filtered = both_ways(sandbox, model="any:stop_reason=refusal")
    assert filtered.incomplete_details is not None and filtered.incomplete_details.reason == "content_filter"


def test_images_and_files(sandbox: openai.OpenAI) -> None:
    parts = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ]
    answer = create(sandbox, input=[{"role": "user", "content": parts}])
    assert answer.usage is not None and answer.usage.input_tokens > 4 * 1_500


def test_the_end(sandbox: openai.OpenAI) -> None:
    answer = both_ways(sandbox, max_output_tokens=16)
    assert answer.status == "incomplete" and answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_the_cache(sandbox: openai.OpenAI) -> None:
    part = {"type": "input_text", "text": "Long. " * 400, "prompt_cache_breakpoint": {"mode": "explicit"}}
    system = {"role": "developer", "content": [part]}
    first = create(sandbox, input=[system, *HI]).usage
    later = create(sandbox, input=[system, *HI, {"role": "assistant", "content": "yes"}, *HI]).usage
    assert first is not None and later is not None
    assert first.input_tokens_details.cache_write_tokens == later.input_tokens_details.cached_tokens == 600


def test_web_search(sandbox: openai.OpenAI) -> None:
    fields: Json = {"tools": [{"type": "web_search"}], "include": ["web_search_call.action.sources"]}
    search, message = both_ways(sandbox, input="web_search", **fields).output
    assert search.type == "web_search_call" and search.action.type == "search" and search.action.sources
    assert message.type == "message" and message.content[0].type == "output_text"
    (place,) = message.content[0].annotations
    assert place.type == "url_citation"
    assert message.content[0].text[place.start_index : place.end_index].strip().startswith("Sandbox result 1")
    again = create(sandbox, input=[*HI, search.to_dict(), message.to_dict(), *HI], **fields)
    assert again.status == "completed"


def test_mcp(sandbox: openai.OpenAI) -> None:
    server = {"type": "mcp", "server_label": "docs", "server_url": "https://example.com/mcp", "authorization": "secret"}
    answer = both_ways(
        sandbox, input="docs", tools=[{**server, "allowed_tools": ["look_up"], "require_approval": "never"}]
    )
    assert [item.type for item in answer.output] == ["mcp_list_tools", "mcp_call", "message"]
    call = answer.output[1]
    assert call.type == "mcp_call" and (call.name, call.output) == ("look_up", "The sandbox answers for look_up.")
    assert "secret" not in answer.to_json()


def test_counting(sandbox: openai.OpenAI) -> None:
    counted = strictly(sandbox.responses.input_tokens.count(model="gpt-5.6", input="hi", instructions="Be brief."))
    usage = create(sandbox, instructions="Be brief.").usage
    assert usage is not None and counted.input_tokens == usage.input_tokens


# What is refused

REFUSED: dict[str, tuple[Json, str | None, str | None, str]] = {
    "unknown field": ({"extra_body": {"stop": "x"}}, "stop", "unknown_parameter", "Unknown parameter: 'stop'."),
    "no input": ({"input": openai.omit}, "input", "missing_required_parameter", "Missing required parameter: 'input'."),
    "few tokens": (
        {"max_output_tokens": 15},
        "max_output_tokens",
        "integer_below_min_value",
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 15 instead.",
    ),
    "item": (
        {"input": [{"type": "thought"}]},
        "input[0].type",
        "invalid_value",
        "Invalid value: 'thought'. Supported values are: 'message', 'function_call',",
    ),
    "part of an assistant": (
        {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
        "input[0].content[0].type",
        "invalid_value",
        "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.",
    ),
    "id": (
        {"input": [{"type": "reasoning", "id": "x", "summary": []}]},
        "input[0].id",
        None,
        "Invalid 'input[0].id': 'x'. Expected an ID that begins with 'rs'.",
    ),
    "long call id": (
        {"input": [{"type": "function_call", "call_id": "c" * 65, "name": "a", "arguments": "{}"}]},
        "input[0].call_id",
        "string_above_max_length",
        "Invalid 'input[0].call_id': string too long. Expected a string with maximum length 64, but got",
    ),
    "unanswered call": (
        {"input": [*HI, {"type": "function_call", "call_id": "call_1", "name": "a", "arguments": "{}"}, *HI]},
        "input",
        None,
        "No tool output found for function call call_1.",
    ),
    "output of nothing": (
        {"input": [*HI, {"type": "function_call_output", "call_id": "call_1", "output": "x"}]},
        "input",
        None,
        "No tool call found for function call output with call_id call_1.",
    ),
    "temperature": (
        {"model": "gpt-5", "temperature": 0.5},
        "temperature",
        "unsupported_parameter",
        "Unsupported parameter: 'temperature' is not supported with this model.",
    ),
    "effort": (
        {"model": "gpt-5.1", "reasoning": {"effort": "minimal"}},
        "reasoning.effort",
        "unsupported_value",
        "Unsupported value: 'minimal' is not supported with the 'gpt-5.1' model. Supported values are: 'none', 'low',",
    ),
    "effort of a model that does not reason": (
        {"model": "gpt-4o", "reasoning": {"effort": "low"}},
        "reasoning.effort",
        "unsupported_parameter",
        "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
    ),
    "tool without parameters": (
        {"tools": [{"type": "function", "name": "a"}]},
        "tools[0].parameters",
        "missing_required_parameter",
        "Missing required parameter: 'tools[0].parameters'.",
    ),
    "strict tool": (
        {"tools": [{**TOOL, "strict": True}]},
        "tools[0].parameters",
        "invalid_function_parameters",
        "Invalid schema for function 'get_weather': In context=(), 'additionalProperties' is required",
    ),
    "choice of nothing": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "name": "other"}},
        "tool_choice",
        None,
        "Tool choice 'function' not found in 'tools' parameter.",
    ),
    "choice without tools": (
        {"tool_choice": "required"},
        "tool_choice",
        None,
        "Tool choice 'required' must be specified with 'tools' parameter.",
    ),
    "earlier response": (
        {"previous_response_id": "resp_1"},
        "previous_response_id",
        "previous_response_not_found",
        "Previous response with id 'resp_1' not found.",
    ),
    "approval": (
        {"tools": [{"type": "mcp", "server_label": "a", "server_url": "https://example.com"}]},
        "tools[0].require_approval",
        "unsupported_value",
        "The sandbox calls tools of MCP servers only with 'require_approval': 'never'.",
    ),
    "too much": (
        {"input": "x" * 4_000_004},
        "input",
        "context_length_exceeded",
        "Your input exceeds the context window of this model.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(sandbox: openai.OpenAI, name: str) -> None:
    fields, param, code, message = REFUSED[name]
    with pytest.raises(openai.BadRequestError) as raised:
        create(sandbox, **fields)
    assert said(raised.value) == (400, param, code)
    body: Any = raised.value.body
    assert body["message"].startswith(message)


def test_an_error_in_a_stream(sandbox: openai.OpenAI) -> None:
    stream = sandbox.responses.create(model="error-mid-stream:status=503", input="hi", stream=True)
    *before, last = [strictly(event, more=MORE) for event in stream]
    assert before[-1].type == "response.output_text.delta"
    assert last.type == "error" and last.code == "server_is_overloaded"
