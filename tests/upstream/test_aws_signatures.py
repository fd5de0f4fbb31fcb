"""AWS signatures: against AWS's published examples, and against botocore's own signer for anything else."""

from __future__ import annotations

from calendar import timegm
from time import strptime
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from asbru.upstream.aws import Keys, sign

EXAMPLE = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
EXAMPLE_TIME = "20150830T123600Z"


def seconds(stamp: str) -> float:
    return timegm(strptime(stamp, "%Y%m%dT%H%M%SZ"))


def fields(lines: bytes) -> dict[str, str]:
    assert lines.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in lines.decode().removesuffix("\r\n").split("\r\n"))


# From the Signature Version 4 test suite that AWS publishes: those whose signed headers are ours.
@pytest.mark.parametrize(
    ("method", "target", "signature"),
    [
        (b"GET", b"/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (b"POST", b"/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            b"GET",
            b"/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (b"GET", b"/?Param1=value1", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
    ],
    ids=["get-vanilla", "post-vanilla", "get-vanilla-query-order-key-case", "get-vanilla-query"],
)
def test_published_examples(method: bytes, target: bytes, signature: str) -> None:
    lines = sign(EXAMPLE, "us-east-1", "service", method, b"example.amazonaws.com", target, b"", seconds(EXAMPLE_TIME))
    assert fields(lines) == {
        "x-amz-date": EXAMPLE_TIME,
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}",
    }


visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
segments = st.text(max_size=30).map(lambda text: quote(text, safe="")).filter(lambda part: part not in (".", "..", ""))
pairs = st.tuples(st.text(min_size=1, max_size=10), st.text(max_size=10))


@given(
    keys=st.builds(Keys, visible, visible, st.none() | visible),
    method=st.sampled_from(["GET", "POST"]),
    path=st.lists(segments, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    query=st.lists(pairs, max_size=3).map(
        lambda all: "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in all)
    ),
    body=st.binary(max_size=200),
)
def test_as_botocore_signs(keys: Keys, method: str, path: str, query: str, body: bytes) -> None:
    target = f"{path}?{query}" if query else path
    request = AWSRequest(method=method, url=f"https://bedrock-runtime.eu-west-1.amazonaws.com{target}", data=body)
    SigV4Auth(Credentials(*keys), "bedrock", "eu-west-1").add_auth(request)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    host = urlsplit(request.url).netloc.encode()
    ours = sign(
        keys, "eu-west-1", "bedrock", method.encode(), host, target.encode(), body, seconds(theirs["x-amz-date"])
    )
    assert fields(ours) == theirs


def test_a_model_that_is_an_arn_is_encoded_twice() -> None:
    """Once as it is sent, once more as it is signed: the rule for every service but S3."""
    target = b"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x-v1%3A0/converse"
    request = AWSRequest(method="POST", url="https://b.amazonaws.com" + target.decode(), data=b"{}")
    SigV4Auth(Credentials(*EXAMPLE), "bedrock", "us-east-1").add_auth(request)
    stamp = request.headers["X-Amz-Date"]
    ours = sign(EXAMPLE, "us-east-1", "bedrock", b"POST", b"b.amazonaws.com", target, b"{}", seconds(stamp))
    assert fields(ours)["authorization"] == request.headers["Authorization"]


def test_keys_do_not_show_themselves() -> None:
    assert "wJalr" not in repr(EXAMPLE) + str(EXAMPLE) + f"{EXAMPLE}"
