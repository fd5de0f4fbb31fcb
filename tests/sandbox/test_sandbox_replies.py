"""Scripted replies and the log of requests, as an agent developer uses them: Python, HTTP, real clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam, ToolParam

import asbru.sandbox
from asbru.sandbox import RunningSandbox
from asbru.sandbox.replies import MAX_REPLIES, MAX_TOTAL_BYTES, Replies, parse
from asbru.sandbox.request_log import MAX_REQUESTS
from tests.e2e.running import Gateway, Server

HI: list[MessageParam] = [{"role": "user", "content": "hi"}]
MODEL = "claude-sandbox"
WEATHER: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = {"type": "tool_use", "name": "get_weather", "input": {"city": "Oslo"}}


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with asbru.sandbox.running() as made:
        yield made


def connect(url: str, **options: Any) -> Anthropic:
    return Anthropic(base_url=url, api_key="sk-test-secret", **{"max_retries": 0, **options})


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[Anthropic]:
    with connect(sandbox.url) as made:
        yield made


def create(client: Anthropic, **fields: Any) -> anthropic.types.Message:
    message: anthropic.types.Message = client.messages.create(
        **{"model": MODEL, "max_tokens": 500, "messages": HI, **fields}
    )
    return message


def streamed(client: Anthropic) -> anthropic.Stream[anthropic.types.RawMessageStreamEvent]:
    return client.messages.create(model=MODEL, max_tokens=500, messages=HI, stream=True)


def kinds(message: anthropic.types.Message) -> list[str]:
    return [block.type for block in message.content]


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


# Replies


def test_replies_are_given_in_order_and_then_the_sandbox_answers_by_itself(
    sandbox: RunningSandbox, client: Anthropic
) -> None:
    sandbox.reply("One.")
    sandbox.script([{"text": "Two."}])
    assert sandbox.pending_replies == 2
    assert [text_of(create(client)) for _ in range(2)] == ["One.", "Two."]
    assert sandbox.pending_replies == 0
    assert "“hi”" in text_of(create(client))


@pytest.mark.parametrize("streams", [False, True])
def test_content_of_every_kind(sandbox: RunningSandbox, client: Anthropic, streams: bool) -> None:
    thinking = {"type": "thinking", "thinking": "Where are they?"}
    sandbox.reply(content=[thinking, {"type": "text", "text": "I look."}, CALL, {**CALL, "id": "toolu_mine"}])
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 500, "messages": HI, "tools": [WEATHER]}
    if streams:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked)
    thought, text, first, second = message.content
    assert thought.type == "thinking" and thought.thinking == "Where are they?" and thought.signature
    assert text.type == "text" and text.text == "I look."
    assert first.type == "tool_use" and (first.name, first.input) == ("get_weather", {"city": "Oslo"})
    assert first.id.startswith("toolu_01")
    assert second.type == "tool_use" and second.id == "toolu_mine"
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 0
    # What was scripted can be sent back.
    results: Any = [{"type": "tool_result", "tool_use_id": use.id, "content": "12C"} for use in (first, second)]
    sandbox.reply("Done.")
    turns: list[MessageParam] = [*HI, message.to_param(), {"role": "user", "content": results}]
    assert text_of(create(client, messages=turns, tools=[WEATHER])) == "Done."


def test_max_tokens_stop_sequences_and_the_stop_reason(sandbox: RunningSandbox, client: Anthropic) -> None:
    for reply in ("One two three four five six", "One, two, three", "Go on"):
        sandbox.reply(reply)
    sandbox.reply("No.", stop_reason="refusal")
    sandbox.reply("So far", stop_reason="pause_turn")
    cut = create(client, max_tokens=2)
    assert (cut.stop_reason, text_of(cut), cut.usage.output_tokens) == ("max_tokens", "One two ", 2)
    stopped = create(client, stop_sequences=[", two"])
    assert (stopped.stop_reason, stopped.stop_sequence, text_of(stopped)) == ("stop_sequence", ", two", "One")
    assert create(client).stop_reason == "end_turn"
    refused = create(client)
    assert refused.stop_reason == "refusal" and refused.stop_details is not None
    assert create(client).stop_reason == "pause_turn"


def test_a_model_name_as_a_reply_fails_as_that_model_does(sandbox: RunningSandbox) -> None:
    sandbox.reply(model="error-529:retry_after_s=7")
    sandbox.reply(model="die-before-head")
    sandbox.reply(model="error-mid-stream:status=500")
    sandbox.reply(model=f"{MODEL}:chunks=3")
    with connect(sandbox.url) as client:
        with pytest.raises(anthropic.InternalServerError) as caught:
            create(client)
        assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (529, "7")
        with pytest.raises(anthropic.APIConnectionError):
            create(client)
        with pytest.raises(anthropic.APIStatusError, match="Internal server error"):
            list(streamed(client))
        deltas = [event for event in streamed(client) if event.type == "content_block_delta"]
        assert len(deltas) == 3


def test_a_retry_gets_the_next_reply(sandbox: RunningSandbox) -> None:
    sandbox.reply(model="error-529:retry_after_s=0")
    sandbox.reply("At last.")
    with connect(sandbox.url, max_retries=1) as client:
        assert text_of(create(client)) == "At last."
    assert [request.status for request in sandbox.requests] == [529, 200]


def test_requests_that_get_no_answer_of_a_model_take_no_reply(sandbox: RunningSandbox, client: Anthropic) -> None:
    sandbox.reply("Kept.")
    client.messages.count_tokens(model=MODEL, messages=HI)
    list(client.models.list())
    with pytest.raises(anthropic.BadRequestError):
        create(client, messages=[])
    with pytest.raises(anthropic.InternalServerError):
        create(client, model="error-500")
    assert text_of(create(client)) == "Kept."


def test_every_dialect_takes_from_the_same_queue(sandbox: RunningSandbox) -> None:
    for _ in range(3):
        sandbox.reply(content=[{"type": "text", "text": "Scripted."}, CALL])
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER["input_schema"]}}
    messages: Any = [{"role": "user", "content": "hi"}]
    with openai.OpenAI(base_url=f"{sandbox.url}/v1", api_key="any", max_retries=0) as client:
        choice = client.chat.completions.create(model="gpt-5", messages=messages, tools=[tool]).choices[0]  # type: ignore[list-item]
        assert (choice.message.content, choice.finish_reason) == ("Scripted.", "tool_calls")
        assert choice.message.tool_calls is not None
        call = choice.message.tool_calls[0]
        assert call.type == "function" and json.loads(call.function.arguments) == {"city": "Oslo"}
        chunks = client.chat.completions.create(model="gpt-5", messages=messages, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Scripted."
        response = client.responses.create(model="gpt-5", input="hi")
        assert response.output_text == "Scripted."
        assert [item.type for item in response.output] == ["message", "function_call"]
    sandbox.reply("Gemini.")
    sandbox.reply("Bedrock.")
    sandbox.reply(model="error-429:retry_after_s=3")
    gemini = f"{sandbox.url}/v1beta/models/gemini-2.5-flash:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    answer = httpx.post(gemini, json=body, headers={"x-goog-api-key": "any"}).json()
    assert answer["candidates"][0]["content"]["parts"] == [{"text": "Gemini."}]
    converse = f"{sandbox.url}/model/amazon.nova-lite-v1%3A0/converse"
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    answer = httpx.post(converse, json=body, headers={"authorization": "Bearer any"}).json()
    assert answer["output"]["message"]["content"] == [{"text": "Bedrock."}]
    assert httpx.post(converse, json=body, headers={"authorization": "Bearer any"}).status_code == 429


def test_through_the_gateway(sandbox: RunningSandbox, tmp_path: Path) -> None:
    providers = {"mine": {"like": "sandbox", "base_url": sandbox.url}}
    with Gateway(tmp_path, {"providers": providers}) as gateway, connect(gateway.url) as client:
        sandbox.reset()  # the gateway has listed its models
        sandbox.reply(content=[CALL])
        message = create(client, model=f"mine/{MODEL}", tools=[WEATHER])
        assert (kinds(message), message.stop_reason) == (["tool_use"], "tool_use")
        sandbox.reply("Streamed.")
        with client.messages.stream(model=f"mine/{MODEL}", max_tokens=50, messages=HI) as stream:
            assert stream.get_final_text() == "Streamed."
        assert [request.body["stream"] for request in sandbox.requests if "stream" in request.body] == [True]
        for path in ("/sandbox/replies", "/sandbox/requests"):
            for method in ("GET", "PUT", "DELETE"):
                assert httpx.request(method, gateway.url + path, json=[]).status_code in (404, 405)
    assert sandbox.requests[-1].status == 200


def test_the_sandbox_inside_a_gateway_has_no_such_endpoints() -> None:
    from tests.sandbox.calling import Sandbox

    assert Sandbox().ask("GET", "/sandbox/requests").status == 404


BAD: list[tuple[object, str]] = [
    ({"text": "x"}, "replies: Input should be a valid list"),
    (["x"], "replies.0: Input should be an object"),
    ([{"text": "a"}, {}], "replies.1: A reply has exactly one of `text`, `content` and `model`, not 0 of them"),
    ([{"text": "a", "model": "x"}], "replies.0: A reply has exactly one of"),
    ([{"text": 1}], "replies.0.text: Input should be a valid string"),
    ([{"texts": "a"}], "replies.0.texts: Extra inputs are not permitted"),
    ([{"content": [{"type": "tool_use", "input": {}}]}], "replies.0.content.0.tool_use.name: Field required"),
    ([{"content": [{"type": "tool_use", "name": "a b", "input": {}}]}], "replies.0.content.0.tool_use.name: String"),
    ([{"content": [{"type": "tool_use", "name": "a", "input": []}]}], "replies.0.content.0.tool_use.input: Input"),
    ([{"content": [{"type": "image"}]}], "replies.0.content.0: Input tag 'image' found"),
    ([{"content": [{**CALL, "id": "x"}, {**CALL, "id": "x"}]}], "replies.0.content: `tool_use` ids must be unique"),
    ([{"text": "a", "stop_reason": "done"}], "replies.0.stop_reason: Input should be 'end_turn',"),
    ([{"model": "slow", "stop_reason": "end_turn"}], "replies.0.stop_reason: Not allowed beside `model`"),
    ([{"model": "x:chunk=3"}], "replies.0.model: unknown option `chunk` in the model's name; did you mean `chunks`?"),
]


@pytest.mark.parametrize(("script", "words"), BAD)
def test_a_bad_script_is_refused_with_its_place(
    sandbox: RunningSandbox, tmp_path: Path, script: object, words: str
) -> None:
    answer = httpx.put(f"{sandbox.url}/sandbox/replies", json=script)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"].startswith(words)
    if isinstance(script, list) and isinstance(script[0], dict):
        with pytest.raises(ValueError, match=r"^replies"):
            sandbox.script(script)
    assert sandbox.pending_replies == 0


def test_the_queue_is_bounded() -> None:
    replies = Replies()
    replies.add(parse([{"text": "x"}] * MAX_REPLIES))
    with pytest.raises(asbru.sandbox.answers.ApiError, match="at most 1000 replies"):
        replies.add(parse([{"text": "x"}]))
    with pytest.raises(asbru.sandbox.answers.ApiError, match="bytes of replies"):
        replies.replace(parse([{"text": "x" * MAX_TOTAL_BYTES}]))
    assert len(replies) == MAX_REPLIES, "what was refused changed nothing"
    replies.replace(parse([{"text": "y" * (MAX_TOTAL_BYTES - 100)}]))
    assert replies.take() is not None and replies.take() is None
    replies.replace(parse([{"text": "y" * (MAX_TOTAL_BYTES - 100)}]))


# The log


def test_what_the_agent_sent_is_logged(sandbox: RunningSandbox, client: Anthropic) -> None:
    create(client, tools=[WEATHER], system="Be brief.")
    with client.messages.stream(model=MODEL, max_tokens=50, messages=HI) as stream:
        stream.get_final_message()
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nope")
    first, second, third = sandbox.requests
    assert (first.method, first.path, first.model, first.stream, first.status) == (
        *("POST", "/v1/messages", MODEL, False),
        200,
    )
    assert first.body["tools"] == [WEATHER] and first.body["system"] == "Be brief."
    assert first.headers["user-agent"].startswith("Anthropic/Python")
    assert first.headers["authorization"] == "Bearer ***"
    assert isinstance(first.reply, dict) and first.reply["type"] == "message"
    assert first.outcome == "text (end_turn)"
    assert second.stream and isinstance(second.reply, str) and second.reply.startswith("event: message_start")
    assert (third.method, third.path, third.status, third.body) == ("GET", "/v1/models/nope", 404, None)
    assert third.outcome == "not_found_error: model: nope"
    sandbox.reset()
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "name",
    [
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "proxy-authorization",
        "x-amz-security-token",
        "x-bf-vk",
        "x-mine",
    ],
)
def test_credentials_are_masked(sandbox: RunningSandbox, name: str) -> None:
    secret = "sk-this-is-secret"
    headers = {"x-api-key": "any", name: secret, "anthropic-version": "2023-06-01"}
    httpx.get(f"{sandbox.url}/v1/models?key={secret}&limit=3", headers=headers)
    answer = httpx.get(f"{sandbox.url}/sandbox/requests")
    assert secret not in answer.text
    assert answer.json()["data"][0]["query"] == "key=***&limit=3"
    assert answer.json()["data"][0]["headers"]["anthropic-version"] == "2023-06-01"


def test_a_request_without_a_response_is_logged_too(sandbox: RunningSandbox, client: Anthropic) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        create(client, model="die-before-head")
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=2.0).messages.create(model="hang", max_tokens=5, messages=HI)
    assert [(request.status, request.outcome) for request in sandbox.requests] == [
        (None, "die-before-head"),
        (None, "hang"),
    ]


def test_the_log_is_bounded(sandbox: RunningSandbox) -> None:
    with httpx.Client() as client:
        for number in range(MAX_REQUESTS + 5):
            client.get(f"{sandbox.url}/api/hello?{number}")
    kept = sandbox.requests
    assert len(kept) == MAX_REQUESTS
    assert (kept[0].query, kept[-1].query) == ("5", str(MAX_REQUESTS + 4))


# Over HTTP, and from the command line


def test_over_http(sandbox: RunningSandbox, client: Anthropic) -> None:
    replies = f"{sandbox.url}/sandbox/replies"
    assert httpx.put(replies, json=[{"text": "One."}]).json() == {"data": [{"text": "One."}]}
    assert httpx.post(replies, json=[{"text": "Two."}]).json() == {"data": [{"text": "One."}, {"text": "Two."}]}
    assert text_of(create(client)) == "One."
    assert httpx.get(replies).json() == {"data": [{"text": "Two."}]}
    assert httpx.put(replies, json=[]).json() == {"data": []}
    requests = httpx.get(f"{sandbox.url}/sandbox/requests").json()["data"]
    assert [request["path"] for request in requests] == ["/v1/messages"], "what is asked of /sandbox is not logged"
    assert requests[0]["body"]["messages"] == HI
    assert httpx.delete(f"{sandbox.url}/sandbox/requests").json() == {"data": []}
    assert httpx.get(f"{sandbox.url}/sandbox/requests").json() == {"data": []}
    wrong = httpx.delete(replies)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, PUT, POST")
    assert "/sandbox/replies and /sandbox/requests" in httpx.get(f"{sandbox.url}/sandbox/x").json()["error"]["message"]
    for body in (b"{", b"[" * 100_000, b"\xff"):
        assert httpx.put(replies, content=body).status_code == 400


def test_the_command_takes_replies_and_prints_a_line_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "replies.json"
    file.write_text(json.dumps([{"text": "From a file."}, {"content": [CALL]}, {"model": "error-529"}]))
    with Server(tmp_path / "run", "sandbox", "--port", "0", "--replies", str(file)) as server:
        with connect(server.url) as client:
            assert text_of(create(client)) == "From a file."
            with client.messages.stream(model=MODEL, max_tokens=50, messages=HI, tools=[WEATHER]) as stream:
                stream.get_final_message()
            with pytest.raises(anthropic.InternalServerError):
                create(client)
            with pytest.raises(anthropic.InternalServerError):
                create(client, model="error-500:\n\x1b[31m")
        assert server.process.stdout is not None
        lines = [server.process.stdout.readline().strip() for _ in range(4)]
    assert lines == [
        f"POST /v1/messages {MODEL} 200 text (end_turn)",
        f"POST /v1/messages {MODEL} stream 200 tool_use get_weather (tool_use)",
        f"POST /v1/messages {MODEL} 529 overloaded_error: Overloaded",
        "POST /v1/messages error-500:??[31m 500 api_error: Internal server error",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"text": 1}]', "replies.0.text: Input should be a valid string"),
        ("[", "not valid JSON: Input data was truncated"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps([{"text": "x"}] * (MAX_REPLIES + 1)), "replies: The queue holds at most 1000 replies"),
    ],
)
def test_the_command_refuses_a_bad_file(tmp_path: Path, text: str, words: str) -> None:
    from click.testing import CliRunner

    from asbru.cli import main

    file = tmp_path / "replies.json"
    file.write_text(text)
    result = CliRunner().invoke(main, ["sandbox", "--port", "0", "--replies", str(file)])
    assert (result.exit_code, result.stderr) == (2, f"asbru: {file}: {words}\n")


# In a thread


def test_several_run_at_once_and_a_port_in_use_is_told(sandbox: RunningSandbox) -> None:
    with asbru.sandbox.running() as other:
        assert other.url != sandbox.url
        with pytest.raises(OSError), asbru.sandbox.running(port=int(other.url.rsplit(":", 1)[1])):
            raise AssertionError("it runs")


def test_what_fails_inside_the_block_comes_out_of_it() -> None:
    with pytest.raises(ZeroDivisionError), asbru.sandbox.running():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("x:chunk=3", "did you mean `chunks`?"),
        ("x:Delay_ms=3", "did you mean `delay_ms`?"),
        ("x:retry_after=3", "did you mean `retry_after_s`?"),
        ("x:zzz=3", "the sandbox's options are `chunks`, `delay_ms`,"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest(client: Anthropic, model: str, hint: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        create(client, model=model)
    assert hint in str(caught.value)
