"""The table of routes: what is found, under every prefix, and what must never be taken for something else."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asbru.errors import GatewayError
from asbru.server.routes import PREFIXES, Match, find, match

FOUND: list[tuple[str, bytes, str, str]] = [
    ("POST", b"/v1/messages", "messages", ""),
    ("POST", b"/v1/messages/count_tokens", "count_tokens", ""),
    ("POST", b"/v1/messages/batches", "batches", ""),
    ("GET", b"/v1/messages/batches", "batches", ""),
    ("HEAD", b"/v1/messages/batches", "batches", ""),
    ("GET", b"/v1/messages/batches/msgbatch_1", "batch", "msgbatch_1"),
    ("DELETE", b"/v1/messages/batches/msgbatch_1", "batch", "msgbatch_1"),
    ("POST", b"/v1/messages/batches/msgbatch_1/cancel", "batch_cancel", "msgbatch_1"),
    ("GET", b"/v1/messages/batches/msgbatch_1/results", "batch_results", "msgbatch_1"),
    ("GET", b"/v1/messages/batches/a%20b%C3%A9", "batch", "a bé"),
    ("GET", b"/v1/models", "models", ""),
    ("GET", b"/v1/models/claude-x", "model", "claude-x"),
    ("GET", b"/v1/models/anthropic/claude-x", "model", "anthropic/claude-x"),
    ("GET", b"/v1/models/anthropic%2Fclaude-x", "model", "anthropic/claude-x"),
    ("GET", b"/v1/models/a/v1/models/b", "model", "a/v1/models/b"),
    ("GET", b"/v1/models/us.anthropic.claude-3:0", "model", "us.anthropic.claude-3:0"),
    ("POST", b"/v1/files", "files", ""),
    ("GET", b"/v1/files", "files", ""),
    ("GET", b"/v1/files/file_1", "file", "file_1"),
    ("DELETE", b"/v1/files/file_1", "file", "file_1"),
    ("GET", b"/v1/files/file_1/content", "file_content", "file_1"),
    ("HEAD", b"/v1/files/file_1/content", "file_content", "file_1"),
    ("POST", b"/v1/complete", "complete", ""),
    ("HEAD", b"/api/hello", "hello", ""),
    ("GET", b"/api/hello", "hello", ""),
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("method", "path", "name", "id"), FOUND)
@pytest.mark.parametrize("slash", [b"", b"/"])
def test_every_route_is_found_under_every_prefix(
    prefix: bytes, method: str, path: bytes, name: str, id: str, slash: bytes
) -> None:
    found = match(method, prefix + path + slash)
    assert (found.route.name, found.path, found.id) == (name, path, id)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("method", "path", "name", "id"), [row for row in FOUND if row[1].startswith(b"/v1/")])
@pytest.mark.parametrize("version", [b"", b"/v1/v1"])
def test_a_version_that_is_missing_or_repeated_is_understood(
    prefix: bytes, method: str, path: bytes, name: str, id: str, version: bytes
) -> None:
    found = match(method, prefix + version + path.removeprefix(b"/v1"))
    assert (found.route.name, found.path, found.id) == (name, path, id)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("slash", [b"", b"/"])
def test_the_root_is_found_under_every_prefix(prefix: bytes, slash: bytes) -> None:
    assert match("HEAD", prefix + slash or b"/").route.name == "root"


@pytest.mark.parametrize("path", [b"/health", b"/health/live", b"/health/ready", b"/health/"])
def test_health_is_at_the_root_only(path: bytes) -> None:
    assert match("GET", path).route.name.startswith("health")
    assert find(b"/anthropic" + path) is None


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("rest", [b"chat", b"chat/", b"a/b/c", b"cursor~x", b"counter", b"v1", b"x.y"])
def test_any_other_path_under_messages_is_a_message(prefix: bytes, rest: bytes) -> None:
    found = match("POST", prefix + b"/v1/messages/" + rest)
    assert found == Match(found.route, b"/v1/messages", "")
    assert found.route.name == "messages"


UNKNOWN: list[bytes] = [
    b"//",
    b"//v1/messages",
    b"/v1//messages",
    b"/v1/messages//",
    b"/v1/messages//count_tokens",
    b"/v1/messages/x//count_tokens",
    b"/v1/messages/count%5Ftokens",
    b"/v1/messages/%63ount_tokens",
    b"/v1/messages/Count_Tokens",
    b"/v1/messages/count-tokens",
    b"/v1/messages/countTokens",
    b"/v1/messages/count_tokens_beta",
    b"/v1/messages/foo/count_tokens",
    b"/v1/messages/foo/count_tokens/",
    b"/v1/messages/foo/bar/Count-Tokens",
    b"/v1/messages/foo/countTokens/x",
    b"/v1/messages/foo/count%5Ftokens",
    b"/v1/messages/foo/count_tokens;v=1",
    b"/v1/messages/foo;count_tokens",
    b"/v1/messages/count_tokens;v=1",
    b"/v1/messages/;count_tokens",
    b"/v1/messages/count/tokens",
    b"/v1/messages/x.count_tokens",
    b"/v1/messages/v1/messages/count_tokens",
    b"/v1/messages/foo/batches",
    b"/v1/messages/foo/batches/",
    b"/v1/messages/foo/BATCHES/msgbatch_1/cancel",
    b"/v1/messages/message_batches",
    b"/v1/messages/v1/messages/batches",
    b"/v1/messages/msgbatch_1/cancel",
    b"/v1/messages/foo/cancel",
    b"/v1/messages/foo/Results",
    b"/v1/messages/v1/complete",
    b"/v1/messages/v1/models",
    b"/v1/messages/files/file_1/content",
    b"/v1/messages/foo;x=1",
    b"/v1/messages/;",
    b"/v1/messages/count\xe2\x80\x8b_tokens",
    b"/v1/messages/foo/\xef\xbd\x83ount_tokens",
    b"/v1/messages/count_tokens/x",
    b"/v1/messages/count_tokens//",
    b"/v1/messages/./count_tokens",
    b"/v1/messages/x/../count_tokens",
    b"/v1/messages/../messages/count_tokens",
    b"/v1/messages/%2e%2e/models",
    b"/v1/messages/..",
    b"/v1/messages/.",
    b"/v1/messages/...",
    b"/v1/messages/Batches",
    b"/v1/messages/batches//",
    b"/v1/messages/batches//cancel",
    b"/v1/messages/batches/x/unknown",
    b"/v1/messages/batches/x/cancel/y",
    b"/v1/messages/batches/x//results",
    b"/v1/messages/batches/..",
    b"/v1/messages/batches/%2e%2e",
    b"/v1/messages/batches/x%2Fcancel",
    b"/v1/messages/batches/x%5Cy",
    b"/v1/messages/batches/x%00",
    b"/v1/messages/batches/x%0d%0ay",
    b"/v1/messages/batches/%FF",
    b"/v1/messages%2Fcount_tokens",
    b"/v1%2Fmessages",
    b"/%761/messages",
    b"/V1/messages",
    b"/v1/Messages",
    b"/v1/message",
    b"/v1/messagesx",
    b"/v1/messages#x",
    b"/v1/models//x",
    b"/v1/models/../files",
    b"/v1/models/a/../b",
    b"/v1/models/a/%2e%2e/b",
    b"/v1/models/a/%2E",
    b"/v1/models/a%2F..%2Fb",
    b"/v1/models/a%0Ab",
    b"/v1/files/x/contents",
    b"/v1/files/x/content/y",
    b"/v1/files/x%2Fcontent",
    b"/v1/complete/x",
    b"/v1/",
    b"/v1",
    b"/anthropic/anthropic/v1/messages",
    b"/anthropicv1/messages",
    b"/Anthropic/v1/messages",
    b"/openai/v1/messages",
    b"/anthropic//v1/messages",
    b"/./v1/messages",
    b"/anthropic/../v1/messages",
    b"/api/hello/x",
    b"/api",
    b"/health/x",
    b"*",
]


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_other_paths_are_not_found(path: bytes, method: str) -> None:
    with pytest.raises(GatewayError) as caught:
        match(method, path)
    assert caught.value.kind == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", b"/v1/messages", b"POST, OPTIONS"),
        ("GET", b"/v1/messages/anything", b"POST, OPTIONS"),
        ("PUT", b"/cursor/v1/messages/anything", b"POST, OPTIONS"),
        ("GET", b"/v1/messages/count_tokens", b"POST, OPTIONS"),
        ("DELETE", b"/v1/messages/batches", b"GET, HEAD, POST, OPTIONS"),
        ("POST", b"/v1/messages/batches/x", b"GET, HEAD, DELETE, OPTIONS"),
        ("GET", b"/v1/messages/batches/x/cancel", b"POST, OPTIONS"),
        ("POST", b"/v1/messages/batches/x/results", b"GET, HEAD, OPTIONS"),
        ("POST", b"/v1/models", b"GET, HEAD, OPTIONS"),
        ("DELETE", b"/v1/models/x", b"GET, HEAD, OPTIONS"),
        ("PATCH", b"/v1/files/x", b"GET, HEAD, DELETE, OPTIONS"),
        ("HEAD", b"/v1/complete", b"POST, OPTIONS"),
        ("POST", b"/", b"GET, HEAD, OPTIONS"),
        ("POST", b"/health", b"GET, HEAD, OPTIONS"),
    ],
)
def test_a_method_that_is_not_allowed_says_which_are(method: str, path: bytes, allow: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        match(method, path)
    assert caught.value.kind == "method_not_allowed"
    assert caught.value.headers == [(b"allow", allow)]


def test_limits_stand_in_the_table() -> None:
    limits = {
        match(method, path).route.name: match(method, path).route.limit
        for method, path, *_ in FOUND
        if method == "POST"
    }
    assert limits == {
        "messages": "body",
        "count_tokens": "body",
        "complete": "body",
        "batches": "batch",
        "batch_cancel": "none",
        "files": "file",
    }


SEGMENTS = st.sampled_from(
    [
        "v1",
        "messages",
        "count_tokens",
        "Count_Tokens",
        "batches",
        "x",
        "",
        ".",
        "..",
        "%2e",
        "count%5ftokens",
        "%62atches",
        "anthropic",
        "cursor",
        "litellm",
        "models",
        "files",
        "cancel",
        "results",
        "%2F",
        "count-tokens",
        "a%2fcount_tokens",
    ]
)


@given(
    st.one_of(
        st.lists(SEGMENTS, max_size=7).map(lambda parts: "/" + "/".join(parts)),
        st.tuples(st.sampled_from(PREFIXES), st.lists(SEGMENTS, max_size=4)).map(
            lambda parts: parts[0].decode() + "/v1/messages/" + "/".join(parts[1])
        ),
        st.tuples(st.sampled_from(PREFIXES), st.lists(SEGMENTS, max_size=4)).map(
            lambda parts: parts[0].decode() + "/messages/" + "/".join(parts[1])
        ),
        st.text(alphabet="/v1mesagcount_k%2Fbh.x", max_size=40).map(lambda text: "/v1/messages/" + text),
    )
)
@example("/v1/messages/count_tokens")
@example("/v1/messages")
def test_what_may_have_been_meant_for_another_resource_is_never_a_message(path: str) -> None:
    """However generously a path is read (decoded, slashes merged, dots resolved, case ignored)."""
    found = find(path.encode())
    if found is None or found.route.name != "messages":
        return
    read = re.sub("[-_]", "", unquote(unquote(path)).lower())
    inside = [segment for segment in re.split("[/;]", read.split("/messages", 1)[1]) if segment]
    assert not any(segment.startswith(("counttokens", "batch")) for segment in inside)
    assert "//" not in path and not {".", ".."} & set(unquote(path).split("/"))
    assert found.path == b"/v1/messages"


@given(st.text(min_size=1, max_size=30))
def test_an_id_is_what_was_encoded(text: str) -> None:
    for resource, name in (("models", "model"), ("files", "file"), ("messages/batches", "batch")):
        path = f"/v1/{resource}/{quote(text, safe='')}".encode()
        found = find(path)
        if found is not None:
            assert (found.route.name, found.id, found.path) == (name, text, path)
        else:
            assert not text.isprintable() or "\\" in text or "/" in text or not text.strip(".")


# What a client reads


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", b"/v1/message", "Not found: POST /v1/message. Did you mean /v1/messages?"),
        ("POST", b"/cursor/v1/mesages", "Not found: POST /cursor/v1/mesages. Did you mean /cursor/v1/messages?"),
        ("GET", b"/v1/model", "Not found: GET /v1/model. Did you mean /v1/models?"),
        ("GET", b"/helth", "Not found: GET /helth. Did you mean /health?"),
        ("GET", b"/favicon.ico", "Not found: GET /favicon.ico."),
        ("GET", b"/\xff\x00%0d", "Not found: GET /\ufffd?%0d."),
        (
            "POST",
            b"/v1/chat/completions",
            "Not found: POST /v1/chat/completions. This gateway speaks the Anthropic Messages API: POST /v1/messages",
        ),
        ("GET", b"/v1/messages", "GET is not allowed here; use POST"),
        ("PUT", b"/v1/files", "PUT is not allowed here; use GET or HEAD or POST"),
    ],
)
def test_an_error_names_the_mistake_and_the_remedy(method: str, path: bytes, message: str) -> None:
    with pytest.raises(GatewayError) as caught:
        match(method, path)
    assert caught.value.message == message


def test_a_long_path_is_cut() -> None:
    with pytest.raises(GatewayError) as caught:
        match("GET", b"/" + b"x" * 10_000)
    assert len(caught.value.message) < 150
