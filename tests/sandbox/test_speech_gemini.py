"""The sandbox as Google's Gemini, asked by Google's SDK and held against its types."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.sandbox.serving import serving

Json = dict[str, Any]

MODEL = "gemini-3-flash-preview"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = types.FunctionDeclaration(name="get_weather", parameters_json_schema=CITY)
TOOLS = [types.Tool(function_declarations=[WEATHER])]
OFF = types.AutomaticFunctionCallingConfig(disable=True)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def sandbox(url: str) -> Iterator[genai.Client]:
    made = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=url, api_version="v1beta"))
    yield made
    made.close()


def config(**fields: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(automatic_function_calling=OFF, **fields)


def generate(sandbox: genai.Client, contents: Any = "hi", model: str = MODEL, **fields: Any) -> Any:
    """The answer, asked for whole and as a stream: they say the same."""
    whole = sandbox.models.generate_content(model=model, contents=contents, config=config(**fields))
    chunks = list(sandbox.models.generate_content_stream(model=model, contents=contents, config=config(**fields)))
    assert [part for part in joined(chunks) if part != {"text": ""}] == joined([whole])
    ends = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    assert whole.candidates
    assert ends == [*[None] * (len(ends) - 1), whole.candidates[0].finish_reason]
    assert {chunk.response_id for chunk in chunks} == {whole.response_id}
    assert all(chunk.usage_metadata == whole.usage_metadata for chunk in chunks)
    return whole


def parts(answer: types.GenerateContentResponse) -> list[types.Part]:
    assert answer.candidates and answer.candidates[0].content
    return answer.candidates[0].content.parts or []


def said(answer: types.GenerateContentResponse) -> list[Json]:
    found = [part.model_dump(exclude_none=True, exclude={"thought_signature"}) for part in parts(answer)]
    return [part for part in found if part]


def joined(chunks: list[types.GenerateContentResponse]) -> list[Json]:
    """The parts of a stream, neighbouring texts of a kind made one."""
    found: list[Json] = []
    for part in (part for chunk in chunks for part in said(chunk)):
        if found and "text" in part and "text" in found[-1] and part.get("thought") == found[-1].get("thought"):
            found[-1]["text"] += part["text"]
        else:
            found.append(part)
    return found


def post(url: str, body: object, path: str = f"/v1beta/models/{MODEL}:generateContent", **headers: str) -> Json:
    """One request as it stands; the body of the answer, error or not."""
    given = {"content-type": "application/json", "x-goog-api-key": "any", **headers}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {key.replace("_", "-"): value for key, value in given.items()})
    try:
        with urllib.request.urlopen(request) as response:
            answer: Json = json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            answer = json.loads(error.read())
            assert answer["error"]["code"] == error.code
    return answer


# Answers


@pytest.mark.parametrize("model", [MODEL, "gemini-2.5-flash", "gemini-2.0-flash", "any"])
def test_text(sandbox: genai.Client, model: str) -> None:
    answer = generate(sandbox, model=model, system_instruction="Be brief.")
    assert answer.text.startswith("You said: “hi”.")
    usage = answer.usage_metadata
    thoughts = usage.thoughts_token_count or 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count + thoughts
    assert bool(thoughts) == (model in (MODEL, "gemini-2.5-flash"))
    assert answer.candidates[0].finish_reason == "STOP"


@pytest.mark.parametrize(("model", "has_ids"), [(MODEL, True), ("gemini-2.5-pro", False)])
def test_tools_over_turns(sandbox: genai.Client, model: str, has_ids: bool) -> None:
    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text="get_weather")])]
    first = generate(sandbox, contents, model, tools=TOOLS)
    (call,) = first.function_calls
    assert call.args.keys() == {"city"} and bool(call.id) == has_ids
    response = types.FunctionResponse(id=call.id, name=call.name, response={"output": "Rain."})
    contents += [
        first.candidates[0].content,
        types.Content(role="user", parts=[types.Part(function_response=response)]),
    ]
    assert "Rain." in generate(sandbox, contents, model, tools=TOOLS).text


def test_signatures(sandbox: genai.Client) -> None:
    """Gemini 3 wants that of a call back, and as it was."""
    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text="get_weather")])]
    first = generate(sandbox, contents, tools=TOOLS)
    signed = [part for part in parts(first) if part.thought_signature]
    assert len(signed) == 1 and signed[0].function_call
    response = types.FunctionResponse(id=signed[0].function_call.id, name="get_weather", response={"error": "No."})
    answered = types.Content(role="user", parts=[types.Part(function_response=response)])

    def refusal(signature: bytes | None) -> str:
        part = signed[0].model_copy(update={"thought_signature": signature})
        history = [*contents, types.Content(role="model", parts=[part]), answered]
        with pytest.raises(errors.ClientError) as caught:
            generate(sandbox, history, tools=TOOLS)
        return str(caught.value.message)

    assert refusal(None).startswith("Function call is missing a thought_signature in functionCall parts.")
    assert refusal(b"x" * 48) == "Corrupted thought signature."
    stand_in = signed[0].model_copy(update={"thought_signature": b"skip_thought_signature_validator"})
    history = [*contents, types.Content(role="model", parts=[stand_in]), answered]
    assert "failed with: No." in generate(sandbox, history, tools=TOOLS).text


def test_thoughts_are_shown_when_asked(sandbox: genai.Client) -> None:
    shown = generate(
        sandbox, thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW)
    )
    assert [part.thought for part in parts(shown)] == [True, None]
    assert parts(shown)[1].thought_signature and parts(shown)[0].thought_signature is None
    off = generate(sandbox, model="gemini-2.5-flash", thinking_config=types.ThinkingConfig(thinking_budget=0))
    assert off.usage_metadata.thoughts_token_count is None


def test_tool_choice(sandbox: genai.Client) -> None:
    other = types.FunctionDeclaration(name="other", parameters_json_schema=CITY)
    tools = [types.Tool(function_declarations=[WEATHER, other])]

    def called(mode: str, *names: str, text: str = "hi") -> list[str]:
        calling = types.FunctionCallingConfig(
            mode=types.FunctionCallingConfigMode(mode), allowed_function_names=list(names)
        )
        config = types.ToolConfig(function_calling_config=calling)
        answer = generate(sandbox, text, tools=tools, tool_config=config)
        return [str(call.name) for call in answer.function_calls or []]

    assert called("NONE") == []
    assert called("AUTO") == []
    assert called("AUTO", text="get_weather") == ["get_weather"]
    assert called("ANY", "other") == ["other"]


def test_structured_output(sandbox: genai.Client) -> None:
    answer = generate(sandbox, response_mime_type="application/json", response_json_schema=CITY)
    assert json.loads(answer.text).keys() == {"city"}
    schema = types.Schema(
        type=types.Type.OBJECT, properties={"n": types.Schema(type=types.Type.INTEGER)}, required=["n"]
    )
    answer = generate(sandbox, response_mime_type="application/json", response_schema=schema)
    assert isinstance(json.loads(answer.text)["n"], int)


def test_images_and_documents(sandbox: genai.Client) -> None:
    contents = [
        "look",
        types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png"),
        types.Part.from_bytes(data=b"%PDF-1.4", mime_type="application/pdf"),
        types.Part.from_uri(file_uri="https://example.com/a.png", mime_type="image/png"),
    ]
    assert generate(sandbox, contents).usage_metadata.prompt_token_count > 3 * 1_500


def test_its_own_tools(sandbox: genai.Client) -> None:
    found = generate(sandbox, "web_search bridges", tools=[types.Tool(google_search=types.GoogleSearch())]).candidates[
        0
    ]
    grounding = found.grounding_metadata
    assert grounding.web_search_queries == ["web_search bridges"] and len(grounding.grounding_chunks) == 2
    segment = grounding.grounding_supports[0].segment
    whole = "".join(part.text or "" for part in found.content.parts).encode()
    assert whole[segment.start_index : segment.end_index].decode() == segment.text
    ran = generate(sandbox, "code_execution", tools=[types.Tool(code_execution=types.ToolCodeExecution())])
    assert [ran.executable_code is not None, ran.code_execution_result] == [True, "Hello from the sandbox.\n"]
    fetched = generate(sandbox, "web_fetch https://example.com/x", tools=[types.Tool(url_context=types.UrlContext())])
    assert fetched.candidates[0].url_context_metadata.url_metadata[0].retrieved_url == "https://example.com/x"


def test_the_end(sandbox: genai.Client) -> None:
    short = generate(sandbox, model="gemini-2.0-flash", max_output_tokens=3)
    assert short.candidates[0].finish_reason == "MAX_TOKENS"
    assert generate(sandbox, stop_sequences=["sandbox"]).text.endswith("This is the Asbru ")
    refused = generate(sandbox, model="any:stop_reason=refusal").candidates[0]
    assert refused.finish_reason == "SAFETY" and refused.safety_ratings[0].blocked


def test_counting_and_listing(sandbox: genai.Client) -> None:
    asked = generate(sandbox, "hello")
    assert sandbox.models.count_tokens(model=MODEL, contents="hello").total_tokens == (
        asked.usage_metadata.prompt_token_count
    )
    assert {"models/claude-sandbox", "models/error-429"} <= {model.name for model in sandbox.models.list()}


def test_without_sse_a_stream_is_a_list(url: str) -> None:
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    path = f"/v1beta/models/{MODEL}:streamGenerateContent"
    listed: Any = post(url, body, path)
    assert len(listed) > 2 and listed[-1]["candidates"][0]["finishReason"] == "STOP"


def test_vertex(url: str) -> None:
    path = f"/v1beta1/projects/p/locations/global/publishers/google/models/{MODEL}"
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "labels": {"a": "b"}}
    answer = post(url, body, f"{path}:generateContent", authorization="Bearer token")
    assert answer["usageMetadata"]["trafficType"] == "ON_DEMAND"
    assert post(url, body, f"{path}:generateContent")["error"]["status"] == "UNAUTHENTICATED"
    only = {"contents": body["contents"]}
    assert post(url, only, f"{path}:countTokens", authorization="Bearer token")["totalTokens"] > 0
    tiered = {**body, "serviceTier": "flex"}
    refused = post(url, tiered, f"{path}:generateContent", authorization="Bearer token")
    assert 'Unknown name "serviceTier"' in refused["error"]["message"]


# Errors


@pytest.mark.parametrize(
    ("status", "name"), [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")]
)
def test_errors(sandbox: genai.Client, status: int, name: str) -> None:
    with pytest.raises(errors.APIError) as caught:
        sandbox.models.generate_content(model=f"error-{status}", contents="hi")
    assert (caught.value.code, caught.value.status) == (status, name)


def test_an_error_in_a_stream(sandbox: genai.Client) -> None:
    stream = sandbox.models.generate_content_stream(model="error-mid-stream:status=503", contents="hi")
    with pytest.raises(errors.APIError) as caught:
        list(stream)
    assert caught.value.status == "UNAVAILABLE"


def test_keys(url: str) -> None:
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    missing = post(url, body, x_goog_api_key="")
    assert missing["error"]["status"] == "PERMISSION_DENIED"
    bad = post(url, body, x_goog_api_key="sk-invalid")
    assert bad["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    limited = post(url, body, x_goog_api_key="sk-error-429")
    assert limited["error"]["details"][-1]["retryDelay"] == "1s"


TEXT: Json = {"role": "user", "parts": [{"text": "hi"}]}
CALL: Json = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
ANSWER: Json = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
SEARCH: Json = {"googleSearch": {}}
FUNCTION: Json = {"functionDeclarations": [{"name": "f"}]}


def generation(**fields: Any) -> Json:
    return {"generationConfig": fields}


REFUSED: dict[str, tuple[Json, str]] = {
    "unknown field": ({"top_k": 4}, 'Invalid JSON payload received. Unknown name "top_k": Cannot find field.'),
    "unknown field inside": (
        generation(thinking_config={"effort": 1}),
        "Unknown name \"effort\" at 'generation_config.thinking_config': Cannot find field.",
    ),
    "type": (generation(temperature="x"), "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"x\""),
    "enum": (
        {"toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}},
        "Invalid value at 'tool_config.function_calling_config.mode' (type.googleapis.com/",
    ),
    "bytes": (
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "!"}}]}]},
        "Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"!\"",
    ),
    "two kinds of data": (
        {"contents": [{"parts": [{"text": "x", "functionCall": {"name": "f"}}]}]},
        "Invalid value at 'contents[0].parts[0]' (oneof), oneof field 'data' is already set. Cannot set 'functionCall'",
    ),
    "words of JSON Schema": (
        {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"additionalProperties": False}}]}]},
        "Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters': Cannot find field.",
    ),
    "no contents": ({"contents": []}, "* GenerateContentRequest.contents: contents is not specified"),
    "no parts": ({"contents": [{"role": "user"}]}, "contents[0].parts: contents.parts must not be empty."),
    "empty part": ({"contents": [{"parts": [{}]}]}, "required oneof field 'data' must have one initialized field"),
    "role": ({"contents": [{**TEXT, "role": "assistant"}]}, "Please use a valid role: user, model."),
    "mime type": (
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/tiff", "data": "AAAA"}}]}]},
        "Unsupported MIME type: image/tiff",
    ),
    "call first": (
        {"contents": [CALL, ANSWER]},
        "Please ensure that function call turn comes immediately after a user",
    ),
    "unanswered": (
        {"contents": [TEXT, CALL, TEXT]},
        "Please ensure that the number of function response parts is equal",
    ),
    "last is a call": ({"contents": [TEXT, CALL]}, "Please ensure that single turn requests end with a user role"),
    "answer to nothing": ({"contents": [TEXT, ANSWER]}, "Please ensure that the number of function response parts is"),
    "another's answer": (
        {"contents": [TEXT, CALL, {"parts": [{"functionResponse": {"name": "g", "response": {}}}]}]},
        "Function response `g` does not match any function call",
    ),
    "no name": ({"contents": [TEXT, {"role": "model", "parts": [{"functionCall": {}}]}]}, "Name cannot be empty."),
    "no response": ({"contents": [{"parts": [{"functionResponse": {"name": "f"}}]}]}, "Response cannot be empty."),
    "function's name": ({"tools": [{"functionDeclarations": [{"name": "a b"}]}]}, "Invalid function name."),
    "twice": ({"tools": [FUNCTION, FUNCTION]}, "Duplicate function declaration found: f"),
    "two schemas": (
        {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {}, "parametersJsonSchema": {}}]}]},
        "parameters and parameters_json_schema are mutually exclusive.",
    ),
    "required": (
        {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"required": ["x"]}}]}]},
        "parameters.required[0]: property is not defined",
    ),
    "search beside functions": ({"tools": [FUNCTION, SEARCH]}, "Please enable tool_config.include_server_side_tool"),
    "search beside functions on 2.5": (
        {"model": "gemini-2.5-pro", "tools": [FUNCTION, SEARCH]},
        "Tool use with function calling is unsupported",
    ),
    "choice of nothing": (
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        "Function calling config is set without function_declarations.",
    ),
    "names without ANY": (
        {"tools": [FUNCTION], "toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["f"]}}},
        "Please set allowed_function_names only when function calling mode is ANY.",
    ),
    "names of nothing": (
        {"tools": [FUNCTION], "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}},
        "Please ensure that allowed_function_names is a subset",
    ),
    "temperature": (generation(temperature=3), "Unable to submit request because it has a temperature value of 3"),
    "max tokens": (
        generation(maxOutputTokens=0),
        "Unable to submit request because it has a maxOutputTokens value of 0",
    ),
    "stops": (generation(stopSequences=list("abcdef")), "Only up to 5 stop sequences are allowed."),
    "candidates": (generation(candidateCount=2), "Multiple candidates is not enabled for this model"),
    "pictures": (generation(responseModalities=["IMAGE"]), "The requested combination of response modalities"),
    "form without type": (generation(responseJsonSchema={}), "when response schema is set, response mime type must be"),
    "form beside functions on 2.5": (
        {"model": "gemini-2.5-pro", "tools": [FUNCTION], **generation(responseMimeType="application/json")},
        "Function calling with a response mime type: 'application/json' is unsupported",
    ),
    "budget and level": (
        generation(thinkingConfig={"thinkingBudget": 1, "thinkingLevel": "LOW"}),
        "You can only set only one of thinking budget and thinking level.",
    ),
    "level on 2.5": (
        {"model": "gemini-2.5-pro", **generation(thinkingConfig={"thinkingLevel": "LOW"})},
        "Thinking level is not supported for this model.",
    ),
    "level of pro": (
        {"model": "gemini-3-pro-preview", **generation(thinkingConfig={"thinkingLevel": "MINIMAL"})},
        "Thinking level MINIMAL is not supported for this model.",
    ),
    "budget": (
        {"model": "gemini-2.5-flash", **generation(thinkingConfig={"thinkingBudget": 50_000})},
        "The thinking budget 50000 is invalid. Please choose a value between 1 and 24576.",
    ),
    "no budget": (
        {"model": "gemini-2.5-pro", **generation(thinkingConfig={"thinkingBudget": 0})},
        "Budget 0 is invalid. This model only works in thinking mode.",
    ),
    "thinking of 2.0": (
        {"model": "gemini-2.0-flash", **generation(thinkingConfig={"includeThoughts": True})},
        "Thinking is not enabled for this model.",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(url: str, what: str) -> None:
    fields, message = REFUSED[what]
    model = fields.get("model", MODEL)
    body = {"contents": [TEXT], **{name: value for name, value in fields.items() if name != "model"}}
    error = post(url, body, f"/v1beta/models/{model}:generateContent")["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert message in error["message"]


def test_names_in_either_case_and_single_items(url: str) -> None:
    body = {
        "contents": {"parts": {"text": "hi"}},
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generation_config": {"max_output_tokens": "40", "top_k": 5, "seed": None},
        "tools": {"function_declarations": {"name": "f", "parameters": {"type": "OBJECT"}}},
    }
    assert post(url, body)["candidates"][0]["finishReason"] in ("STOP", "MAX_TOKENS")
