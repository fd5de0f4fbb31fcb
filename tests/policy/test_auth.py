"""Every credential in every header, alone and in company, on gateways of every kind (contract/gateway.md §2)."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.config import Auth, Config, KeyProvider, VirtualKey
from asbru.errors import GatewayError
from asbru.headers import CREDENTIALS
from asbru.policy.auth import CREDENTIAL_HEADERS, Authenticator, Principal
from asbru.secrets import Secret, digest, new_virtual_key

NOW = 1_800_000_000.0
TEAM = "sk-bf-" + "T" * 43
OTHER = "SK-BF-" + "o" * 43
ODD = "made-up-without-prefix"
MASTER = "operator-token"
DIRECT = "sk-ant-api03-own"
OAUTH = "sk-ant-oat01-own"

HEADERS = ["x-bf-vk", "authorization", "x-api-key", "api-key", "x-goog-api-key"]
DIRECT_HEADERS = HEADERS[1:]


def gateway(
    *, required: bool | None = None, direct: bool = False, keys: bool = True, master: bool = True
) -> Authenticator:
    virtual_keys = (
        VirtualKey(name="team", value=Secret(TEAM)),
        VirtualKey(name="other", digest=digest(OTHER)),
        VirtualKey(name="odd", value=Secret(ODD)),
        VirtualKey(name="off", value=Secret("sk-bf-off"), active=False),
        VirtualKey(name="old", value=Secret("sk-bf-old"), expires_at="2027-01-15T09:00:00+01:00"),
    )
    auth = Auth(required=required, allow_direct_keys=direct, master_key=Secret(MASTER) if master else None)
    return Authenticator(Config(auth=auth, virtual_keys=virtual_keys if keys else ()))


def sent(**values: str) -> list[tuple[bytes, bytes]]:
    """``x_api_key="…"`` as the header it stands for, among headers that do not matter; Authorization as Bearer."""
    credentials = [
        (name.replace("_", "-").encode(), ("Bearer " + value if name == "authorization" else value).encode())
        for name, value in values.items()
    ]
    return [(b"host", b"here"), (b"anthropic-version", b"2023-06-01"), *credentials, (b"x-api-key-not", TEAM.encode())]


def in_header(header: str, value: str) -> list[tuple[bytes, bytes]]:
    return sent(**{header.replace("-", "_"): value})


def refused(gate: Authenticator, headers: list[tuple[bytes, bytes]], now: float = NOW) -> str:
    with pytest.raises(GatewayError) as caught:
        gate.identify(headers, now)
    for value in (TEAM, OTHER, ODD, MASTER, DIRECT, OAUTH):
        assert value not in caught.value.message
    return caught.value.kind


def facts(principal: Principal) -> tuple[str, str, str | None]:
    return principal.kind, principal.name, principal.direct.reveal() if principal.direct is not None else None


# One credential: header x kind of value x kind of gateway


@pytest.mark.parametrize(("header", "required", "direct"), [*product(HEADERS, [True, False, None], [True, False])])
def test_a_virtual_key_counts_in_every_header(header: str, required: bool | None, direct: bool) -> None:
    gate = gateway(required=required, direct=direct)
    for value, name in ((TEAM, "team"), (OTHER, "other")):
        principal = gate.identify(in_header(header, value), NOW)
        assert facts(principal) == ("virtual_key", name, None)
        assert principal.key is not None
        assert principal.key.name == name
        assert principal.gateway_keys


@pytest.mark.parametrize(("header", "required", "direct"), [*product(HEADERS, [True, False], [True, False])])
@pytest.mark.parametrize("value", ["sk-bf-unknown", "Sk-Bf-Unknown", "sk-bf-", TEAM + "x", TEAM.upper()])
def test_what_looks_like_a_virtual_key_is_never_taken_for_anything_else(
    header: str, required: bool, direct: bool, value: str
) -> None:
    assert refused(gateway(required=required, direct=direct), in_header(header, value)) == "virtual_key_not_found"


@pytest.mark.parametrize("required", [True, False])
def test_any_value_in_x_bf_vk_is_a_virtual_key(required: bool) -> None:
    gate = gateway(required=required, direct=True)
    assert gate.identify(sent(x_bf_vk=ODD), NOW).name == "odd"
    for value in (MASTER, DIRECT, "Bearer " + TEAM):
        assert refused(gate, sent(x_bf_vk=value)) == "virtual_key_not_found"
    assert gate.identify(sent(x_api_key=ODD), NOW).name == "odd"  # its digest is configured, whatever the header


@pytest.mark.parametrize(("header", "required", "direct"), [*product(DIRECT_HEADERS, [True, False], [True, False])])
def test_the_operator_s_token_counts_in_every_header_but_x_bf_vk(header: str, required: bool, direct: bool) -> None:
    gate = gateway(required=required, direct=direct)
    principal = gate.identify(in_header(header, MASTER), NOW)
    assert facts(principal) == ("operator", "operator", None)
    assert principal.gateway_keys
    without = gateway(required=required, direct=False, master=False)
    if required:
        assert refused(without, in_header(header, MASTER)) == "virtual_key_required"
    else:
        assert without.identify(in_header(header, MASTER), NOW).kind == "anonymous"


@pytest.mark.parametrize(("header", "value"), [*product(DIRECT_HEADERS, [DIRECT, OAUTH, "x", "schlüssel"])])
def test_a_direct_key_by_the_kind_of_gateway(header: str, value: str) -> None:
    headers = in_header(header, value)
    assert refused(gateway(required=True, direct=False), headers) == "virtual_key_required"
    assert facts(gateway(required=False, direct=False).identify(headers, NOW)) == ("anonymous", "anonymous", None)
    for required in (True, False):
        principal = gateway(required=required, direct=True).identify(headers, NOW)
        assert (principal.kind, principal.name) == ("direct", "direct")
        assert principal.direct is not None
        assert principal.direct.reveal().encode("latin-1") == value.encode()
        assert principal.direct_header == ("authorization" if header == "authorization" else "x-api-key")
        assert principal.gateway_keys is not required
        assert value not in repr(principal) or value == "x"


@pytest.mark.parametrize("direct", [True, False])
def test_no_credential(direct: bool) -> None:
    assert refused(gateway(required=True, direct=direct), sent()) == "virtual_key_required"
    assert facts(gateway(required=False, direct=direct).identify(sent(), NOW)) == ("anonymous", "anonymous", None)
    assert facts(gateway(required=False, direct=direct).identify([], NOW)) == ("anonymous", "anonymous", None)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Basic dXNlcjpwYXNz")],
        [(b"authorization", DIRECT.encode())],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer   ")],
        [(b"authorization", b"")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b" \t")],
        [(b"x-bf-vk", b"")],
        [(b"cookie", b"x-api-key=" + TEAM.encode())],
        [(b"x-bf-api-key", TEAM.encode())],
    ],
)
def test_what_is_no_credential(headers: list[tuple[bytes, bytes]]) -> None:
    assert refused(gateway(direct=True), headers) == "virtual_key_required"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  ", "Bearer \t"])
def test_the_scheme_has_no_case_and_spaces_do_not_count(scheme: str) -> None:
    headers = [(b"authorization", f"{scheme}{TEAM} ".encode())]
    assert gateway().identify(headers, NOW).name == "team"


# auth.required


@pytest.mark.parametrize(
    ("required", "keys", "master", "expected"),
    [
        (None, False, False, False),
        (None, True, False, True),
        (None, False, True, True),
        (None, True, True, True),
        (False, True, True, False),
        (True, False, False, True),
    ],
)
def test_required_defaults_to_whether_there_is_anything_to_require(
    required: bool | None, keys: bool, master: bool, expected: bool
) -> None:
    gate = gateway(required=required, keys=keys, master=master)
    assert gate.required is expected
    if expected:
        assert refused(gate, sent()) == "virtual_key_required"
    else:
        assert gate.identify(sent(), NOW).kind == "anonymous"


# Keys that are known but not good


def test_a_disabled_key_is_blocked() -> None:
    assert refused(gateway(), sent(x_bf_vk="sk-bf-off")) == "virtual_key_blocked"
    assert refused(gateway(required=False), sent(authorization="sk-bf-off")) == "virtual_key_blocked"


def test_a_key_is_good_until_the_moment_it_expires() -> None:
    gate, expiry = gateway(), 1_800_000_000.0  # 2027-01-15T08:00:00Z
    assert gate.identify(sent(x_api_key="sk-bf-old"), expiry - 0.001).name == "old"
    assert refused(gate, sent(x_api_key="sk-bf-old"), expiry) == "virtual_key_blocked"
    assert refused(gate, sent(x_api_key="sk-bf-old"), expiry + 1e6) == "virtual_key_blocked"


# Several credentials


@pytest.mark.parametrize(("first", "second"), [pair for pair in product(HEADERS, HEADERS) if pair[0] != pair[1]])
def test_pairs_of_virtual_keys(first: str, second: str) -> None:
    both = in_header(first, TEAM) + in_header(second, TEAM)
    assert gateway().identify(both, NOW).name == "team"
    for value in (OTHER, "sk-bf-unknown"):
        two = in_header(first, TEAM) + in_header(second, value)
        assert refused(gateway(), two) == "invalid_request"
        assert refused(gateway(required=False), two) == "invalid_request"


def test_one_header_twice_with_two_virtual_keys() -> None:
    assert refused(gateway(), sent(x_bf_vk=TEAM) + sent(x_bf_vk=OTHER)) == "invalid_request"


@pytest.mark.parametrize(("header", "direct"), [*product(DIRECT_HEADERS, [True, False])])
def test_a_virtual_key_goes_before_the_operator_and_beside_a_direct_key(header: str, direct: bool) -> None:
    gate = gateway(direct=direct)
    assert facts(gate.identify(in_header(header, MASTER) + sent(x_bf_vk=TEAM), NOW)) == ("virtual_key", "team", None)
    principal = gate.identify(in_header(header, OAUTH) + sent(x_bf_vk=TEAM), NOW)
    assert facts(principal) == ("virtual_key", "team", OAUTH if direct else None)
    assert principal.gateway_keys
    if direct:
        assert principal.direct_header == ("authorization" if header == "authorization" else "x-api-key")


@pytest.mark.parametrize("direct", [True, False])
def test_the_operator_beside_a_direct_key(direct: bool) -> None:
    principal = gateway(direct=direct).identify(sent(authorization=MASTER, x_api_key=DIRECT), NOW)
    assert facts(principal) == ("operator", "operator", DIRECT if direct else None)
    assert principal.gateway_keys


def test_both_headers_with_the_same_value_as_apikeyhelper_sends_them() -> None:
    for gate in (gateway(), gateway(required=False, direct=True)):
        assert gate.identify(sent(authorization=TEAM, x_api_key=TEAM), NOW).name == "team"
        assert gate.identify(sent(authorization=MASTER, x_api_key=MASTER), NOW).kind == "operator"
    gate = gateway(direct=True)
    same = gate.identify(sent(authorization=DIRECT, x_api_key=DIRECT), NOW)
    assert facts(same) == ("direct", "direct", DIRECT)
    assert same.direct_header == "x-api-key"
    oauth = gate.identify(sent(authorization=OAUTH, x_api_key=OAUTH), NOW)
    assert facts(oauth) == ("direct", "direct", OAUTH)
    assert oauth.direct_header == "authorization"


@pytest.mark.parametrize("order", [1, -1])
def test_of_different_direct_keys_the_api_key_goes_before_bearer(order: int) -> None:
    gate = gateway(direct=True)
    ranked = ["x-api-key", "api-key", "x-goog-api-key", "authorization"]
    for better, worse in pairwise(ranked):
        headers = [*in_header(worse, "worse"), *in_header(better, "better")][::order]
        assert facts(gate.identify(headers, NOW)) == ("direct", "direct", "better")


# What cannot work is said at start, without the key


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (Config(auth=Auth(master_key=Secret("SK-bf-master"))), "auth.master_key"),
        (Config(virtual_keys=(VirtualKey(name="a"),)), "value or a digest"),
        (
            Config(virtual_keys=(VirtualKey(name="a", value=Secret(TEAM)), VirtualKey(name="b", digest=digest(TEAM)))),
            r"virtual_keys\[1\]: is the same key as 'a'",
        ),
        (
            Config(virtual_keys=(VirtualKey(name="a", value=Secret(TEAM), digest=digest(OTHER)),)),
            "not that of the value",
        ),
        (Config(virtual_keys=(VirtualKey(name="a", value=Secret(TEAM), expires_at="tomorrow"),)), "RFC 3339"),
        (Config(virtual_keys=(VirtualKey(name="a", value=Secret(TEAM), expires_at="2027-01-15T08:00:00"),)), "offset"),
        (
            Config(
                virtual_keys=(
                    VirtualKey(
                        name="a", value=Secret(TEAM), providers=(KeyProvider(name="p"), KeyProvider(name="p", weight=2))
                    ),
                )
            ),
            "names 'p' twice",
        ),
    ],
)
def test_what_cannot_work_is_said_at_start(config: Config, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        Authenticator(config)
    assert TEAM not in str(caught.value)


def test_the_credential_headers() -> None:
    assert {name.decode() for name in CREDENTIAL_HEADERS} == set(HEADERS)
    assert CREDENTIAL_HEADERS == CREDENTIALS, "what is read as a credential is what never goes upstream, and no other"


def test_a_generated_key_is_known_by_the_digest_that_was_configured() -> None:
    key = new_virtual_key()
    gate = Authenticator(Config(virtual_keys=(VirtualKey(name="new", digest=digest(key)),)))
    assert gate.identify(sent(authorization=key), NOW).name == "new"


_values = st.sampled_from([TEAM, OTHER, MASTER, DIRECT, OAUTH, ODD, "sk-bf-off", "sk-bf-unknown", ""]) | st.text()


@given(st.lists(st.tuples(st.sampled_from(HEADERS), _values)), st.booleans(), st.booleans())
def test_whatever_is_sent_nobody_gets_more_than_they_proved(
    credentials: list[tuple[str, str]], required: bool, direct: bool
) -> None:
    headers = [pair for header, value in credentials for pair in in_header(header, value)]
    try:
        principal = gateway(required=required, direct=direct).identify(headers, NOW)
    except GatewayError as error:
        assert error.row.status in (400, 401, 403)
        return
    values = {value.strip() for _, value in credentials}
    if principal.kind == "virtual_key":
        assert {"team": TEAM, "other": OTHER, "odd": ODD}[principal.name] in values
    elif principal.kind == "operator":
        assert MASTER in values
    else:
        assert principal.gateway_keys is not required
    if principal.direct is not None:
        assert direct
        assert not principal.direct.reveal().lower().startswith("sk-bf-")
        assert principal.direct != Secret(MASTER)
