"""The sandbox as Amazon Bedrock, asked by botocore and held against its service model."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from botocore.session import Session

from tests.dialects import bedrock_aws
from tests.sandbox.serving import serving

Json = dict[str, Any]

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HI: list[Json] = [{"role": "user", "content": [{"text": "hi"}]}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Json = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": CITY}}}]}
THINKING: Json = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def bedrock(url: str) -> Iterator[Any]:
    session = Session()
    session.set_credentials("AKIDEXAMPLE", "secret")
    config = Config(retries={"total_max_attempts": 1})
    made = session.create_client("bedrock-runtime", "us-east-1", endpoint_url=url, config=config)
    yield made
    made.close()


def converse(bedrock: Any, model: str = CLAUDE, messages: Any = HI, **fields: Any) -> Json:
    """The answer, asked for whole and as a stream: they say the same."""
    asked = {"modelId": model, "messages": messages, "inferenceConfig": {"maxTokens": 2_000}, **fields}
    whole: Json = bedrock.converse(**asked)
    events = list(bedrock.converse_stream(**asked)["stream"])
    ends = ("messageStop", "metadata")
    assert [next(iter(event)) for event in (events[0], *events[-2:])] == ["messageStart", *ends]
    assert events[-2]["messageStop"]["stopReason"] == whole["stopReason"]
    assert events[-1]["metadata"]["usage"] == whole["usage"]
    assert joined(events) == whole["output"]["message"]["content"]
    return whole


def joined(events: list[Json]) -> list[Json]:
    """The blocks of a stream, put together by the rules of the reference."""
    blocks: dict[int, Json] = {}
    for event in events:
        kind, value = next(iter(event.items()))
        if kind == "contentBlockStart":
            blocks[value["contentBlockIndex"]] = value["start"]
        if kind == "contentBlockDelta":
            join(blocks.setdefault(value["contentBlockIndex"], {}), value["delta"])
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    return [blocks[index] for index in sorted(blocks)]


def join(block: Json, delta: Json) -> None:
    if "toolUse" in delta:
        block["toolUse"]["input"] = block["toolUse"].get("input", "") + delta["toolUse"]["input"]
    elif "toolResult" in delta:
        block["toolResult"]["content"] = delta["toolResult"]
    elif "redactedContent" in delta.get("reasoningContent", {}):
        block.update(delta)
    elif "reasoningContent" in delta:
        text = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {"text": ""})
        for name, value in delta["reasoningContent"].items():
            text[name] = text.get(name, "") + value
    elif "citation" in delta:
        cited = block.setdefault("citationsContent", {"content": [{"text": block.pop("text")}], "citations": []})
        cited["citations"].append(delta["citation"])
    else:
        block["text"] = block.get("text", "") + delta["text"]


def said(answer: Json) -> str:
    return "".join(block.get("text", "") for block in answer["output"]["message"]["content"])


def refusal(bedrock: Any, **fields: Any) -> str:
    with pytest.raises(ClientError) as caught:
        converse(bedrock, **fields)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    return str(caught.value.response["Error"]["Message"])


def post(url: str, operation: str, body: object, model: str = CLAUDE, **headers: str) -> tuple[int, str, Json]:
    """One request as it stands: status, ``x-amzn-errortype`` and body."""
    given = {"content-type": "application/json", "authorization": "Bearer any", **headers}
    where = f"{url}/model/{quote(model, safe='')}/{operation}"
    request = urllib.request.Request(
        where, json.dumps(body).encode(), {k.replace("_", "-"): v for k, v in given.items()}
    )
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, "", json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["x-amzn-errortype"] or "", json.loads(error.read())


# Answers


@pytest.mark.parametrize("model", [CLAUDE, NOVA, "any"])
def test_text(bedrock: Any, model: str) -> None:
    answer = converse(bedrock, model, system=[{"text": "Be brief."}])
    assert said(answer).startswith("You said: “hi”.") and answer["stopReason"] == "end_turn"
    usage = answer["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]


def test_tools_over_turns(bedrock: Any) -> None:
    first = converse(bedrock, messages=[{"role": "user", "content": [{"text": "get_weather"}]}], toolConfig=TOOLS)
    assert first["stopReason"] == "tool_use"
    message = first["output"]["message"]
    use = message["content"][-1]["toolUse"]
    assert use["input"].keys() == {"city"}
    content = [{"text": "Rain."}, {"json": {"mm": 3}}, {"image": {"format": "png", "source": {"bytes": PIXEL}}}]
    result = {"toolUseId": use["toolUseId"], "content": content, "status": "error"}
    second = converse(
        bedrock, messages=[*HI, message, {"role": "user", "content": [{"toolResult": result}]}], toolConfig=TOOLS
    )
    assert 'failed with: Rain. {"mm":3} [image]' in said(second)


def test_tool_choice(bedrock: Any) -> None:
    other = {"toolSpec": {"name": "other", "inputSchema": {"json": CITY}}}

    def called(**choice: Any) -> list[str]:
        config = {"tools": [*TOOLS["tools"], other], "toolChoice": choice}
        content = converse(bedrock, toolConfig=config)["output"]["message"]["content"]
        return [block["toolUse"]["name"] for block in content if "toolUse" in block]

    assert called(auto={}) == []
    assert called(any={}) == ["get_weather"]
    assert called(tool={"name": "other"}) == ["other"]


def test_reasoning_goes_back(bedrock: Any) -> None:
    first = converse(bedrock, additionalModelRequestFields=THINKING)["output"]["message"]
    reasoning = first["content"][0]["reasoningContent"]["reasoningText"]
    assert reasoning["text"] and reasoning["signature"]
    again = [*HI, first, {"role": "user", "content": [{"text": "again"}]}]
    assert "again" in said(converse(bedrock, messages=again, additionalModelRequestFields=THINKING))
    reasoning["text"] += "!"
    message = refusal(bedrock, messages=again, additionalModelRequestFields=THINKING)
    assert message.startswith("The model returned the following errors: messages.1.content.0: Invalid `signature` in")
    hidden = converse(bedrock, f"{CLAUDE}:thinking=redacted", additionalModelRequestFields=THINKING)["output"][
        "message"
    ]
    assert hidden["content"][0]["reasoningContent"]["redactedContent"]
    again[1] = hidden
    assert "again" in said(converse(bedrock, messages=again, additionalModelRequestFields=THINKING))


def test_other_families_think_in_their_own_words(bedrock: Any) -> None:
    for model, more in (
        (NOVA, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "low"}),
    ):
        content = converse(bedrock, model, additionalModelRequestFields=more)["output"]["message"]["content"]
        assert "reasoningContent" in content[0]


def test_structured_output(bedrock: Any) -> None:
    schema = {"schema": json.dumps({**CITY, "additionalProperties": False}), "name": "city"}
    form = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    model = "anthropic.claude-opus-4-6-v1"
    assert json.loads(said(converse(bedrock, model, outputConfig=form))).keys() == {"city"}
    schema["schema"] = "{"
    assert "is not valid JSON" in refusal(bedrock, model=model, outputConfig=form)


def test_images_and_documents(bedrock: Any) -> None:
    content = [
        {"text": "look"},
        {"image": {"format": "png", "source": {"bytes": PIXEL}}},
        {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"%PDF-1.4"}}},
        {
            "document": {
                "format": "txt",
                "name": "b",
                "source": {"text": "The bridge is open."},
                "citations": {"enabled": True},
            }
        },
        {"document": {"name": "c", "source": {"content": [{"text": "It is wet."}]}, "citations": {"enabled": True}}},
    ]
    answer = converse(bedrock, messages=[{"role": "user", "content": content}])
    assert answer["usage"]["inputTokens"] > 2 * 1_500
    blocks = [block["citationsContent"] for block in answer["output"]["message"]["content"][1:]]
    assert [block["citations"][0]["title"] for block in blocks] == ["b", "c"]
    assert [next(iter(block["citations"][0]["location"])) for block in blocks] == ["documentChar", "documentChunk"]


def test_the_cache(bedrock: Any) -> None:
    system = [{"text": "Long. " * 400}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    first = converse(bedrock, system=system)["usage"]
    later = [*HI, {"role": "assistant", "content": [{"text": "yes"}]}, *HI]
    assert first["cacheDetails"] == [{"ttl": "1h", "inputTokens": 600}]
    assert converse(bedrock, messages=later, system=system)["usage"]["cacheReadInputTokens"] == 600


def test_the_end(bedrock: Any) -> None:
    assert converse(bedrock, inferenceConfig={"maxTokens": 3})["stopReason"] == "max_tokens"
    paths = ["/stop_sequence"]
    stopped = converse(bedrock, inferenceConfig={"stopSequences": ["sandbox"]}, additionalModelResponseFieldPaths=paths)
    assert stopped["stopReason"] == "stop_sequence"
    assert stopped["additionalModelResponseFields"] == {"stop_sequence": "sandbox"}
    assert converse(bedrock, f"{CLAUDE}:stop_reason=refusal")["stopReason"] == "content_filtered"


def test_a_search_of_nova(bedrock: Any) -> None:
    tools = {"tools": [{"systemTool": {"name": "nova_grounding"}}]}
    asked = [{"role": "user", "content": [{"text": "web_search"}]}]
    content = converse(bedrock, NOVA, asked, toolConfig=tools)["output"]["message"]
    kinds = [next(iter(block)) for block in content["content"]]
    assert kinds == ["toolUse", "toolResult", "text", "citationsContent"]


def test_counting(bedrock: Any) -> None:
    counted = bedrock.count_tokens(modelId="anthropic.claude-haiku-4-5", input={"converse": {"messages": HI}})
    assert counted["inputTokens"] == converse(bedrock)["usage"]["inputTokens"]
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    invoked = bedrock.count_tokens(
        modelId="anthropic.claude-haiku-4-5", input={"invokeModel": {"body": json.dumps(body)}}
    )
    assert invoked["inputTokens"] == counted["inputTokens"]


# InvokeModel

INVOKED: Json = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 400,
    "messages": [{"role": "user", "content": "hi"}],
}


def test_invoke(bedrock: Any) -> None:
    whole = json.loads(bedrock.invoke_model(modelId=CLAUDE, body=json.dumps(INVOKED))["body"].read())
    assert whole["model"] == "claude-haiku-4-5-20251001" and whole["stop_reason"] == "end_turn"
    stream = bedrock.invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(INVOKED))["body"]
    events = [json.loads(event["chunk"]["bytes"]) for event in stream]
    assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
    assert "ping" not in {event["type"] for event in events}
    assert events[-1]["amazon-bedrock-invocationMetrics"]["inputTokenCount"] == whole["usage"]["input_tokens"]
    texts = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(texts) == whole["content"][0]["text"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"anthropic_version": None}, "anthropic_version: Field required"),
        ({"anthropic_version": "2020-01-01"}, "Invalid API version: 2020-01-01"),
        ({"model": "x"}, "model: Extra inputs are not permitted"),
        ({"stream": True}, "stream: Extra inputs are not permitted"),
        ({"unknown": 1}, "unknown: Extra inputs are not permitted"),
        ({"anthropic_beta": ["unsupported-x"]}, "invalid beta flag"),
        ({"cache_control": {"type": "ephemeral"}}, "cache_control: Extra inputs are not permitted"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "tools.0: Input tag 'web_search_20250305'",
        ),
        ({"max_tokens": "x"}, "max_tokens: Input should be a valid integer"),
    ],
)
def test_what_invoke_refuses(bedrock: Any, fields: Json, message: str) -> None:
    body = {name: value for name, value in {**INVOKED, **fields}.items() if value is not None}
    with pytest.raises(ClientError) as caught:
        bedrock.invoke_model(modelId=CLAUDE, body=json.dumps(body))
    assert caught.value.response["Error"]["Message"].startswith(message)


# Errors


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_errors(bedrock: Any, status: int, code: str) -> None:
    for operation in (bedrock.converse, bedrock.converse_stream):
        with pytest.raises(ClientError) as caught:
            operation(modelId=f"error-{status}", messages=HI)
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "throttlingException"), (503, "serviceUnavailableException"), (504, "modelStreamErrorException")],
)
def test_an_error_in_a_stream(bedrock: Any, status: int, code: str) -> None:
    stream = bedrock.converse_stream(modelId=f"error-mid-stream:status={status}", messages=HI)["stream"]
    with closing(stream), pytest.raises(EventStreamError) as caught:
        list(stream)
    assert caught.value.response["Error"]["Code"] == code


SIGNED = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, "


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"authorization": ""}, "MissingAuthenticationTokenException"),
        ({"authorization": "Bearer sk-invalid"}, "UnrecognizedClientException"),
        ({"authorization": "Basic x"}, "IncompleteSignatureException"),
        ({"authorization": f"{SIGNED}Signature={'a' * 64}"}, "IncompleteSignatureException"),
        (
            {"authorization": f"{SIGNED}Signature={'a' * 64}", "x_amz_date": "20260102T000000Z"},
            "InvalidSignatureException",
        ),
    ],
)
def test_credentials(url: str, headers: dict[str, str], kind: str) -> None:
    status, found, _ = post(url, "converse", {"messages": HI}, **headers)
    assert (status, found) == (403, kind)


def test_a_good_signature(url: str) -> None:
    headers = {"authorization": f"{SIGNED}Signature={'a' * 64}", "x_amz_date": "20260101T000000Z"}
    assert post(url, "converse", {"messages": HI}, **headers)[0] == 200


def block(**fields: Any) -> Json:
    return {"messages": [{"role": "user", "content": [{"text": "x"}, fields]}]}


def turns(*contents: list[Json], **fields: Any) -> Json:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[at % 2], "content": content} for at, content in enumerate(contents)], **fields}


USE: Json = {"toolUse": {"toolUseId": "a", "name": "get_weather", "input": {}}}
RESULT: Json = {"toolResult": {"toolUseId": "a", "content": []}}
TEXT: Json = {"text": "x"}
DOCUMENT: Json = {"document": {"format": "txt", "name": "a", "source": {"text": "x"}}}

REFUSED: dict[str, tuple[Json, str]] = {
    "unknown field": ({"top_k": 1}, "Unknown field: top_k"),
    "missing": ({"messages": [{"role": "user"}]}, "Value at 'messages.1.member.content' failed to satisfy constraint"),
    "type": ({"messages": {}}, "Start of structure or map found where not expected."),
    "text for a number": ({"inferenceConfig": {"maxTokens": "x"}}, "STRING_VALUE can not be converted to Integer"),
    "role": (
        {"messages": [{"role": "tool", "content": [TEXT]}]},
        "Member must satisfy enum value set: [user, assistant,",
    ),
    "least": ({"inferenceConfig": {"maxTokens": 0}}, "Value '0' at 'inferenceConfig.maxTokens' failed to satisfy"),
    "temperature": ({"inferenceConfig": {"temperature": 1.5}}, "Member must have value less than or equal to 1"),
    "tool's name": (
        {"toolConfig": {"tools": [{"toolSpec": {"name": "a b", "inputSchema": {"json": {}}}}]}},
        "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+",
    ),
    "description": (
        {"toolConfig": {"tools": [{"toolSpec": {"name": "a", "description": "", "inputSchema": {"json": {}}}}]}},
        "Member must have length greater than or equal to 1",
    ),
    "two in one": (
        block(text="x", image={}),
        "ContentBlock object at messages.0.content.1 must set one of the following keys: text, image, document,",
    ),
    "nothing known": (
        block(audio={}),
        "ContentBlock object at messages.0.content.1 must set one of the following keys",
    ),
    "no bytes": (block(image={"format": "png", "source": {"bytes": "!"}}), "STRING_VALUE can not be converted to Blob"),
    "no messages": ({"messages": []}, "A conversation must start with a user message."),
    "assistant first": (
        {"messages": [{"role": "assistant", "content": [TEXT]}]},
        "A conversation must start with a user",
    ),
    "twice the user": ({"messages": [*HI, *HI]}, "A conversation must alternate between user and assistant roles."),
    "empty": (
        {"messages": [{"role": "user", "content": []}]},
        "The content field in the Message object at messages.0 is",
    ),
    "blank": (block(text=" "), "The text field in the ContentBlock object at messages.0.content.1 is blank."),
    "document alone": (
        {"messages": [{"role": "user", "content": [DOCUMENT]}]},
        "A text block must be included when using",
    ),
    "documents alike": (
        {"messages": [{"role": "user", "content": [TEXT, DOCUMENT, DOCUMENT]}]},
        "Duplicate document names were found.",
    ),
    "document's name": (
        block(document={**DOCUMENT["document"], "name": "a.txt"}),
        "The document file name can only contain alphanumeric characters,",
    ),
    "tools unsaid": (turns([TEXT], [USE], [RESULT]), "The toolConfig field must be defined when using toolUse and"),
    "unanswered": (
        turns([TEXT], [USE], [TEXT], toolConfig=TOOLS),
        "Expected toolResult blocks at messages.2.content for",
    ),
    "answer to nothing": (
        turns([TEXT], [TEXT], [RESULT], toolConfig=TOOLS),
        "The number of toolResult blocks at messages.2.content exceeds the number of toolUse blocks of previous turn.",
    ),
    "calls alike": (turns([TEXT], [USE, USE], [RESULT], toolConfig=TOOLS), "The toolUse blocks at messages.1.content"),
    "no object": (
        turns([TEXT], [{"toolUse": {**USE["toolUse"], "input": "x"}}], [RESULT], toolConfig=TOOLS),
        "The format of the value at messages.1.content.0.toolUse.input is invalid.",
    ),
    "list as json": (
        turns([TEXT], [USE], [{"toolResult": {"toolUseId": "a", "content": [{"json": []}]}}], toolConfig=TOOLS),
        "The format of the value at messages.2.content.0.toolResult.content.0.json is invalid.",
    ),
    "tools alike": (
        {"toolConfig": {"tools": [*TOOLS["tools"], *TOOLS["tools"]]}},
        "has more than one tool with the name",
    ),
    "choice of nothing": (
        {"toolConfig": {**TOOLS, "toolChoice": {"tool": {"name": "other"}}}},
        "The tool other of toolConfig.toolChoice is not in toolConfig.tools.",
    ),
    "cache point first": (
        {"messages": [{"role": "user", "content": [{"cachePoint": {"type": "default"}}, TEXT]}]},
        "The cachePoint field at messages.0.content.0 must come behind another ContentBlock object.",
    ),
    "said twice": (
        {"inferenceConfig": {"maxTokens": 9}, "additionalModelRequestFields": {"max_tokens": 9}},
        "The additional field max_tokens conflicts with an existing field.",
    ),
    "what Claude does not know": (
        {"additionalModelRequestFields": {"reasoning_effort": "low"}},
        "The model returned the following errors: reasoning_effort: Extra inputs are not permitted",
    ),
    "metadata": ({"requestMetadata": {"a": "ä"}}, "Member must satisfy regular expression pattern"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(url: str, what: str) -> None:
    fields, message = REFUSED[what]
    status, kind, body = post(url, "converse", {"messages": HI, **fields})
    assert (status, kind) in ((400, "ValidationException"), (400, "SerializationException"))
    assert message in body["message"]


def test_frames_are_those_of_aws(url: str) -> None:
    request = urllib.request.Request(
        f"{url}/model/any/converse-stream",
        json.dumps({"messages": HI}).encode(),
        {"content-type": "application/json", "authorization": "Bearer any"},
    )
    with urllib.request.urlopen(request) as response:
        assert response.headers["content-type"] == "application/vnd.amazon.eventstream"
        events = bedrock_aws.read_stream("ConverseStream", response.read())
    assert [next(iter(event)) for event in events][-2:] == ["messageStop", "metadata"]
