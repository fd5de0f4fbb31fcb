"""Reading forms: the same parts however the bytes are cut, bounds kept, malformed forms refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asbru.sandbox.answers import ApiError
from asbru.sandbox.multipart import MAX_HEAD, MAX_PARTS, Form, boundary_of

BOUNDARY = b"b"

Parts = list[tuple[str, bytes]]


def encode(parts: Parts, before: bytes = b"", after: bytes = b"") -> bytes:
    body = before
    for name, content in parts:
        body += b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), content)
    return body + b"--b--" + after


def read(pieces: list[bytes], limit_bytes: int = 10_000) -> Parts:
    form = Form(BOUNDARY, limit_bytes)
    for piece in pieces:
        form.feed(piece)
    form.close()
    return [(part.name, bytes(part.content)) for part in form.parts]


# Contents made of what boundaries are made of, so that almost-boundaries are common.
CONTENTS = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"--", b"-", b"x", b"\r\n-", b"\r\n--"]), max_size=8).map(
    b"".join
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["file", "a"]), CONTENTS), max_size=4),
    st.data(),
    st.sampled_from([b"", b"preamble\r\n"]),
    st.sampled_from([b"", b"\r\n", b"\r\nepilogue --b"]),
)
def test_any_split_of_the_input_gives_the_same_parts(
    parts: Parts, data: st.DataObject, before: bytes, after: bytes
) -> None:
    body = encode(parts, before, after)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert read([body]) == read(pieces) == read([bytes([byte]) for byte in body]) == parts


def test_parts_have_their_headers() -> None:
    form = Form(BOUNDARY, 100)
    form.feed(
        b'--b  \r\ncontent-disposition: form-data; name="file"; filename="\xc3\xa4.txt"\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\nX-Other: 1\r\n\r\nabc\r\n--b--"
    )
    form.close()
    part = form.part("file")
    assert part is not None
    assert (part.filename, part.content_type, bytes(part.content)) == ("ä.txt", "text/plain", b"abc")
    assert form.part("other") is None


def test_encoded_filenames_are_decoded() -> None:
    form = Form(BOUNDARY, 100)
    form.feed(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename*=utf-8''%e2%82%ac.txt\r\n\r\n\r\n--b--")
    assert form.parts[0].filename == "€.txt"


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_contents_up_to_the_limit_are_kept(size: int) -> None:
    assert read([encode([("file", b"x" * size)])], limit_bytes=100) == [("file", b"x" * size)]


def test_contents_over_the_limit_are_refused_early() -> None:
    form = Form(BOUNDARY, 100)
    form.feed(b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n')
    with pytest.raises(ApiError) as refused:
        for _ in range(20):
            form.feed(b"x" * 10)
    assert refused.value.status == 413
    with pytest.raises(ApiError):
        read([encode([("a", b"x" * 60), ("b", b"x" * 60)])], limit_bytes=100)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "incomplete"),
        (b"no boundary at all", "incomplete"),
        (encode([("file", b"x")])[:-2], "incomplete"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", "no name"),
        (b"--b\r\n\r\nx\r\n--b--", "no name"),
        (b'--bother\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--', "malformed"),
        (b"--b\r\n" + b"X: y\r\n" * MAX_HEAD, "too long"),
        (encode([("a", b"")] * (MAX_PARTS + 1)), "too many parts"),
    ],
)
def test_malformed_forms_are_refused(body: bytes, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        read([body])
    with pytest.raises(ApiError, match=words):
        read([bytes([byte]) for byte in body])


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        ("multipart/form-data", None),
        ("multipart/mixed; boundary=abc", None),
        ("application/json", None),
        ("", None),
        ("multipart/form-data; boundary=" + "x" * 300, None),
    ],
)
def test_boundaries(content_type: str, boundary: bytes | None) -> None:
    if boundary is None:
        with pytest.raises(ApiError):
            boundary_of(content_type)
    else:
        assert boundary_of(content_type) == boundary
