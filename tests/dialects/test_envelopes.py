"""Claude on Bedrock (InvokeModel) and on Vertex AI: the client's body but for a few members goes there, and what the
model said comes back; judged by the official SDK's own clients for these hosts and by botocore.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AnthropicBedrock, AnthropicVertex
from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects import splice
from asbru.dialects.anthropic_bedrock import CODEC as BEDROCK
from asbru.dialects.anthropic_vertex import CODEC as VERTEX
from asbru.dialects.codec import Context, Envelope, Sent
from asbru.dialects.losses import FIELDS, Losses, LossyError
from asbru.dialects.message_stream import StreamError
from asbru.dialects.splice import SpliceError
from tests import grammar
from tests.dialects import bedrock_aws
from tests.dialects.test_splice import Document, documents, values

Json = dict[str, Any]
CAPTURES = sorted((Path(__file__).resolve().parent.parent / "captures").glob("*.json"))
OLD = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NEW = "anthropic.claude-opus-4-8"
HOSTS = [BEDROCK, VERTEX]


def context(model: str = OLD, **given: Any) -> Context:
    return Context(provider="p", model=model, shown_model="shown", message_id="msg_1", **given)


def wrapped(envelope: Envelope, body: bytes | Json, used: Context | None = None) -> tuple[Sent, str]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    losses = Losses(envelope.fidelity)
    sent = envelope.wrap(splice.split(raw), used or context(), losses)
    return sent, losses.header()


def asked(**fields: Any) -> Json:
    return {"model": "shown", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}


@pytest.mark.parametrize("envelope", HOSTS)
def test_every_field_has_a_row(envelope: Envelope) -> None:
    assert envelope.fidelity.keys() == FIELDS.keys()


# What stays


OWN = {"bedrock": {"model", "stream"}, "vertex": {"model"}}
TOUCHED = {"anthropic_version", "anthropic_beta", "service_tier", "speed", "cache_control", "output_format"}


@given(documents, st.sampled_from(HOSTS))
def test_every_other_byte_stays(document: Document, envelope: Envelope) -> None:
    body = document.text().encode()
    members = splice.split(body)
    if (members.get("stream") or b"null") not in (b"true", b"false", b"null"):
        with pytest.raises(SpliceError):
            envelope.wrap(members, context(), Losses(envelope.fidelity))
        return
    if members.get("fallbacks") is not None:
        return
    sent = envelope.wrap(members, context(), Losses(envelope.fidelity))
    gone = OWN[envelope.dialect.partition("+")[2]]
    expected = splice.replace(body, members, dict.fromkeys(gone & set(members.spans)))
    # One member was added behind the last one; without it the body is the client's.
    made = splice.split(sent.body)
    assert list(made.spans) == [*(key for key in members.spans if key not in gone), "anthropic_version"]
    assert splice.replace(sent.body, made, {"anthropic_version": None}) == expected


@given(st.sampled_from(HOSTS), values)
def test_values_that_nobody_knows_go_through(envelope: Envelope, value: str) -> None:
    body = b'{"model":"m", "new": %b , "messages":[]}' % value.encode()
    sent, losses = wrapped(envelope, body)
    assert b'"new": %b ,' % value.encode() in sent.body
    assert losses == "none"


@pytest.mark.parametrize("envelope", HOSTS, ids=lambda envelope: envelope.dialect)
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_real_requests_stay_as_they_are(path: Path, envelope: Envelope) -> None:
    capture = json.loads(path.read_text())
    if capture["method"] != "POST" or capture["path"].partition("?")[0] != "/v1/messages":
        return
    betas = [value for name, value in capture["headers"] if name.lower() == "anthropic-beta"]
    used = context(betas=[beta for value in betas for beta in value.split(",")])
    members = splice.split(capture["body_raw"].encode())
    try:
        sent = envelope.wrap(members, used, Losses(envelope.fidelity))
    except LossyError as error:
        assert error.path.partition(".")[0] in ("thread", "mcp_servers", "tools")
        return
    made = splice.split(sent.body)
    for key in ("messages", "tools", "max_tokens", "metadata", "thinking", "tool_choice", "unknown"):
        if key == "messages" and "cache_control" in members:
            continue
        assert made.get(key) == members.get(key)
    assert b"x-anthropic-billing-header" not in sent.body
    if envelope is BEDROCK:
        bedrock_aws.check_request(sent)


# What changes


def test_bedrock_has_the_version_and_the_betas_in_the_body() -> None:
    used = context("us." + OLD, betas=["context-1m-2025-08-07", "claude-code-20250219", "new-2027-01-01"])
    sent, losses = wrapped(BEDROCK, asked(stream=True, anthropic_beta=["effort-2025-11-24"]), used)
    assert sent.target == b"/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream"
    assert sent.accept == b"application/vnd.amazon.eventstream"
    assert json.loads(sent.body) == {
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Hi"}],
        "anthropic_beta": ["context-1m-2025-08-07", "effort-2025-11-24"],
        "anthropic_version": "bedrock-2023-05-31",
    }
    assert losses == "dropped: anthropic-beta (new-2027-01-01)"


def test_what_a_host_calls_otherwise_stays_with_its_field() -> None:
    """Claude Code sets the effort on a message of the system, which is refused where no beta allows it."""
    names = ["per-turn-control-2026-07-01", "mid-conversation-output-config-2026-07-01"]
    for betas in ([name] for name in names):
        sent, losses = wrapped(BEDROCK, asked(), context(NEW, betas=betas))
        assert (json.loads(sent.body)["anthropic_beta"], losses) == (names[1:], "none")
        sent, losses = wrapped(VERTEX, asked(), context("claude-opus-4-8", betas=betas))
        assert (sent.headers, losses) == (b"anthropic-beta: %b\r\n" % names[0].encode(), "none")


def test_vertex_has_the_version_in_the_body_and_the_betas_in_a_header() -> None:
    used = context("claude-sonnet-4-5@20250929", betas=["context-1m-2025-08-07", "fast-mode-2026-02-01"])
    sent, losses = wrapped(VERTEX, asked(stream=True), used)
    assert sent.target == b"/models/claude-sonnet-4-5%4020250929:streamRawPredict"
    assert sent.headers == b"anthropic-beta: context-1m-2025-08-07\r\n"
    body = json.loads(sent.body)
    assert body == {"max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], "stream": True} | {
        "anthropic_version": "vertex-2023-10-16"
    }
    assert losses == "dropped: anthropic-beta (fast-mode-2026-02-01)"
    assert wrapped(VERTEX, asked())[0].target.endswith(b":rawPredict")


@pytest.mark.parametrize(
    ("model", "version", "expected"),
    [
        (OLD, "2023-06-01", "bedrock-2023-05-31"),
        (OLD, "2026-10-21", "bedrock-2023-05-31"),
        (NEW, "2023-06-01", "bedrock-2023-05-31"),
        (NEW, "2026-10-21", "2026-10-21"),
        ("us.anthropic.claude-opus-4-6-v1", "2026-10-21", "bedrock-2023-05-31"),
        ("anthropic.claude-opus-4-20250514-v1:0", "2026-10-21", "bedrock-2023-05-31"),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", "2026-10-21", "bedrock-2023-05-31"),
        ("global.anthropic.claude-sonnet-5-5", "2026-10-21", "2026-10-21"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "2026-10-21", "bedrock-2023-05-31"),
    ],
)
def test_the_version_that_the_model_knows(model: str, version: str, expected: str) -> None:
    body = json.loads(wrapped(BEDROCK, asked(), context(model, version=version))[0].body)
    assert body["anthropic_version"] == expected


def test_a_version_in_the_body_stays() -> None:
    body = b'{"model":"m","anthropic_version":"mine","max_tokens":1,"messages":[]}'
    assert wrapped(BEDROCK, body)[0].body == b'{"anthropic_version":"mine","max_tokens":1,"messages":[]}'


@pytest.mark.parametrize(
    ("envelope", "field", "value", "losses"),
    [
        *[(host, "tags", {"a": "b"}, "dropped: tags") for host in HOSTS],
        *[(host, "fallbacks", [{"model": "x"}], "dropped: fallbacks") for host in HOSTS],
        *[(host, "diagnostics", {"previous_message_id": None}, "dropped: diagnostics") for host in HOSTS],
        *[(host, "inference_geo", "us", "dropped: inference_geo") for host in HOSTS],
        *[(host, "billing_policy", {"type": "billing_policy"}, "dropped: billing_policy") for host in HOSTS],
        *[(host, "speed", "fast", "dropped: speed") for host in HOSTS],
        *[(host, "speed", "standard", "none") for host in HOSTS],
        *[(host, "service_tier", "auto", "none") for host in HOSTS],
        *[(host, "mcp_servers", [], "none") for host in HOSTS],
        *[(host, "container", None, "none") for host in HOSTS],
        (
            BEDROCK,
            "context_management",
            {"edits": [{"type": "clear_thinking_20251015"}]},
            "dropped: context_management",
        ),
    ],
)
def test_what_a_host_refuses_is_left_out(envelope: Envelope, field: str, value: object, losses: str) -> None:
    sent, said = wrapped(envelope, asked(**{field: value}))
    assert field not in json.loads(sent.body)
    assert said == losses


@pytest.mark.parametrize("envelope", HOSTS, ids=lambda envelope: envelope.dialect)
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("thread", {"thread": {"type": "create"}}),
        ("container", {"container": "c_1"}),
        ("mcp_servers", {"mcp_servers": [{"type": "url", "name": "n", "url": "https://example.org"}]}),
        ("fallback_credit_token", {"fallback_credit_token": "t"}),
        ("tools.1", {"tools": [{"name": "x"}, {"type": "web_search_20260209", "name": "web_search"}]}),
        ("tools.0", {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}),
        ("tools.0", {"tools": [{"type": "mcp_toolset", "mcp_server_name": "n"}]}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]}),
        (
            "messages",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "t",
                                "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                            }
                        ],
                    }
                ]
            },
        ),
    ],
)
def test_what_a_host_does_not_have_is_refused_by_name(envelope: Envelope, path: str, fields: Json) -> None:
    with pytest.raises(LossyError) as refused:
        wrapped(envelope, asked(**fields))
    assert refused.value.path == path


def test_a_thread_is_refused_so_that_sdks_go_on_without() -> None:
    with pytest.raises(LossyError) as refused:
        wrapped(BEDROCK, asked(thread={"type": "continue", "previous_message_id": "msg_1"}))
    assert refused.value.details == {"error_code": "thread_unsupported_request"}


def test_hosts_differ() -> None:
    search = asked(tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert json.loads(wrapped(VERTEX, search)[0].body)["tools"] == search["tools"]
    with pytest.raises(LossyError):
        wrapped(BEDROCK, search)
    edits = asked(context_management={"edits": [{"type": "clear_thinking_20251015"}, {"type": "compact_20260112"}]})
    assert json.loads(wrapped(VERTEX, edits)[0].body)["context_management"] == edits["context_management"]
    kept = json.loads(wrapped(BEDROCK, edits)[0].body)["context_management"]
    assert kept == {"edits": [{"type": "compact_20260112"}]}


def test_talk_of_files_is_no_file() -> None:
    talk = asked(messages=[{"role": "user", "content": '"file_id" \ud83d'}])
    body = json.dumps(talk).encode().replace(b"'", b"")
    assert wrapped(BEDROCK, body)[1] == "none"


def test_claude_codes_attribution_does_not_get_there() -> None:
    mine = b'{ "type":"text",  "text":"x-anthropic-billing-header: cc_version=2; cch=1;"}'
    kept = b'{"type":"text", "text":"About x-anthropic-billing-header \\u00e9" }'
    body = b'{"model":"m","system":[%b, %b],"max_tokens":1,"messages":[]}'
    sent, losses = wrapped(BEDROCK, body % (mine, kept))
    assert splice.split(sent.body).get("system") == b"[" + kept + b"]"
    assert losses == "none"
    sent, _ = wrapped(BEDROCK, b'{"model":"m","system":[%b],"messages":[]}' % mine)
    assert "system" not in json.loads(sent.body)


def test_the_older_place_of_a_schema() -> None:
    schema = b'{"type": "json_schema", "schema": {"a":1e0}}'
    sent, _ = wrapped(BEDROCK, b'{"model":"m","output_format":%b,"messages":[]}' % schema)
    assert splice.split(sent.body).get("output_config") == b'{"format":' + schema + b"}"
    both = b'{"model":"m","output_format":%b,"output_config":{"effort": "low"},"messages":[]}' % schema
    sent, losses = wrapped(VERTEX, both)
    assert splice.split(sent.body).get("output_config") == b'{"effort": "low","format":' + schema + b"}"
    assert b"output_format" not in sent.body
    assert losses == "none"


@pytest.mark.parametrize(
    ("content", "marked"),
    [
        (b'"Hi"', b'[{"type":"text","text":"Hi","cache_control":{"type": "ephemeral"}}]'),
        (
            b'[ {"type":"text","text":"a"} , {"type":"text","text":"a"} ]',
            b'[ {"type":"text","text":"a"} , {"type":"text","text":"a","cache_control":{"type": "ephemeral"}} ]',
        ),
        (b'[{"type":"text","text":"a","cache_control":null}]', None),
        (b'[{"type":"thinking","thinking":"","signature":"x"}]', None),
        (b'""', None),
        (b"[]", None),
    ],
)
def test_automatic_caching_is_a_breakpoint_on_the_last_block(content: bytes, marked: bytes | None) -> None:
    messages = b'[{"role":"user","content":"x"}, {"role":"user","content":%b}]'
    body = b'{"model":"m","cache_control":{"type": "ephemeral"},"messages":%b}' % messages
    sent, losses = wrapped(BEDROCK, body % content)
    expected = messages % (marked or content)
    assert splice.split(sent.body).get("messages") == expected
    assert "cache_control" not in splice.split(sent.body)
    assert losses == ("emulated: cache_control" if marked else "none")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","tools":{"a":1}}',
        b'{"model":"m","stream":"yes"}',
        b'{"model":"m","system":["x-anthropic-billing-header"]}',
        b'{"model":"m","output_format":{},"output_config":3}',
        b'{"model":"m","cache_control":{},"messages":3}',
        b'{"model":"m","cache_control":{},"messages":[3]}',
        b'{"model":"m","messages":"\\"file_id\\"", "x":{"file_id":1}}',
        b'{"model":"m","anthropic_beta":"x"}',
        b'{"model":"m","context_management":[1]}',
        b'{"model":"m","speed":1}',
    ],
)
def test_a_body_that_makes_no_sense(body: bytes) -> None:
    with pytest.raises(SpliceError):
        wrapped(BEDROCK, body)


@pytest.mark.parametrize("model", [".", ".."])
def test_a_model_that_leads_elsewhere_is_refused(model: str) -> None:
    with pytest.raises(LossyError):
        wrapped(BEDROCK, asked(), context(model))
    assert wrapped(VERTEX, asked(), context(model))[0].target == f"/models/{model}:rawPredict".encode()


# Counting


def test_bedrock_counts_a_request_that_invoke_model_would_take() -> None:
    body = asked(thinking={"type": "enabled", "budget_tokens": 5000})
    del body["max_tokens"]
    made = BEDROCK.wrap_count(splice.split(json.dumps(body).encode()), context("us." + OLD), Losses(BEDROCK.fidelity))
    params = bedrock_aws.check_request(made)
    assert params["modelId"] == OLD
    assert json.loads(params["input"]["invokeModel"]["body"]) == {
        "messages": [{"role": "user", "content": "Hi"}],
        "thinking": {"type": "enabled", "budget_tokens": 5000},
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 5001,
    }
    assert BEDROCK.unwrap_count(b'{"inputTokens":12}') == b'{"input_tokens":12}'
    with pytest.raises(StreamError):
        BEDROCK.unwrap_count(b'{"message":"?"}')


def test_vertex_counts_where_the_body_names_the_model() -> None:
    used = context("claude-opus-4-8", betas=["web-search-2025-03-05", "context-1m-2025-08-07"])
    made = VERTEX.wrap_count(splice.split(json.dumps(asked()).encode()), used, Losses(VERTEX.fidelity))
    assert made.target == b"/models/count-tokens:rawPredict"
    assert made.headers == b"anthropic-beta: context-1m-2025-08-07\r\n"
    assert json.loads(made.body)["model"] == "claude-opus-4-8"
    assert VERTEX.unwrap_count(b'{"input_tokens": 12 }') == b'{"input_tokens": 12 }'


# As the official SDK does it


class Sender:
    """Takes the SDK's request instead of the network."""

    def __init__(self) -> None:
        self.request: httpx2.Request

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.request = request
        return httpx2.Response(
            200, json={"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
        )


FIELDS_SENT: Json = {
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hi"}],
    "system": [{"type": "text", "text": "é"}],
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [NEW, "us.anthropic.claude-sonnet-5-v1:0"])
def test_bedrock_gets_what_the_sdk_sends(model: str, stream: bool) -> None:
    sender = Sender()
    client = AnthropicBedrock(
        api_key="k", aws_region="eu-west-1", http_client=httpx2.Client(transport=httpx2.MockTransport(sender))
    )
    fields: Json = {**FIELDS_SENT, "stream": True} if stream else FIELDS_SENT
    headers = {"anthropic-beta": "context-1m-2025-08-07"}
    client.messages.create(model=model, extra_headers=headers, **fields)
    sent, _ = wrapped(
        BEDROCK,
        {"model": "shown", **fields},
        context(model, version="2026-10-21", betas=["context-1m-2025-08-07"]),
    )
    assert json.loads(sender.request.content) == json.loads(sent.body)
    assert sender.request.url.path == httpx2.URL("http://h" + sent.target.decode()).path


@pytest.mark.parametrize("stream", [False, True])
def test_vertex_gets_what_the_sdk_sends(stream: bool) -> None:
    sender = Sender()
    client = AnthropicVertex(
        region="europe-west1",
        project_id="p",
        access_token="t",
        http_client=httpx2.Client(transport=httpx2.MockTransport(sender)),
    )
    fields: Json = {**FIELDS_SENT, "stream": True} if stream else FIELDS_SENT
    client.messages.create(model="claude-opus-4-8@default", **fields)
    used = context("claude-opus-4-8@default", version="2026-10-21")
    sent, _ = wrapped(VERTEX, {"model": "shown", **fields}, used)
    assert json.loads(sender.request.content) == json.loads(sent.body)
    base = "/v1/projects/p/locations/europe-west1/publishers/anthropic"
    assert sender.request.url.path == httpx2.URL("http://h" + base + sent.target.decode()).path


# The way back


EVENTS: list[Json] = [
    {"type": "message_start", "message": {**json.loads(
        '{"id":"msg_bdrk_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,'
        '"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}'
    )}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé\u2028llo"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
     "usage": {"output_tokens": 5}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 5}},
]  # fmt: skip


