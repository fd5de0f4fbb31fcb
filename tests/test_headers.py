"""Heads read by one expression: as much as going through every field would tell, on both sides."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.edge_headers import FieldRules
from asbru.headers import CREDENTIALS, RequestHead, ResponseHead, lines, pairs

NAMES = [
    *(b"Accept", b"User-Agent", b"X-Stainless-Lang", b"x-app", b"Content-Typed", b"X-Content-Type", b"tee", b"x"),
    *(b"Content-Type", b"anthropic-version", b"X-Claude-Code-Session-Id", b"X-BF-Session-Id", b"x-asbru-strict"),
    *(
        b"Host",
        b"Content-Length",
        b"TE",
        b"Connection",
        b"Cookie",
        b"Upgrade",
        b"Proxy-Anything",
        b"Via",
        b"keep-alive",
    ),
    *(b"Authorization", b"X-Api-Key", b"api-key", b"x-goog-api-key", b"x-bf-vk", b"X-Bf-Dim-Team", b"x-bf-dim-"),
    *(b"X-Bf-Eh-X-Mine", b"x-bf-eh-", b"x-bf-eh-cookie", b"x-bf-eh-x-bf-vk", b"x-bf-other", b"X-Forwarded-For"),
    *(
        b"X_Api_Key",
        b"content_length",
        b"Transfer.Encoding",
        b"authorization_",
        b"X_Forwarded_For",
        b"my_own",
        b"x_bf_vk",
    ),
    *(
        b"x-bf-eh-x_api_key",
        b"x-bf-eh-my_own",
        b"x-bf-eh-cf-ray",
        b"CF-Connecting-IP",
        b"True-Client-IP",
        b"X-Amz-Date",
    ),
    *(b"CDN-Loop", b"X-LiteLLM-Api-Key", b"X-Amzn-Bedrock-Trace", b"X-Goog-IAP-JWT-Assertion", b"cf", b"cfx-ray"),
    *(b"Strict-Transport-Security", b"alt-svc", b"Set-Cookie", b"Set-Cookie-X", b"NEL"),
    *(b"Request-Id", b"X-Request-Id", b"X-Asbru-Invented", b"x-bifrost-provider", b"Retry-After", b"Trailer"),
]
VALUES = st.text(alphabet="ab1 ,;=/:\t\u00e9", max_size=10).map(lambda text: text.encode("latin-1").strip(b" \t"))
SPACE = st.sampled_from([b"", b" ", b"\t ", b"  "])
FIELD = st.tuples(st.sampled_from(NAMES), SPACE, VALUES, SPACE)
FIELDS = st.lists(FIELD, max_size=12)
HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"transfer-encoding"}
NOT_UPSTREAM = HOP_BY_HOP | CREDENTIALS | {b"cookie", b"host", b"content-length", b"content-encoding"}
NOT_UPSTREAM |= {b"accept-encoding", b"expect", b"forwarded", b"via", b"x-real-ip"}


def request(fields: list[tuple[bytes, bytes, bytes, bytes]]) -> bytes:
    return b"POST /v1/messages HTTP/1.1\r\n" + b"".join(b"%b:%b%b%b\r\n" % field for field in fields) + b"\r\n"


def response(fields: list[tuple[bytes, bytes, bytes, bytes]]) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b:%b%b%b\r\n" % field for field in fields) + b"\r\n"


def named(fields: list[tuple[bytes, bytes, bytes, bytes]]) -> set[bytes]:
    """What the connection headers say is for this connection alone."""
    values = [value.lower() for name, _, value, _ in fields if name == b"Connection"]
    return {
        option.strip() for value in values if value not in (b"keep-alive", b"close") for option in value.split(b",")
    }


EDGE = {b"cf-ray", b"cf-connecting-ip", b"true-client-ip", b"x-amz-date", b"cdn-loop", b"x-litellm-api-key"}
EDGE |= {b"x-goog-iap-jwt-assertion"}
DISGUISED = {b"x_api_key", b"content_length", b"transfer.encoding", b"authorization_", b"x_forwarded_for", b"x_bf_vk"}
OF_THE_ORIGIN = {b"strict-transport-security", b"alt-svc", b"set-cookie", b"nel"}


def goes_upstream(name: bytes) -> bool:
    if name in EDGE | DISGUISED:
        return False
    return (
        bool(name) and name not in NOT_UPSTREAM and not name.startswith((b"x-bf-", b"x-asbru-", b"x-forw", b"proxy-"))
    )


@given(FIELDS)
def test_a_requests_head_is_what_going_through_every_field_tells(
    fields: list[tuple[bytes, bytes, bytes, bytes]],
) -> None:
    head = RequestHead(request(fields))
    forwarded, credentials, said = [], [], {}
    for name, before, value, behind in fields:
        lower, sent = name.lower(), name
        if lower.startswith(b"x-bf-eh-"):
            sent = name[len(b"x-bf-eh-") :]
        if goes_upstream(sent.lower()) and sent.lower() not in named(fields):
            forwarded.append(b"%b:%b%b%b\r\n" % (sent, before, value, behind))
        if lower in CREDENTIALS:
            credentials.append((lower, value))
        said[lower] = value
    assert head.forwarded == b"".join(forwarded)
    assert head.credentials == credentials
    assert head.said.items() <= said.items()
    wanted = {b"host", b"content-length", b"content-type", b"anthropic-version", b"x-bf-session-id", b"upgrade"}
    assert head.said.keys() & wanted == said.keys() & wanted
    assert set(head.repeated) == {n for n in head.said if sum(name.lower() == n for name, *_ in fields) > 1}
    assert head.headers == [(name.lower(), value) for name, _, value, _ in fields]
    assert set(head.dimensions) == {n[len(b"x-bf-dim-") :].decode() for n in said if n.startswith(b"x-bf-dim-")}


@given(FIELDS)
def test_an_answers_head_is_what_going_through_every_field_tells(
    fields: list[tuple[bytes, bytes, bytes, bytes]],
) -> None:
    head = ResponseHead(response(fields))
    relayed = [
        b"%b:%b%b%b\r\n" % field
        for field in fields
        if (name := field[0].lower()) not in HOP_BY_HOP | OF_THE_ORIGIN | {b"content-length", b"proxy-authenticate"}
        and not name.startswith((b"x-asbru-", b"x-bifrost-"))
        and name not in named(fields)
    ]
    assert head.relayed == b"".join(relayed)
    said = {name.lower(): value for name, _, value, _ in fields}
    wanted = {b"content-length", b"content-type", b"request-id", b"x-request-id"}
    assert {n: head.said[n] for n in head.said.keys() & wanted} == {n: said[n] for n in said.keys() & wanted}


@given(FIELDS)
def test_pairs_are_what_the_parser_says(fields: list[tuple[bytes, bytes, bytes, bytes]]) -> None:
    """llhttp's callbacks as the reference; it keeps white space behind a value."""
    heard: list[tuple[bytes, bytes]] = []

    class Listener:
        def on_header(self, name: bytes, value: bytes) -> None:
            heard.append((name.lower(), value.rstrip()))

    raw = response([field for field in fields if field[0] not in (b"Content-Length", b"Upgrade", b"Connection")])
    httptools.HttpResponseParser(Listener()).feed_data(raw)
    assert pairs(raw) == heard


