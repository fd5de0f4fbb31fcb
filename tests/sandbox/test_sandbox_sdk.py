"""The official Python SDK against a sandbox on a real socket, with strict validation of everything it gets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import anthropic
import pydantic
import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_tool
from anthropic.types import DocumentBlockParam, MessageParam, ToolParam
from anthropic.types.beta import BetaMessage, BetaMessageParam, BetaRequestMCPServerURLDefinitionParam

from tests.sandbox.serving import serving

HI: list[MessageParam] = [{"role": "user", "content": "hi"}]
BETA_HI: list[BetaMessageParam] = [{"role": "user", "content": "hi"}]
MODEL = "claude-sonnet-5"
WEATHER: ToolParam = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as base_url:
        yield base_url


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Anthropic]:
    for name in [name for name in os.environ if name.startswith("ANTHROPIC_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with Anthropic(base_url=url, api_key="sk-test", max_retries=0, _strict_response_validation=True) as made:
        yield made


def test_a_message(client: Anthropic) -> None:
    message = client.messages.create(model=MODEL, max_tokens=200, messages=HI)
    thinking, text = message.content
    assert thinking.type == "thinking" and text.type == "text"  # this model thinks by default
    assert "“hi”" in text.text
    assert (message.stop_reason, message.model) == ("end_turn", MODEL)
    assert message._request_id is not None
    assert message._request_id.startswith("req_01")


def test_a_stream_is_the_same_message(client: Anthropic) -> None:
    whole = client.messages.create(model=MODEL, max_tokens=200, messages=HI)
    with client.messages.stream(model=MODEL, max_tokens=200, messages=HI) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert final.to_dict() == whole.to_dict()
    assert final.content[-1].type == "text"
    assert said == final.content[-1].text


def test_thinking_goes_there_and_back(client: Anthropic) -> None:
    thinking = client.messages.create(model=MODEL, max_tokens=4096, messages=HI, thinking={"type": "adaptive"})
    assert [block.type for block in thinking.content] == ["thinking", "text"]
    again = client.messages.create(model=MODEL, max_tokens=200, messages=[*HI, thinking.to_param(), *HI])
    assert again.stop_reason == "end_turn"


def test_every_kind_of_answer_passes_strict_validation_and_can_be_sent_back(client: Anthropic) -> None:
    server: BetaRequestMCPServerURLDefinitionParam = {"type": "url", "name": "ex", "url": "http://127.0.0.1:1/sse"}
    asked: BetaMessageParam = {
        "role": "user",
        "content": "web_search web_fetch code_execution ex get_weather",
    }

    def ask(*more: BetaMessageParam) -> BetaMessage:
        return client.beta.messages.create(
            model="claude-opus-5",
            max_tokens=4096,
            messages=[asked, *more],
            thinking={"type": "adaptive"},
            mcp_servers=[server],
            tools=[
                {"type": "web_search_20250305", "name": "web_search"},
                {"type": "web_fetch_20250910", "name": "web_fetch"},
                {"type": "code_execution_20250825", "name": "code_execution"},
                {"type": "mcp_toolset", "mcp_server_name": "ex"},
                {"name": "get_weather", "input_schema": {"type": "object"}},
            ],
            betas=["mcp-client-2025-11-20"],
        )

    first = ask()
    assert [block.type for block in first.content] == [
        "thinking",
        "server_tool_use",
        "web_search_tool_result",
        "server_tool_use",
        "web_fetch_tool_result",
        "server_tool_use",
        "bash_code_execution_tool_result",
        "mcp_tool_use",
        "mcp_tool_result",
        "text",
        "tool_use",
    ]
    assert first.container is not None
    call = first.content[-1]
    assert call.type == "tool_use"
    result: BetaMessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "12C"}],
    }
    second = ask(first.to_param(), result)
    assert [block.type for block in second.content] == ["thinking", "text"]


def test_the_tool_runner_runs_the_tools_in_a_thread(client: Anthropic) -> None:
    cities: list[str] = []

    @beta_tool
    def get_weather(city: str) -> str:
        """Weather in a city.

        Args:
            city: The city
        """
        cities.append(city)
        return "12C"

    asked: list[BetaMessageParam] = [{"role": "user", "content": "Call get_weather."}]
    runner = client.beta.messages.tool_runner(model=MODEL, max_tokens=1024, messages=asked, tools=[get_weather])
    answers = list(runner)
    assert cities == ["Paris"]
    assert [answer.stop_reason for answer in answers] == ["tool_use", "end_turn"]
    last = answers[-1].content[-1]
    assert last.type == "text"
    assert "returned: 12C" in last.text


def test_structured_outputs_are_parsed(client: Anthropic) -> None:
    class City(pydantic.BaseModel):
        name: str
        population: int

    parsed = client.messages.parse(model=MODEL, max_tokens=100, messages=HI, output_format=City)
    assert parsed.parsed_output == City(name="Sandbox", population=1)


def test_tokens_are_counted_as_messages_count_them(client: Anthropic) -> None:
    counted = client.messages.count_tokens(model=MODEL, messages=HI, tools=[WEATHER], system="Be brief.")
    message = client.messages.create(model=MODEL, max_tokens=50, messages=HI, tools=[WEATHER], system="Be brief.")
    assert counted.input_tokens == message.usage.input_tokens


def test_models_are_listed_page_by_page(client: Anthropic) -> None:
    every = [model.id for model in client.models.list(limit=7)]
    assert len(every) == len(set(every)) > 40
    assert client.models.retrieve("claude-opus-5").display_name == "Claude Opus 5"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("no/such model")


def test_a_batch_is_run_and_read(client: Anthropic) -> None:
    batch = client.messages.batches.create(
        requests=[
            {"custom_id": "good", "params": {"model": MODEL, "max_tokens": 20, "messages": HI}},
            {"custom_id": "bad", "params": {"model": "error-500", "max_tokens": 20, "messages": HI}},
        ]
    )
    assert batch.processing_status == "in_progress"
    ended = client.messages.batches.retrieve(batch.id)
    assert (ended.processing_status, ended.request_counts.succeeded) == ("ended", 1)
    found = {line.custom_id: line.result.type for line in client.messages.batches.results(batch.id)}
    assert found == {"good": "succeeded", "bad": "errored"}
    assert batch.id in [listed.id for listed in client.messages.batches.list(limit=1)]
    assert client.messages.batches.delete(batch.id).id == batch.id
    other = client.messages.batches.create(
        requests=[{"custom_id": "x", "params": {"model": MODEL, "max_tokens": 1, "messages": HI}}]
    )
    assert client.messages.batches.cancel(other.id).processing_status == "canceling"


def test_files_go_up_and_come_down(client: Anthropic) -> None:
    made = client.files.upload(file=("note.txt", b"the words", "text/plain"))
    assert (made.filename, made.mime_type, made.size_bytes) == ("note.txt", "text/plain", 9)
    assert client.files.retrieve_metadata(made.id).id == made.id
    assert client.files.download(made.id).read() == b"the words"
    block: DocumentBlockParam = {"type": "document", "source": {"type": "file", "file_id": made.id}}
    message: MessageParam = {"role": "user", "content": [block]}
    assert client.messages.create(model=MODEL, max_tokens=9, messages=[message]).stop_reason == "max_tokens"
    assert made.id in [file.id for file in client.files.list()]
    assert client.beta.files.retrieve_metadata(made.id).id == made.id
    client.files.delete(made.id)
    with pytest.raises(anthropic.NotFoundError):
        client.files.retrieve_metadata(made.id)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (402, "PaymentRequiredError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (409, "ConflictError"),
        (413, "ContentTooLargeError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailableError"),
        (504, "GatewayTimeoutError"),
        (529, "OverloadedError"),
    ],
)
def test_errors_raise_the_sdks_classes(client: Anthropic, status: int, kind: str) -> None:
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model=f"error-{status}", max_tokens=1, messages=HI)
    assert type(raised.value).__name__ == kind
    assert raised.value.status_code == status
    assert raised.value.request_id is not None


def test_the_sdk_retries_until_it_is_answered(client: Anthropic) -> None:
    patient = client.with_options(max_retries=2)
    for failing in ("error-529", "die-before-head"):
        model = f"{failing}:until_retry=1"
        assert patient.messages.create(model=model, max_tokens=500, messages=HI).stop_reason == "end_turn"


def test_broken_responses_break_the_call(client: Anthropic) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(model="die-before-head", max_tokens=50, messages=HI)
    for model in ("die-mid-stream", "end-mid-stream", "garbage"):
        with pytest.raises(Exception):  # noqa: B017  # each of them differs, and none may pass for an answer
            client.messages.create(model=model, max_tokens=50, messages=HI)
    for model in ("die-mid-stream", "garbage"):
        with pytest.raises(Exception), client.messages.stream(model=model, max_tokens=50, messages=HI) as stream:  # noqa: B017
            stream.get_final_message()


@pytest.mark.parametrize("model", ["error-mid-stream", "error-first-event"])
def test_errors_in_a_stream_are_raised(client: Anthropic, model: str) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        client.messages.stream(model=model, max_tokens=50, messages=HI) as stream,
    ):
        stream.get_final_message()


def test_a_client_that_leaves_does_no_harm(client: Anthropic) -> None:
    model = "claude-sandbox:chunks=1000,delay_ms=50"
    with client.messages.stream(model=model, max_tokens=4096, messages=HI) as stream:
        assert next(iter(stream.text_stream))
    assert client.messages.create(model=MODEL, max_tokens=500, messages=HI).stop_reason == "end_turn"


def test_the_asynchronous_client_streams_many_at_once(client: Anthropic, url: str) -> None:
    async def one(asynchronous: AsyncAnthropic, number: int) -> str:
        messages: list[MessageParam] = [{"role": "user", "content": f"number {number}"}]
        async with asynchronous.messages.stream(model=MODEL, max_tokens=100, messages=messages) as stream:
            return await stream.get_final_text()

    async def many() -> list[str]:
        async with AsyncAnthropic(base_url=url, api_key="sk-test", max_retries=0) as asynchronous:
            return await asyncio.gather(*(one(asynchronous, number) for number in range(20)))

    said = asyncio.run(many())
    assert all(f"“number {number}”" in text for number, text in enumerate(said))