def chunk(data: bytes) -> bytes:
    return bedrock_aws.frame("chunk", {"bytes": base64.b64encode(data).decode()})


def raw(event: Json) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


STREAM = b"".join(chunk(raw(event)) for event in EVENTS)


def unwrapped(body: bytes, cuts: list[int] | None = None) -> bytes:
    unwrapper = BEDROCK.unwrapper()
    bounds = [0, *(cuts or []), len(body)]
    return b"".join(unwrapper.feed(body[start:end]) for start, end in pairwise(bounds))


def test_a_stream_is_what_the_model_said() -> None:
    out = unwrapped(STREAM)
    assert grammar.check(out).events == EVENTS
    for event in EVENTS:
        assert b"data: " + raw(event) + b"\n\n" in out
    assert bedrock_aws.read_stream("InvokeModelWithResponseStream", STREAM)[0] == {"chunk": {"bytes": raw(EVENTS[0])}}


def test_the_sdk_reads_the_same_from_the_frames() -> None:
    theirs = list(AWSEventStreamDecoder().iter_bytes(iter([STREAM])))
    ours = [block.split(b"\n") for block in unwrapped(STREAM).split(b"\n\n")[:-1]]
    assert [(f"event: {event.event}", f"data: {event.data}") for event in theirs] == [
        (name.decode(), data.decode()) for name, data in ours
    ]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    assert unwrapped(STREAM, cuts) == unwrapped(STREAM)


