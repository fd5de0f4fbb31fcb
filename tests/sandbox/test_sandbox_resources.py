"""Models, Message Batches, Files, threads and the legacy completions of the sandbox, and that it forgets."""

from __future__ import annotations

import json

import pytest

from asbru.sandbox.app import Settings
from tests.grammar import Json
from tests.sandbox.calling import CITY, USER, Asked, Sandbox, content, text

THREADS = "message-threads-2026-08-12"


def data(asked: Asked) -> list[Json]:
    assert asked.status == 200, asked.response
    listed = asked.json()["data"]
    assert isinstance(listed, list)
    return listed


# Models


def test_models_have_every_field() -> None:
    sandbox = Sandbox()
    for model in data(sandbox.ask("GET", "/v1/models?limit=1000")):
        assert set(model) == {
            "type",
            "id",
            "display_name",
            "created_at",
            "lifecycle",
            "deprecated_at",
            "retires_at",
            "line",
            "max_input_tokens",
            "max_tokens",
            "capabilities",
        }
        assert (model["type"], model["lifecycle"]) == ("model", "active")
        capabilities = model["capabilities"]
        assert isinstance(capabilities, dict)
        assert set(capabilities["thinking"]["types"]) == {"adaptive", "between_tools", "disabled", "enabled"}
        one = sandbox.ask("GET", f"/v1/models/{model['id']}").json()
        assert one == model


def test_pages_of_models_go_both_ways() -> None:
    sandbox = Sandbox()
    every = [str(model["id"]) for model in data(sandbox.ask("GET", "/v1/models?limit=1000"))]
    assert len(every) == len(set(every)) > 40
    forward: list[str] = []
    query = "limit=7"
    while True:
        page = sandbox.ask("GET", f"/v1/models?{query}").json()
        items = page["data"]
        assert isinstance(items, list)
        forward += [item["id"] for item in items]
        assert (page["first_id"], page["last_id"]) == (items[0]["id"], items[-1]["id"])
        if not page["has_more"]:
            break
        query = f"limit=7&after_id={page['last_id']}"
    assert forward == every
    back = sandbox.ask("GET", f"/v1/models?limit=3&before_id={every[5]}").json()
    assert [item["id"] for item in data(sandbox.ask("GET", f"/v1/models?limit=3&before_id={every[5]}"))] == every[2:5]
    assert back["has_more"] is True
    assert sandbox.ask("GET", f"/v1/models?limit=9&before_id={every[5]}").json()["has_more"] is False
    assert len(data(sandbox.ask("GET", "/v1/models"))) == 20


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "limit: Input should be greater than or equal to 1"),
        ("limit=-1", "limit: Input should be greater than or equal to 1"),
        ("limit=1001", "limit: Input should be less than or equal to 1000"),
        ("limit=ten", "limit: Input should be a valid integer"),
        ("limit=" + "9" * 5_000, "limit: Input should be less than or equal to 1000"),
        ("after_id=nothing", "after_id: there is nothing with the id nothing"),
        ("after_id=hang&before_id=slow", "Only one of `before_id` and `after_id` may be given."),
    ],
)
def test_wrong_pages_are_refused(query: str, words: str) -> None:
    asked = Sandbox().ask("GET", f"/v1/models?{query}")
    assert asked.status == 400
    assert str(asked.error()["message"]).startswith(words)


def test_models_are_found_by_alias_and_with_options() -> None:
    sandbox = Sandbox()
    assert sandbox.ask("GET", "/v1/models/claude-haiku-4-5").json()["id"] == "claude-haiku-4-5-20251001"
    assert sandbox.ask("GET", "/v1/models/error-529%3Aprimary").json()["id"] == "error-529:primary"
    asked = sandbox.ask("GET", "/v1/models/vendor%2Fmodel")
    assert (asked.status, asked.error()["message"]) == (404, "model: vendor/model")


def test_models_can_be_asked_for_by_lifecycle() -> None:
    sandbox = Sandbox()
    assert data(sandbox.ask("GET", "/v1/models?lifecycle[]=retired")) == []
    assert data(sandbox.ask("GET", "/v1/models?lifecycle[]=active"))


