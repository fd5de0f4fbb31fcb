"""bedrock-converse where it refuses, counts, and reads errors; the paths of Bedrock and whose models are whose."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asbru.dialects import bedrock, betas, blobs, messages
from asbru.dialects.bedrock_converse import CODEC
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.eventstream import encode
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.message_stream import ProviderError, StreamError
from tests.dialects import bedrock_aws

Json = dict[str, Any]
CLAUDE = "anthropic.claude-sonnet-4-6"


def context(model: str = CLAUDE, **given: Any) -> Context:
    return Context(provider="p", model=model, shown_model="shown", message_id="msg_1", **given)


def request(**fields: Any) -> messages.Request:
    body = {"model": "shown", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return messages.parse(json.dumps(body).encode())


def sent(used: Context, **fields: Any) -> tuple[Json, str]:
    losses = Losses(CODEC.fidelity)
    made = CODEC.encode(request(**fields), used, losses)
    bedrock_aws.check_request(made)
    body: Json = json.loads(made.body)
    return body, losses.header()


def user(block: Json) -> list[Json]:
    return [{"role": "user", "content": [block]}]


# Refusals


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("container", {"container": "c_1"}),
        ("mcp_servers", {"mcp_servers": [{"type": "url", "name": "n", "url": "https://example.org"}]}),
        ("safeguards", {"safeguards": [{"type": "dangerous_tool_use"}]}),
        ("thread", {"thread": {"type": "create"}}),
        ("tools.0", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("tools.0", {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        ("tools.0", {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}),
        ("messages.0.content.0", {"messages": user({"type": "image", "source": {"type": "url", "url": "https://x"}})}),
        ("messages.0.content.0", {"messages": user({"type": "image", "source": {"type": "file", "file_id": "f"}})}),
        (
            "messages.0.content.0",
            {"messages": user({"type": "document", "source": {"type": "url", "url": "https://x"}})},
        ),
        ("messages.0.content.0", {"messages": user({"type": "of_tomorrow"})}),
        (
            "image.source",
            {
                "messages": user(
                    {"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "AA=="}}
                )
            },
        ),
        (
            "document.source",
            {"messages": user({"type": "document", "source": {"type": "base64", "media_type": "a/b", "data": "AA=="}})},
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(path: str, fields: Json) -> None:
    with pytest.raises(LossyError) as refused:
        CODEC.encode(request(**fields), context(), Losses(CODEC.fidelity))
    assert refused.value.path == path
    assert refused.value.message.startswith(f"{path}: ")


def test_a_thread_is_refused_so_that_sdks_go_on_without() -> None:
    with pytest.raises(LossyError) as refused:
        CODEC.encode(request(thread={"type": "create"}), context(), Losses(CODEC.fidelity))
    assert refused.value.details == {"error_code": "thread_unsupported_request"}


# Paths


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("anthropic.claude-opus-4-6-v1:0", b"/model/anthropic.claude-opus-4-6-v1%3A0/converse"),
        ("a/b c", b"/model/a%2Fb%20c/converse"),
        ("../secret?x=1#y", b"/model/..%2Fsecret%3Fx%3D1%23y/converse"),
        ("...x", b"/model/...x/converse"),
    ],
)
def test_a_model_is_one_segment_of_the_path(model: str, path: bytes) -> None:
    assert bedrock.target(model, "converse") == path


@pytest.mark.parametrize("model", [".", "..", "...", ""])
def test_a_model_that_leads_elsewhere_is_refused(model: str) -> None:
    with pytest.raises(LossyError):
        CODEC.encode(request(), context(model), Losses(CODEC.fidelity))


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("us.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
        ("us-gov.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
        ("global.amazon.nova-2-lite-v1:0", "amazon.nova-2-lite-v1:0"),
        ("anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-x-v1:0", "anthropic.claude-x-v1:0"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x-v1:0", "anthropic.claude-x-v1:0"),
        (
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
        ),
    ],
)
def test_tokens_are_counted_by_the_model_behind_a_profile(model: str, base: str) -> None:
    assert bedrock.base_model(model) == base


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("us.anthropic.claude-sonnet-4-6", "claude"),
        ("amazon.nova-pro-v1:0", "nova"),
        ("openai.gpt-oss-20b-1:0", "gpt-oss"),
        ("us.openai.gpt-5.6-sol", "openai"),
        ("moonshot.kimi-k2-thinking", "gpt-oss"),
        ("deepseek.v3-v1:0", "other"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "claude"),
    ],
)
def test_whose_a_model_is(model: str, family: str) -> None:
    used = Context(provider="p", model=model, shown_model="claude-sonnet-4-6", message_id="msg_1")
    assert bedrock.family(used) == family


# Counting


def test_counting_sends_what_the_prompt_is_made_of() -> None:
    asked = request(system="Be brief.", temperature=1, tools=[{"name": "look", "input_schema": {"type": "object"}}])
    made = CODEC.encode_count(asked, context("us." + CLAUDE), Losses(CODEC.fidelity))
    bedrock_aws.check_request(made)
    assert made.target == b"/model/anthropic.claude-sonnet-4-6/count-tokens"
    assert json.loads(made.body) == {
        "input": {
            "converse": {
                "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
                "system": [{"text": "Be brief."}],
                "toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]},
            }
        }
    }
    answer = b'{"inputTokens":17}'
    assert bedrock_aws.read_answer("CountTokens", answer)["inputTokens"] == CODEC.decode_count(answer) == 17


# Errors


def test_errors_are_named_as_botocore_has_them() -> None:
    """Every exception of the operations we call, with the status that the service model gives it."""
    ours = {
        "AccessDeniedException": (403, "permission_error"),
        "ThrottlingException": (429, "rate_limit_error"),
        "ResourceNotFoundException": (404, "not_found_error"),
        "ModelTimeoutException": (504, "timeout_error"),
        "InternalServerException": (500, "api_error"),
        "ServiceUnavailableException": (529, "overloaded_error"),
        "ValidationException": (400, "invalid_request_error"),
        "ModelNotReadyException": (429, "rate_limit_error"),
        "ModelErrorException": (500, "api_error"),
        "ModelStreamErrorException": (500, "api_error"),
        "ServiceQuotaExceededException": (429, "rate_limit_error"),
    }
    names = {
        shape.name: shape.metadata["error"]["httpStatusCode"]
        for operation in ("Converse", "ConverseStream", "CountTokens", "InvokeModel", "InvokeModelWithResponseStream")
        for shape in bedrock_aws.operation(operation).error_shapes
    }
    assert names.keys() == ours.keys()
    for name, status in names.items():
        for kind in (name, f"com.amazon.coral#{name}", f"{name}:http://internal.amazon.com/coral/"):
            fault = CODEC.fault(status, {b"x-amzn-errortype": kind.encode()}, b'{"message":"It broke."}')
            assert (fault.status, fault.type) == ours[name]
            assert fault.message == "It broke."


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            400,
            {"message": "Input is too long for requested model."},
            (400, "prompt is too long: Input is too long for requested model."),
        ),
        (
            400,
            {"message": "Input Tokens Exceeded: Number of input tokens exceeds maximum length."},
            (
                400,
                "prompt is too long: Input Tokens Exceeded: Number of input tokens exceeds maximum length.",
            ),
        ),
        (
            400,
            {"message": "Too many input tokens. Max input tokens: 8192, request input token count: 9001"},
            (400, "prompt is too long: 9001 tokens > 8192 maximum"),
        ),
        (
            400,
            {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"},
            (400, "prompt is too long: 40000 tokens > 32768 maximum"),
        ),
        (
            424,
            {
                "__type": "ModelErrorException",
                "originalStatusCode": 400,
                "message": "prompt is too long: 9 tokens > 8 maximum",
            },
            (400, "prompt is too long: 9 tokens > 8 maximum"),
        ),
        (
            400,
            {"message": "The maximum tokens you requested exceeds the model limit of 4096."},
            (400, "The maximum tokens you requested exceeds the model limit of 4096."),
        ),
        (
            400,
            {"message": "The model returned the following errors: prompt is too long: 203124 tokens > 200000 maximum"},
            (400, "prompt is too long: 203124 tokens > 200000 maximum"),
        ),
        (
            400,
            {"message": "The model returned the following errors: messages.1.content.0: Invalid `signature`"},
            (400, "messages.1.content.0: Invalid `signature`"),
        ),
        (
            400,
            {"message": "The provided model identifier is invalid."},
            (404, "The provided model identifier is invalid."),
        ),
        (403, {"Message": "The security token is invalid."}, (403, "The security token is invalid.")),
        (400, {"__type": "ThrottlingException", "message": "Rate exceeded"}, (429, "Rate exceeded")),
        (500, {}, (500, "The provider answered with status 500 and no reason")),
        (503, "<html>busy</html>", (529, "The provider answered with status 529 and no reason")),
    ],
)
def test_the_words_of_errors(status: int, body: object, expected: tuple[int, str]) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fault = CODEC.fault(status, {}, raw)
    assert (fault.status, fault.message) == expected


def test_what_the_model_wrote_is_retryable_and_says_nothing_of_the_provider() -> None:
    words = (
        "Model produced invalid sequence as part of ToolUse. Please refer to the model tool use troubleshooting guide."
    )
    body = json.dumps({"message": words}).encode()
    fault = CODEC.fault(424, {b"x-amzn-errortype": b"ModelErrorException"}, body)
    assert (fault.status, fault.type, fault.should_retry, fault.of_model) == (500, "api_error", True, True)
    decoder = CODEC.decoder(context())
    frame = encode({":message-type": "exception", ":exception-type": "modelStreamErrorException"}, body)
    with pytest.raises(ProviderError) as caught:
        decoder.feed(frame)
    assert (caught.value.type, caught.value.of_model, str(caught.value)) == ("api_error", True, words)


def test_the_wait_that_is_asked_for() -> None:
    assert CODEC.fault(429, {b"retry-after": b"7"}, b"{}").retry_after_s == 7


def _raised(name: str) -> dict[str, str]:
    return {":message-type": "exception", ":exception-type": name}


@pytest.mark.parametrize(
    ("headers", "payload", "type", "message"),
    [
        (_raised("throttlingException"), b'{"message":"Slow"}', "rate_limit_error", "Slow"),
        (
            _raised("modelStreamErrorException"),
            b'{"message":"m","originalStatusCode":529,"originalMessage":"Overloaded"}',
            "overloaded_error",
            "Overloaded",
        ),
        (_raised("modelTimeoutException"), b"{}", "timeout_error", "Bedrock stopped with modelTimeoutException"),
        (
            {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "Broken"},
            b"",
            "api_error",
            "Broken",
        ),
        ({}, b"", "api_error", "The provider answered with status 500 and no reason"),
    ],
)
def test_errors_in_a_stream(headers: dict[str, str], payload: bytes, type: str, message: str) -> None:
    decoder = CODEC.decoder(context())
    with pytest.raises(StreamError) as error:
        decoder.feed(encode(headers, payload))
    assert (error.value.type, error.value.message) == (type, message)


# What depends on the model or the provider


def test_a_schema_that_is_no_object_cannot_be_a_tool() -> None:
    wanted = {"format": {"type": "json_schema", "schema": {"type": "array", "items": {"type": "string"}}}}
    body, losses = sent(context("amazon.nova-pro-v1:0"), output_config=wanted)
    assert "toolConfig" not in body
    assert '"type":"array"' in body["system"][0]["text"]
    assert losses == "emulated: output_config.format"


def test_claude_cannot_be_forced_while_it_thinks() -> None:
    wanted = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    facts = Model(structured_output=False)
    body, _ = sent(context(facts=facts), output_config=wanted, thinking={"type": "enabled", "budget_tokens": 1024})
    assert "toolConfig" not in body
    body, _ = sent(context(facts=facts), output_config=wanted)
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "structured_output"}}


def test_a_budget_below_every_step_asks_for_the_least() -> None:
    body, losses = sent(context("amazon.nova-2-lite-v1:0"), thinking={"type": "enabled", "budget_tokens": -5})
    assert body["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "low"
    assert losses == "approximated: thinking.budget_tokens"


def test_a_provider_that_forces_no_tool() -> None:
    quirks = Quirks(tool_choice_required=False, json_schema=False)
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    body, losses = sent(context(quirks=quirks), tools=tools, tool_choice={"type": "any"})
    assert "toolChoice" not in body["toolConfig"]
    assert losses == "dropped: tool_choice"
    wanted = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    body, losses = sent(context(quirks=quirks), output_config=wanted)
    assert body["system"][0]["text"].startswith("Answer with JSON")


def test_stop_sequences_that_a_model_does_not_take_are_watched_for() -> None:
    used = context("mistral.mistral-large-2407-v1:0", quirks=Quirks(max_stop_sequences=1))
    body, losses = sent(used, stop_sequences=["A", "END"])
    assert body["inferenceConfig"]["stopSequences"] == ["A"]
    assert losses == "emulated: stop_sequences"
    answer = {"output": {"message": {"content": [{"text": "One END two"}]}}, "stopReason": "end_turn"}
    out = CODEC.decode(json.dumps(answer).encode(), used).take()
    assert b'"stop_sequence":"END"' in out
    assert b"two" not in out


def test_a_model_known_not_to_think_is_not_told_to() -> None:
    body, losses = sent(
        context("openai.gpt-oss-20b-1:0", facts=Model(reasoning=False)), output_config={"effort": "low"}
    )
    assert "additionalModelRequestFields" not in body
    assert losses == "dropped: output_config.effort"


def test_a_description_of_white_space_is_none() -> None:
    body, _ = sent(
        context(), tools=[{"name": "look", "description": " ", "input_schema": {"type": ["object", "null"]}}]
    )
    assert body["toolConfig"]["tools"] == [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]


@pytest.mark.parametrize(
    ("model", "own"),
    [
        ("anthropic.claude-sonnet-4-6", True),
        ("eu.anthropic.claude-sonnet-4-6", True),
        ("anthropic.claude-opus-4-6-v1", False),
        ("amazon.nova-pro-v1:0", False),
    ],
)
def test_reasoning_goes_back_to_the_model_that_made_it(model: str, own: bool) -> None:
    maker = bedrock.maker(context("us.anthropic.claude-sonnet-4-6"))
    thought = {"type": "thinking", "thinking": "Hm.", "signature": blobs.seal("p", maker, {"signature": "c2ln"})}
    answer = {"role": "assistant", "content": [thought, {"type": "text", "text": "Yes."}]}
    turns = [{"role": "user", "content": "Hi"}, answer, {"role": "user", "content": "And?"}]
    body, losses = sent(context(model), messages=turns)
    reasoning = [block for block in body["messages"][1]["content"] if "reasoningContent" in block]
    assert (len(reasoning), losses) == ((1, "none") if own else (0, "dropped: messages.1.content.0"))


def test_no_breakpoint_behind_reasoning() -> None:
    sealed = blobs.seal("p", bedrock.maker(context()), {"signature": "c2ln"})
    thought = {"type": "thinking", "thinking": "Hm.", "signature": sealed}
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [thought]}]
    body, _ = sent(context(), messages=turns, cache_control={"type": "ephemeral"})
    assert [list(block) for block in body["messages"][1]["content"]] == [["reasoningContent"]]


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("anthropic.claude-opus-4-20250514-v1:0", True),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("anthropic.claude-opus-4-6-v1", False),
        ("us.anthropic.claude-sonnet-4-6", False),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", False),
        ("anthropic.claude-opus-4-10-v1", False),
    ],
)
def test_interleaving_is_asked_for_where_it_is_not_a_matter_of_course(model: str, takes: bool) -> None:
    assert betas.BEDROCK.divide([betas.INTERLEAVED], model) == ([betas.INTERLEAVED] if takes else [], [])
    body, _ = sent(context(model, betas=[betas.INTERLEAVED]))
    assert ("additionalModelRequestFields" in body) == takes


def test_interleaving_on_vertex_goes_by_its_own_names() -> None:
    assert betas.VERTEX.divide([betas.INTERLEAVED], "claude-sonnet-4@20250514") == ([betas.INTERLEAVED], [])
    assert betas.VERTEX.divide([betas.INTERLEAVED], "claude-opus-4-7@default") == ([], [])


def test_betas_are_sent_renamed_left_out_or_lost() -> None:
    asked = ["claude-code-20250219", "advanced-tool-use-2025-11-20", "tool-search-tool-2025-10-19", "new-2027-01-01"]
    assert betas.BEDROCK.divide([*asked, *asked], CLAUDE) == (["tool-search-tool-2025-10-19"], ["new-2027-01-01"])


def test_a_document_without_text_is_left_out_by_name() -> None:
    empty = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": " "}}
    body, losses = sent(context(), messages=[{"role": "user", "content": [empty, {"type": "text", "text": "Hi"}]}])
    assert body["messages"] == [{"role": "user", "content": [{"text": "Hi"}]}]
    assert losses == "dropped: document.text"