def test_byte_by_byte() -> None:
    assert unwrapped(STREAM, list(range(1, len(STREAM)))) == unwrapped(STREAM)


BROKEN: list[tuple[bytes, str, str]] = [
    (bedrock_aws.frame("throttlingException", {"message": "Slow"}), "rate_limit_error", "Slow"),
    (bedrock_aws.frame("modelTimeoutException", {"message": "Late"}), "timeout_error", "Late"),
    (bedrock_aws.frame("validationException", {"message": "No"}), "invalid_request_error", "No"),
    (bedrock_aws.frame("chunk", {"bytes": "!"}), "api_error", "Bedrock's stream cannot be read"),
    (chunk(b"{"), "api_error", "Bedrock's stream cannot be read"),
    (b"\0" * 12, "api_error", "Bedrock's stream is broken: the checksum of a frame's lengths is wrong"),
]


@pytest.mark.parametrize(("frame", "type", "message"), BROKEN)
def test_a_stream_that_breaks_ends_with_an_error_and_nothing_behind(frame: bytes, type: str, message: str) -> None:
    body = b"".join(chunk(raw(event)) for event in EVENTS[:3]) + frame + STREAM
    read = grammar.check(unwrapped(body), error=True)
    assert read.events[:3] == EVENTS[:3]
    assert len(read.events) == 4
    assert read.error == {"type": type, "message": message}