@given(FIELDS, FIELDS, st.integers(0, 10**9), st.binary(max_size=4))
def test_a_head_that_comes_again_is_known(
    fields: list[tuple[bytes, bytes, bytes, bytes]], others: list[tuple[bytes, bytes, bytes, bytes]], n: int, odd: bytes
) -> None:
    """Whatever is said to be the same is what reading it anew gives; and it is, when only the length differs."""

    def with_length(length: bytes) -> bytes:
        return request([*fields, (b"Content-Length", b" ", length, b""), (b"accept", b" ", b"*/*", b"")])

    first = RequestHead(with_length(b"7"))
    for raw in (with_length(b"%d" % n), with_length(odd.replace(b"\r", b"").replace(b"\n", b"")), request(others)):
        again = first.again(raw)
        if again is not None:
            fresh = RequestHead(raw)
            assert [getattr(again, name) for name in RequestHead.__slots__] == [
                getattr(fresh, name) for name in RequestHead.__slots__
            ]
    if not first.repeated:
        assert first.again(with_length(b"%d" % n)) is not None
    assert RequestHead(request(fields[:0])).again(request([])) is None


@pytest.mark.parametrize("name", [b"content-type", b"Content-Type"])
def test_what_is_said_instead_takes_the_upstreams_place(name: bytes) -> None:
    head = ResponseHead(response([(name, b" ", b"text/html", b""), (b"x-more", b" ", b"1", b"")]))
    head.say([(b"content-type", b"application/json")])
    assert head.relayed == b"x-more: 1\r\ncontent-type: application/json\r\n"
    assert ResponseHead.of([(b"x-more", b"1"), (b"te", b"x")]).relayed == lines([(b"x-more", b"1")])


# One provider's own rules


REQUEST = request(
    [
        (b"CF-Access-Client-Id", b" ", b"id", b""),
        (b"cf-ray", b" ", b"1", b""),
        (b"X-Stainless-Lang", b" ", b"js", b""),
        (b"x-api-key", b" ", b"sk", b""),
        (b"te", b" ", b"x", b""),
        (b"x-bf-vk", b" ", b"vk", b""),
        (b"traceparent", b" ", b"00", b""),
        (b"Connection", b" ", b"via", b""),
        (b"Via", b" ", b"1.1 a", b""),
    ]
)


@pytest.mark.parametrize(
    ("drop", "keep", "sent"),
    [
        ([], ["cf-access-client-id"], b"X-Stainless-Lang: js\r\ntraceparent: 00\r\nCF-Access-Client-Id: id\r\n"),
        (["X-Stainless-*", "traceparent"], ["CF-*"], b"CF-Access-Client-Id: id\r\ncf-ray: 1\r\n"),
        (["x-stainless-lang"], [], b"traceparent: 00\r\n"),
        ([], ["*"], b"X-Stainless-Lang: js\r\ntraceparent: 00\r\nCF-Access-Client-Id: id\r\ncf-ray: 1\r\n"),
    ],
)
def test_a_providers_rules_of_what_it_gets(drop: list[str], keep: list[str], sent: bytes) -> None:
    head = RequestHead(REQUEST)
    assert head.forwarded == b"X-Stainless-Lang: js\r\ntraceparent: 00\r\n"
    assert head.forwarded_by(FieldRules(drop, keep), head.forwarded) == sent


def test_a_providers_rules_of_what_clients_get() -> None:
    fields = [(name, b" ", b"1", b"") for name in (b"Set-Cookie", b"alt-svc", b"X-Own", b"date", b"keep-alive")]
    head = ResponseHead(response(fields))
    assert head.relayed == b"X-Own: 1\r\ndate: 1\r\n"
    head.apply(FieldRules(["x-own"], ["*"]))
    assert head.relayed == b"date: 1\r\nSet-Cookie: 1\r\nalt-svc: 1\r\n"
