"""Gateway credentials inside something else are found, whatever the wrapping; other keys never are."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.config import Auth, Config, VirtualKey
from asbru.errors import GatewayError
from asbru.policy.auth import Authenticator
from asbru.policy.wrapped import WrappedCredentials
from asbru.secrets import Secret, digest

TEAM = "sk-bf-" + "Tt0" * 14
MASTER = "operator-token_of.some/length+1"
ODD = "made-up-without-prefix"
DIRECT = "sk-ant-api03-" + "aB3_-" * 19
CREDENTIALS = [TEAM, MASTER, ODD]
ZERO_WIDTH = "\u200b"


def found(value: str | bytes) -> bool:
    digests = [bytes.fromhex(digest(each)) for each in CREDENTIALS]
    data = value.encode() if isinstance(value, str) else value
    return WrappedCredentials([TEAM, MASTER, ODD], digests).within(data)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WRAPPINGS: dict[str, Callable[[str], str]] = {
    "plain, in another header": lambda key: key,
    "double quotes": lambda key: f'"{key}"',
    "single quotes": lambda key: f"'{key}'",
    "one quote": lambda key: f'{key}"',
    "typographic quotes": lambda key: f"“{key}”",
    "back-ticks": lambda key: f"`{key}`",
    "brackets": lambda key: f"<{key}>",
    "shell": lambda key: f"$({key})",
    "bearer": lambda key: f"Bearer {key}",
    "bearer twice": lambda key: f"Bearer Bearer {key}",
    "bearer and quotes": lambda key: f'bearer "{key}"',
    "bearer without blank": lambda key: f"Bearer{key}",
    "bearer, colon": lambda key: f"Bearer: {key}",
    "basic": lambda key: f"Basic {encoded(key)}",
    "basic, user": lambda key: f"Basic {encoded(key + ':')}",
    "basic, password": lambda key: f"Basic {encoded('user:' + key)}",
    "basic, plain": lambda key: f"Basic {key}",
    "base64": encoded,
    "base64 of bearer": lambda key: encoded(f"Bearer {key}"),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(f"??{key}".encode()).decode(),
    "base64 of base64": lambda key: encoded(encoded(key)),
    "hexadecimal": lambda key: key.encode().hex(),
    "assignment": lambda key: f"key={key}",
    "shell assignment": lambda key: f"ASBRU_KEY='{key}'",
    "header in a header": lambda key: f"x-api-key: {key}",
    "JSON": lambda key: f'{{"key": "{key}"}}',
    "list": lambda key: f"{key}, {key}",
    "behind another key": lambda key: f"{DIRECT} {key}",
    "newline escaped": lambda key: f"{key}\\n",
    "BOM": lambda key: f"\ufeff{key}",
    "zero width before": lambda key: f"{ZERO_WIDTH}{key}",
    "zero width behind": lambda key: f"{key}{ZERO_WIDTH}",
    "zero width inside": lambda key: f"{key[:3]}{ZERO_WIDTH}{key[3:]}",
    "no-break space": lambda key: f"\u00a0{key}\u00a0",
    "soft hyphen": lambda key: f"{key[:1]}\u00ad{key[1:]}",
    "blank inside": lambda key: f"{key[:2]} {key[2:]}",
    "typographic hyphens": lambda key: key.replace("-", "\u2011"),
    "dashes": lambda key: key.replace("-", "\u2013"),
    "full width": lambda key: "".join(chr(ord(char) + 0xFEE0) for char in key),
    "percent-encoded": lambda key: "".join(f"%{ord(char):02x}" for char in key),
    "percent-encoded hyphens": lambda key: key.replace("-", "%2D").replace("_", "%5F"),
    "twice percent-encoded": lambda key: key.replace("-", "%252D").replace("_", "%255F").replace("/", "%252f"),
    "JSON escapes": lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    "upper case and a quote": lambda key: f"'{key.upper()}",
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("key", CREDENTIALS, ids=["virtual key", "master key", "virtual key without prefix"])
def test_a_gateway_credential_is_found_in_every_wrapping(wrapping: str, key: str) -> None:
    assert found(WRAPPINGS[wrapping](key))


def test_latin_1_bytes_around_a_key() -> None:
    assert found(b"\xa0" + TEAM.encode())
    assert found(b"\xefsk-bf-\xa0x")
    assert found(f"\ufeff{TEAM}".encode("utf-16-le").replace(b"\0", b""))


@pytest.mark.parametrize(
    "value",
    [
        DIRECT,
        "sk-ant-oat01-" + "x" * 80,
        "sk-proj-" + "x" * 150,
        "AIzaSy" + "x" * 33,
        "dummy",
        "none",
        "x",
        "operator",
        "made-up",
        "Basic " + encoded("user:password"),
        "eyJhbGciOiJSUzI1NiJ9." + encoded('{"iss": "https://issuer.example", "scope": "sk bf"}') + ".c2ln",
        "schlüssel",
        "%",
        "%zz",
        "\\u00",
        "=" * 100,
    ],
)
def test_other_keys_are_no_gateway_credentials(value: str) -> None:
    assert not found(value)


@given(st.binary(max_size=200))
def test_random_values_are_read_without_a_fault(value: bytes) -> None:
    assert found(value) == (b"sk-bf-" in value.lower().replace(b"_", b"-")) or found(value)


def test_random_keys_are_not_mistaken() -> None:
    assert not any(found("sk-ant-api03-" + secrets.token_urlsafe(72)) for _ in range(300))


@pytest.mark.parametrize(
    "value", [b"a b " * 16_000, b"YWJjZGVmZ2g " * 5_000, b"%61" * 20_000, b"\\u0061" * 10_000, b"A" * 64_000]
)
def test_the_work_is_bounded(value: bytes) -> None:
    gate = WrappedCredentials([MASTER], [bytes.fromhex(digest(MASTER))])
    forms: list[str] = []
    holds = WrappedCredentials._holds_secret

    class Counting(WrappedCredentials):
        def _holds_secret(self, text: str) -> bool:
            forms.append(text)
            return holds(self, text)

    assert not gate.within(value)
    assert not Counting([MASTER], [bytes.fromhex(digest(MASTER))]).within(value)
    assert len(forms) <= 12
    assert sum(map(len, forms)) <= 12 * len(value)


# In requests


def gate(*, required: bool, direct: bool) -> Authenticator:
    keys = (VirtualKey(name="team", value=Secret(TEAM)), VirtualKey(name="odd", digest=digest(ODD)))
    auth = Auth(required=required, allow_direct_keys=direct, master_key=Secret(MASTER))
    return Authenticator(Config(auth=auth, virtual_keys=keys))


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-bf-vk"])
@pytest.mark.parametrize("wrapping", [name for name in WRAPPINGS if not name.startswith("plain")])
def test_a_wrapped_credential_is_refused_with_a_hint_also_beside_a_good_one(header: str, wrapping: str) -> None:
    for key in (TEAM, MASTER):
        wrapped = (header.encode(), WRAPPINGS[wrapping](key).encode())
        for beside in ([], [(b"x-api-key", TEAM.encode())], [(b"authorization", b"Bearer " + MASTER.encode())]):
            for required, direct in ((True, True), (True, False), (False, True), (False, False)):
                if header == "authorization" and wrapping in ("bearer", "bearer without blank"):
                    continue  # the usual form
                with pytest.raises(GatewayError) as caught:
                    gate(required=required, direct=direct).identify([*beside, wrapped], 0)
                assert caught.value.row.status == 401
                assert header in caught.value.message or caught.value.message == "Unknown virtual key"
                assert key not in caught.value.message


def test_a_configured_digest_is_a_virtual_key_in_every_header() -> None:
    for header in ("x-bf-vk", "x-api-key", "api-key", "x-goog-api-key"):
        assert gate(required=True, direct=True).identify([(header.encode(), ODD.encode())], 0).name == "odd"