def test_nothing_comes_behind_the_end() -> None:
    assert unwrapped(STREAM + STREAM) == unwrapped(STREAM)
    error = chunk(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    assert grammar.check(unwrapped(error + STREAM), error=True).events[0]["type"] == "error"


@pytest.mark.parametrize(
    "frame",
    [
        bedrock_aws.frame("ofTomorrow", {"new": 1}),
        bedrock_aws.frame("chunk", {}),
        chunk(b'{"no":"type"}'),
        chunk(b'{"type":"bad\\nname"}'),
    ],
)
def test_what_is_no_event_is_passed_over(frame: bytes) -> None:
    assert unwrapped(frame + STREAM) == unwrapped(STREAM)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_an_error_at_worst(pieces: list[bytes]) -> None:
    unwrapper = BEDROCK.unwrapper()
    out = b"".join(unwrapper.feed(piece) for piece in pieces)
    if out:
        grammar.check(out, error=True)


def test_an_event_of_several_lines_is_still_one() -> None:
    out = unwrapped(chunk(b'{"type":\n"ping"}'))
    assert out == b'event: ping\ndata: {"type":\ndata: "ping"}\n\n'


def test_vertex_streams_as_anthropic_does() -> None:
    assert VERTEX.unwrapper().feed(b"event: ping\n") == b"event: ping\n"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}, "Quota exceeded"),
        (404, [{"error": {"code": 404, "message": "No model", "status": "NOT_FOUND"}}], "No model"),
        (503, "busy", "busy"),
        (500, [], "The provider answered with status 500 and no reason"),
        (500, {"error": {"message": 3}}, '{"error": {"message": 3}}'),
    ],
)
def test_google_errors_are_put_in_the_apis_words(status: int, body: object, expected: str) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fault = VERTEX.fault(status, {}, raw)
    assert fault is not None
    assert fault.message == expected


def test_anthropics_errors_come_as_they_are() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"no"},"request_id":"req_vrtx_1"}'
    assert VERTEX.fault(400, {}, body) is None


@given(st.integers(100, 599), st.binary(max_size=80), st.sampled_from(HOSTS))
def test_any_error_is_a_fault(status: int, body: bytes, envelope: Envelope) -> None:
    fault = envelope.fault(status, {}, body)
    assert fault is not None
    assert fault.type in grammar.ERROR_TYPES


@given(
    st.sampled_from(HOSTS), st.dictionaries(st.sampled_from(sorted({*FIELDS, *TOUCHED, "messages", "system"})), values)
)
def test_any_value_anywhere_is_sent_or_refused(envelope: Envelope, fields: dict[str, str]) -> None:
    body = "{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}"
    with suppress(LossyError, SpliceError):
        sent, _ = wrapped(envelope, body.encode())
        splice.split(sent.body)