# Message Batches


def params(**fields: object) -> Json:
    return {"model": "claude-sandbox", "max_tokens": 50, "messages": USER, **fields}


def requests(*items: Json) -> Json:
    return {"requests": [{"custom_id": f"r-{index}", "params": item} for index, item in enumerate(items)]}


MIXED = requests(
    params(), params(max_tokens=-1), params(model="error-429"), params(model="hang"), params(stream=True), {}
)


def results(asked: Asked) -> list[Json]:
    assert asked.response_headers["content-type"] == "application/x-jsonl"
    return [json.loads(line) for line in asked.response.splitlines()]


def test_a_batch_from_creation_to_deletion() -> None:
    sandbox = Sandbox()
    created = sandbox.ask("POST", "/v1/messages/batches", MIXED).json()
    assert (created["type"], created["processing_status"]) == ("message_batch", "in_progress")
    assert created["results_url"] is None
    assert created["request_counts"] == {
        "processing": 6,
        "succeeded": 0,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    }
    path = f"/v1/messages/batches/{created['id']}"
    early = sandbox.ask("DELETE", path)
    assert early.status == 400
    ended = sandbox.ask("GET", path).json()
    assert ended["processing_status"] == "ended"
    assert ended["ended_at"]
    assert ended["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 4, "canceled": 0, "expired": 1}
    assert ended["results_url"] == f"http://sandbox.test{path}/results"
    found = results(sandbox.ask("GET", f"{path}/results"))
    assert [line["custom_id"] for line in found] == [f"r-{index}" for index in range(6)]
    kinds = [line["result"]["type"] for line in found if isinstance(line["result"], dict)]
    assert kinds == ["succeeded", "errored", "errored", "expired", "errored", "errored"]
    assert sandbox.ask("DELETE", path).json() == {"id": created["id"], "type": "message_batch_deleted"}
    assert sandbox.ask("GET", path).status == 404


def test_results_are_what_the_messages_endpoint_says() -> None:
    sandbox = Sandbox()
    created = sandbox.ask("POST", "/v1/messages/batches", MIXED).json()
    first, wrong, limited = results(sandbox.ask("GET", f"/v1/messages/batches/{created['id']}/results"))[:3]
    message = first["result"]
    assert isinstance(message, dict)
    direct = sandbox.ask("POST", "/v1/messages", params()).json()
    usage = direct["usage"]
    assert isinstance(usage, dict)
    assert message["message"] == {**direct, "usage": {**usage, "service_tier": "batch"}}
    for line, kind in ((wrong, "invalid_request_error"), (limited, "rate_limit_error")):
        failed = line["result"]
        assert isinstance(failed, dict)
        assert (failed["error"]["type"], failed["error"]["error"]["type"]) == ("error", kind)


def test_a_request_nested_too_deeply_is_an_error_of_its_own() -> None:
    schema: Json = {"type": "string"}
    for _ in range(900):
        schema = {"type": "array", "items": schema}
    deep = params(output_config={"format": {"type": "json_schema", "schema": schema}})
    sandbox = Sandbox()
    created = sandbox.ask("POST", "/v1/messages/batches", requests(deep, params()))
    assert created.status == 200, created.response
    first, second = results(sandbox.ask("GET", f"/v1/messages/batches/{created.json()['id']}/results"))
    for line, kinds in ((first, ("errored", "succeeded")), (second, ("succeeded",))):
        result = line["result"]
        assert isinstance(result, dict)
        assert result["type"] in kinds


def test_a_batch_cancelled_in_time_runs_nothing() -> None:
    sandbox = Sandbox()
    created = sandbox.ask("POST", "/v1/messages/batches", MIXED).json()
    path = f"/v1/messages/batches/{created['id']}"
    cancelling = sandbox.ask("POST", f"{path}/cancel").json()
    assert cancelling["processing_status"] == "canceling"
    assert cancelling["cancel_initiated_at"]
    ended = sandbox.ask("GET", path).json()
    assert ended["request_counts"] == {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 6, "expired": 0}
    found = results(sandbox.ask("GET", f"{path}/results"))
    assert [line["result"] for line in found] == [{"type": "canceled"}] * 6


def test_an_ended_batch_cannot_be_cancelled() -> None:
    sandbox = Sandbox()
    created = sandbox.ask("POST", "/v1/messages/batches", MIXED).json()
    path = f"/v1/messages/batches/{created['id']}"
    ended = sandbox.ask("GET", path).json()
    assert sandbox.ask("POST", f"{path}/cancel").json() == ended


def test_batches_are_listed_newest_first() -> None:
    sandbox = Sandbox()
    ids = [
        sandbox.ask("POST", "/v1/messages/batches", requests(params(max_tokens=number))).json()["id"]
        for number in range(1, 4)
    ]
    assert [batch["id"] for batch in data(sandbox.ask("GET", "/v1/messages/batches"))] == ids[::-1]
    page = sandbox.ask("GET", "/v1/messages/batches?limit=2").json()
    assert (page["has_more"], page["last_id"]) == (True, ids[1])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "requests: Field required"),
        ({"requests": {}}, "requests: Input should be a valid list"),
        ({"requests": []}, "requests: A batch has between 1 and 100000 requests"),
        ({"requests": [], "x": 1}, "x: Extra inputs are not permitted"),
        ({"requests": [{"params": {}}]}, "requests.0.custom_id: Field required"),
        ({"requests": [{"custom_id": "a b", "params": {}}]}, "requests.0.custom_id: String should match pattern"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{"custom_id": "a", "params": {}}] * 2}, "requests.1.custom_id: custom_id must be unique"),
    ],
)
def test_wrong_batches_are_refused(body: Json, words: str) -> None:
    asked = Sandbox().ask("POST", "/v1/messages/batches", body)
    assert asked.status == 400
    assert str(asked.error()["message"]).startswith(words)


