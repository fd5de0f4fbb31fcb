from __future__ import annotations

import copy
import json
import pickle
import traceback
from hashlib import sha256

import msgspec
import pytest

from asbru.secrets import Secret, digest, new_virtual_key

VALUE = "sk-ant-api03-not-to-be-seen"


class Holder(msgspec.Struct):
    key: Secret


SHOWN = {
    "repr": lambda secret: repr(secret),
    "str": lambda secret: str(secret),
    "f-string": lambda secret: f"{secret}",
    "format with a width": lambda secret: f"{secret:>40}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
    "in a list": lambda secret: repr([secret]),
    "in a struct": lambda secret: repr(Holder(secret)),
    "json with default=str": lambda secret: json.dumps({"key": secret}, default=str),
    "msgspec with enc_hook=str": lambda secret: msgspec.json.encode(Holder(secret), enc_hook=str).decode(),
}


@pytest.mark.parametrize("how", SHOWN)
def test_a_secret_never_shows_itself(how: str) -> None:
    shown = SHOWN[how](Secret(VALUE))
    assert VALUE not in shown
    assert "***" in shown
    assert "env.KEY" in SHOWN[how](Secret(VALUE, "env.KEY"))


@pytest.mark.parametrize(
    "encode",
    [json.dumps, msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps, copy.deepcopy],
    ids=["json", "msgspec", "msgpack", "pickle", "deepcopy"],
)
def test_encoders_refuse_a_secret_without_showing_it(encode: object) -> None:
    assert callable(encode)
    with pytest.raises(TypeError) as caught:
        encode(Secret(VALUE))
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_nothing_but_reveal_holds_the_value() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("empty", ["", " ", "\n", b"", b"\t"])
def test_an_empty_secret_is_not_a_secret(empty: str | bytes) -> None:
    with pytest.raises(ValueError, match="empty"):
        Secret(empty)


def test_equality_is_of_values_between_secrets_only() -> None:
    assert Secret(VALUE) == Secret(VALUE, "env.KEY")
    assert hash(Secret(VALUE)) == hash(Secret(VALUE, "env.KEY"))
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != VALUE


@pytest.mark.parametrize("raw", [b"plain", bytes(range(0x80, 0x100)), "Schlüssel".encode()])
def test_bytes_of_a_header_go_out_as_they_came(raw: bytes) -> None:
    assert Secret(raw).reveal().encode("latin-1") == raw


def test_digest_is_sha256_in_hexadecimal() -> None:
    assert digest("sk-bf-é") == digest("sk-bf-é".encode()) == sha256("sk-bf-é".encode()).hexdigest()


def test_values_that_are_not_utf8_are_compared_and_digested() -> None:
    odd = b"key-\xff".decode("utf-8", "surrogateescape")  # as os.environ gives it
    assert Secret(odd) == Secret(odd)
    assert digest(odd) == digest(b"key-\xff")


def test_new_virtual_keys_are_256_bits_in_base62() -> None:
    keys = {new_virtual_key() for _ in range(200)}
    assert len(keys) == 200
    for key in keys:
        head, tail = key[:6], key[6:]
        assert head == "sk-bf-"
        assert len(tail) == 43
        assert tail.isalnum()
        assert tail.isascii()
    assert len({char for key in keys for char in key[6:]}) == 62
