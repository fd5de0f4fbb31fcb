"""Batches, files and the list of models, with the official Python SDK."""

from __future__ import annotations

import asyncio

import pytest
from anthropic import Anthropic, BadRequestError, NotFoundError
from anthropic.types.messages.batch_create_params import Request

from tests.e2e.clients import MODEL, PREFIXES, connect, connect_async, user
from tests.e2e.running import Gateway

LARGE_BYTES = 9 << 20
"""More than the gateway takes for a message, less than it takes for a file."""


def job(custom_id: str, model: str = MODEL) -> Request:
    return {
        "custom_id": custom_id,
        "params": {"model": model, "max_tokens": 100, "messages": [user(f"This is {custom_id}")]},
    }


@pytest.mark.parametrize("prefix", PREFIXES, ids=lambda prefix: prefix or "root")
def test_batch_and_its_results(gateway: Gateway, prefix: str) -> None:
    """`results_url` leads back to the gateway, under the prefix that the client used: the SDK follows it."""
    with connect(gateway.url + prefix) as client:
        requests = [job(f"{prefix.replace('/', '-')}-{number}") for number in range(3)]
        requests.append(job("wrong", "error-500:batch"))
        created = client.messages.batches.create(requests=requests)
        assert created.processing_status == "in_progress" and created.results_url is None
        ended = client.messages.batches.retrieve(created.id)
        assert ended.processing_status == "ended"
        assert ended.results_url == f"{gateway.url}{prefix}/v1/messages/batches/{created.id}/results"
        results = {result.custom_id: result.result for result in client.messages.batches.results(created.id)}
    assert list(results) == [request["custom_id"] for request in requests]
    for custom_id, result in results.items():
        if custom_id == "wrong":
            assert result.type == "errored" and result.error.error.type == "api_error"
        else:
            assert result.type == "succeeded"
            block = result.message.content[0]
            assert block.type == "text" and f"This is {custom_id}" in block.text


def test_batches_listed_cancelled_deleted(via: Anthropic, gateway: Gateway) -> None:
    prefix = via.base_url.path.rstrip("/")
    made = [via.messages.batches.create(requests=[job(f"list{prefix.replace('/', '-')}-{n}")]) for n in range(3)]
    ids = {batch.id for batch in made}
    listed = {batch.id: batch for batch in via.messages.batches.list(limit=2)}
    assert ids <= set(listed)
    urls = {listed[batch_id].results_url for batch_id in ids}
    assert urls == {f"{gateway.url}{prefix}/v1/messages/batches/{batch_id}/results" for batch_id in ids}
    fresh = via.messages.batches.create(requests=[job(f"cancel{prefix.replace('/', '-')}")])
    assert via.messages.batches.cancel(fresh.id).processing_status == "canceling"
    assert [result.result.type for result in via.messages.batches.results(fresh.id)] == ["canceled"]
    for batch_id in (*ids, fresh.id):
        assert via.messages.batches.delete(batch_id).type == "message_batch_deleted"
    with pytest.raises(NotFoundError):
        via.messages.batches.retrieve(fresh.id)
    with pytest.raises(BadRequestError, match="at least 1"):
        via.messages.batches.create(requests=[])


def test_beta_batches_async(gateway: Gateway) -> None:
    async def run() -> None:
        async with connect_async(f"{gateway.url}/anthropic") as client:
            batch = await client.beta.messages.batches.create(
                requests=[
                    {
                        "custom_id": "beta",
                        "params": {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "B"}]},
                    }
                ]
            )
            async for result in await client.beta.messages.batches.results(batch.id):
                assert (result.custom_id, result.result.type) == ("beta", "succeeded")

    asyncio.run(run())


def test_files(via: Anthropic) -> None:
    name = f"ledger{via.base_url.path.replace('/', '-')}.txt"
    content = f"Toll for {name}: 3 denarii\n".encode()
    file = via.files.upload(file=(name, content, "text/plain"))
    assert (file.filename, file.mime_type, file.size_bytes) == (name, "text/plain", len(content))
    assert via.files.retrieve_metadata(file.id).to_json() == file.to_json()
    other = via.files.upload(file=(f"second-{name}", content, "text/plain"))
    assert {file.id, other.id} <= {listed.id for listed in via.files.list(limit=1)}
    assert via.files.download(file.id).read() == content
    asked = via.beta.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=[{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": file.id}}]}],
        betas=["files-api-2025-04-14"],
    )
    assert asked.stop_reason in ("end_turn", "max_tokens")
    for made in (file, other):
        assert via.files.delete(made.id).type == "file_deleted"
        with pytest.raises(NotFoundError):
            via.files.retrieve_metadata(made.id)


def test_beta_files(via: Anthropic) -> None:
    content = bytes(range(256)) * 64
    file = via.beta.files.upload(file=(f"bytes{via.base_url.path.replace('/', '-')}.bin", content))
    assert file.size_bytes == len(content)
    assert file.id in [listed.id for listed in via.beta.files.list(limit=5)]
    assert via.beta.files.retrieve_metadata(file.id).id == file.id
    with via.beta.files.with_streaming_response.download(file.id) as response:
        assert b"".join(response.iter_bytes(1000)) == content
    via.beta.files.delete(file.id)


def test_file_larger_than_a_message_may_be(via: Anthropic) -> None:
    """A file is streamed through, under a bound of its own."""
    content = b"\x00\x01\x02\x03\r\n--boundary" * (LARGE_BYTES // 16)
    file = via.files.upload(file=("large.bin", content, "application/octet-stream"))
    assert file.size_bytes == len(content)
    assert via.files.download(file.id).read() == content
    via.files.delete(file.id)


def test_model_that_is_not_listed(via: Anthropic) -> None:
    """An id that is not in memory is asked of the provider, which does not know it either."""
    with pytest.raises(NotFoundError) as caught:
        via.models.retrieve("claude-nobody-9")
    assert caught.value.type == "not_found_error"
    assert caught.value.request_id


def test_models_backwards(via: Anthropic) -> None:
    everything = via.models.list(limit=1000)
    assert everything.has_more is False
    ids = [model.id for model in everything.data]
    page = via.models.list(limit=2, before_id=ids[3])
    assert [model.id for model in page.data] == ids[1:3]
    assert page.has_more is True
    assert [model.id for model in via.beta.models.list(limit=11)] == ids