def test_old_batches_are_forgotten() -> None:
    sandbox = Sandbox(Settings(max_batches=2))
    ids = [
        sandbox.ask("POST", "/v1/messages/batches", requests(params(max_tokens=number))).json()["id"]
        for number in range(1, 5)
    ]
    assert [batch["id"] for batch in data(sandbox.ask("GET", "/v1/messages/batches"))] == [ids[3], ids[2]]
    small = Sandbox(Settings(max_batch_total_bytes=10))
    created = small.ask("POST", "/v1/messages/batches", requests(params()))
    assert created.status == 200
    assert data(small.ask("GET", "/v1/messages/batches")) == []


# Files


def form(filename: str, body: bytes, **fields: str) -> bytes:
    parts = [
        f'--XX\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        "Content-Type: text/plain\r\n\r\n".encode()
        + body
        + b"\r\n"
    ]
    for name, value in fields.items():
        parts.append(f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    return b"".join(parts) + b"--XX--\r\n"


def upload(sandbox: Sandbox, filename: str, body: bytes, **fields: str) -> Asked:
    headers = {"content-type": "multipart/form-data; boundary=XX"}
    return sandbox.ask("POST", "/v1/files", form(filename, body, **fields), headers=headers, piece_bytes=7)


def test_a_file_from_upload_to_deletion() -> None:
    sandbox = Sandbox()
    body = bytes(range(256)) * 5
    made = upload(sandbox, "a b.txt", body).json()
    assert made == {
        "id": made["id"],
        "type": "file",
        "filename": "a b.txt",
        "mime_type": "text/plain",
        "size_bytes": len(body),
        "created_at": "2026-01-01T00:00:00Z",
        "downloadable": True,
        "expires_at": None,
    }
    path = f"/v1/files/{made['id']}"
    assert sandbox.ask("GET", path).json() == made
    downloaded = sandbox.ask("GET", f"{path}/content")
    assert (downloaded.response, downloaded.response_headers["content-type"]) == (body, "text/plain")
    assert sandbox.ask("DELETE", path).json() == {"id": made["id"], "type": "file_deleted"}
    for asked in (sandbox.ask("GET", path), sandbox.ask("GET", f"{path}/content"), sandbox.ask("DELETE", path)):
        assert asked.status == 404


def test_files_can_expire() -> None:
    made = upload(Sandbox(), "a", b"x", expires_in_seconds="3600").json()
    assert made["expires_at"] == "2026-01-01T01:00:00Z"
    for wrong in ("60", "soon", "9" * 30):
        asked = upload(Sandbox(), "a", b"x", expires_in_seconds=wrong)
        assert str(asked.error()["message"]).startswith("expires_in_seconds: ")


def test_files_are_listed_in_both_ways() -> None:
    sandbox = Sandbox()
    ids = [upload(sandbox, f"{number}.txt", b"x").json()["id"] for number in range(5)][::-1]
    page = sandbox.ask("GET", "/v1/files?limit=2").json()
    assert [item["id"] for item in data(sandbox.ask("GET", "/v1/files?limit=2"))] == ids[:2]
    page = sandbox.ask("GET", f"/v1/files?limit=2&page={page['next_page']}").json()
    page = sandbox.ask("GET", f"/v1/files?limit=2&page={page['next_page']}").json()
    assert page["next_page"] is None
    beta = sandbox.ask("GET", "/v1/files?limit=2", betas="files-api-2025-04-14").json()
    assert (beta["has_more"], beta["last_id"]) == (True, ids[1])
    some = data(sandbox.ask("GET", f"/v1/files?ids[]={ids[3]}&ids[]={ids[0]}&ids[]=file_gone"))
    assert [item["id"] for item in some] == [ids[0], ids[3]]
    many = "&".join(f"ids[]={number}" for number in range(101))
    assert "at most 100 items" in str(sandbox.ask("GET", f"/v1/files?{many}").error()["message"])


def test_messages_can_use_the_files_that_are_there() -> None:
    sandbox = Sandbox()
    file_id = upload(sandbox, "a.txt", b"x").json()["id"]

    def ask(name: object) -> Asked:
        block = {"type": "document", "source": {"type": "file", "file_id": name}}
        return sandbox.message(messages=[{"role": "user", "content": [block]}])

    assert ask(file_id).status == 200
    refused = ask("file_gone")
    assert (refused.status, refused.error()["message"]) == (404, "File not found: file_gone")


def test_the_oldest_files_make_room() -> None:
    sandbox = Sandbox(Settings(max_file_total_bytes=100))
    ids = [upload(sandbox, f"{number}.txt", b"x" * 40).json()["id"] for number in range(3)]
    assert [item["id"] for item in data(sandbox.ask("GET", "/v1/files"))] == [ids[2], ids[1]]
    asked = upload(sandbox, "big", b"x" * 101)
    assert (asked.status, asked.error()["type"]) == (413, "request_too_large")
    assert len(data(sandbox.ask("GET", "/v1/files"))) == 2


def test_uploads_that_are_no_forms_are_refused() -> None:
    sandbox = Sandbox()
    asked = sandbox.ask("POST", "/v1/files", b"x", headers={"content-type": "text/plain"})
    assert asked.error()["message"] == "Content-Type must be multipart/form-data with a boundary"
    headers = {"content-type": "multipart/form-data; boundary=XX"}
    other = b'--XX\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--XX--\r\n'
    assert sandbox.ask("POST", "/v1/files", other, headers=headers).error()["message"] == "file: Field required"


# Threads


def test_a_thread_goes_on_with_only_what_is_new() -> None:
    sandbox = Sandbox()
    weather: list[Json] = [{"role": "user", "content": "get_weather"}]
    first = sandbox.message(
        thread={"type": "create"}, tools=[CITY], system="Be brief.", messages=weather, betas=THREADS
    ).json()
    call = content(first)[1]
    result = [{"type": "tool_result", "tool_use_id": call["id"], "content": "12C"}]
    go_on = {"type": "continue", "previous_message_id": first["id"]}
    second = sandbox.message(thread=go_on, messages=[{"role": "user", "content": result}], betas=THREADS).json()
    assert "returned: 12C" in text(second)
    whole = [*weather, {"role": "assistant", "content": first["content"]}, {"role": "user", "content": result}]
    assert text(sandbox.answer(messages=whole, tools=[CITY], system="Be brief.")) == text(second)
    go_on = {"type": "continue", "previous_message_id": second["id"]}
    third = sandbox.message(thread=go_on, messages=weather, betas=THREADS).json()
    assert content(third)[1]["name"] == "get_weather", "the tools of the first request are still there"


def test_an_unknown_thread_is_not_found() -> None:
    go_on = {"type": "continue", "previous_message_id": "msg_gone"}
    asked = Sandbox().message(thread=go_on, betas=THREADS)
    assert asked.status == 404
    assert asked.error()["details"] == {"error_code": "thread_not_found"}


@pytest.mark.parametrize(
    ("fields", "unsupported"),
    [
        ({"thinking": {"type": "adaptive"}}, ["thinking"]),
        ({"cache_control": {"type": "ephemeral"}, "thinking": {"type": "adaptive"}}, ["cache_control", "thinking"]),
        ({"tools": [{**CITY, "cache_control": {"type": "ephemeral"}}]}, ["cache_control"]),
    ],
)
def test_what_a_thread_cannot_carry_is_named(fields: Json, unsupported: list[str]) -> None:
    body = {"model": "claude-sandbox", "max_tokens": 9, "messages": USER, "thread": {"type": "create"}, **fields}
    asked = Sandbox().ask("POST", "/v1/messages", body, betas=THREADS)
    assert asked.status == 400
    assert asked.error()["details"] == {"error_code": "thread_unsupported_request", "unsupported": unsupported}


def test_old_threads_are_forgotten() -> None:
    for settings in (Settings(max_threads=2), Settings(max_thread_total_bytes=1_200)):
        sandbox = Sandbox(settings)
        ids = [
            sandbox.message(thread={"type": "create"}, max_tokens=number, betas=THREADS).json()["id"]
            for number in range(100, 110)
        ]
        status = [
            sandbox.message(thread={"type": "continue", "previous_message_id": known}, betas=THREADS).status
            for known in (ids[0], ids[-1])
        ]
        assert status == [404, 200]


# Legacy completions


def complete(sandbox: Sandbox, **fields: object) -> Asked:
    body = {"model": "claude-2.1", "prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 100, **fields}
    return sandbox.ask("POST", "/v1/complete", body)


def test_completions_have_their_old_form() -> None:
    sandbox = Sandbox()
    whole = complete(sandbox).json()
    assert (whole["type"], whole["stop_reason"], whole["stop"]) == ("completion", "stop_sequence", "\n\nHuman:")
    assert "“hi”" in str(whole["completion"])
    cut = complete(sandbox, max_tokens_to_sample=2).json()
    assert (cut["completion"], cut["stop_reason"], cut["stop"]) == (" You said", "max_tokens", None)
    stopped = complete(sandbox, stop_sequences=["said"]).json()
    assert (stopped["completion"], stopped["stop"]) == (" You ", "said")


def test_completions_stream_their_text() -> None:
    sandbox = Sandbox()
    asked = complete(sandbox, stream=True)
    events = [json.loads(data.partition(b"data: ")[2]) for data in asked.writes]
    assert {event["type"] for event in events} == {"completion", "ping"}
    said = "".join(event["completion"] for event in events if event["type"] == "completion")
    assert said == complete(sandbox).json()["completion"]
    assert (events[0]["stop_reason"], events[-1]["stop_reason"]) == (None, "stop_sequence")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": "hi"}, 'prompt must start with "\\n\\nHuman:" turn'),
        ({"prompt": "\n\nHuman: hi"}, 'prompt must end with "\\n\\nAssistant:" turn'),
        ({"max_tokens_to_sample": 0}, "max_tokens_to_sample: Input should be greater than or equal to 1"),
        ({"messages": []}, "messages: Extra inputs are not permitted"),
    ],
)
def test_wrong_completions_are_refused(fields: Json, words: str) -> None:
    body = {"model": "claude-2.1", "prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 9, **fields}
    asked = Sandbox().ask("POST", "/v1/complete", body)
    assert (asked.status, asked.error()["message"]) == (400, words)
