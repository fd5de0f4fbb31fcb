"""Who is asking: credential headers -> `Principal` (contract/gateway.md §2).

The headers are `CREDENTIAL_HEADERS`; ``Authorization`` counts when its scheme is Bearer. Every value is one of three:

1. a virtual key: it begins with ``sk-bf-`` in any case, or it came in ``x-bf-vk``, or its digest is a configured one.
   Looked up by its digest, whole and with its case. Unknown is 401 even on an open gateway: such a value is never
   taken for a provider's key and sent on. Two different ones are 400. With one, whatever else came is at most the
   caller's own provider key.
2. the operator's token;
3. anything else: the caller's own provider key ("direct"), OAuth tokens included, unless a gateway credential is found
   inside it (``wrapped``): quoted, behind a second scheme, in base64 and the like. That is 401, even beside a good
   credential, because what it was meant to be would go to a provider. Without ``auth.allow_direct_keys`` it
   is as if it were not there, so that alone it is an open gateway's anonymous and elsewhere 401 virtual_key_required.

With several different direct keys, ``x-api-key`` and its kin go before Bearer, as at Anthropic's API.

A direct key proves nothing to the gateway: any text is one. Where virtual keys are required, a principal that brought
nothing else therefore may spend nothing that is the gateway's (`Principal.gateway_keys` is false): no stored key, no
fallback, no provider that needs no key. The router holds it to that.

Digests are looked up in a dict: what its comparison's time could tell is about a digest, from which no key can be made.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Literal

import msgspec

from asbru.config import Config, VirtualKey
from asbru.errors import GatewayError
from asbru.policy.patterns import Patterns
from asbru.policy.wrapped import WrappedCredentials
from asbru.secrets import VIRTUAL_KEY_PREFIX, Secret, digest

DirectHeader = Literal["authorization", "x-api-key"]

_AUTHORIZATION = b"authorization"
_VIRTUAL_KEY = b"x-bf-vk"
# Header -> its rank among several direct keys; the first wins.
_RANK: dict[bytes, int] = {_VIRTUAL_KEY: 0, b"x-api-key": 1, b"api-key": 2, b"x-goog-api-key": 3, _AUTHORIZATION: 4}

CREDENTIAL_HEADERS = frozenset(_RANK)
"""The headers that credentials are read from; none of them ever goes upstream as it came."""

_BEARER = b"bearer "
_MAX_CLEAN = 10_000
_PREFIX = VIRTUAL_KEY_PREFIX.encode("ascii")
_OAUTH_PREFIX = b"sk-ant-oat"


class Grant(msgspec.Struct, frozen=True):
    """What a virtual key may use of one provider."""

    provider: str
    weight: float
    models: Patterns


class VirtualKeyPolicy(msgspec.Struct, frozen=True):
    """A virtual key, compiled. ``grants`` maps provider -> what is allowed there; None: everything everywhere."""

    name: str
    active: bool
    expires_unix_s: float | None
    grants: Mapping[str, Grant] | None


class Principal(msgspec.Struct, frozen=True):
    """Who is asking. ``direct`` is the caller's own provider key, to be used for the first candidate only."""

    kind: Literal["virtual_key", "operator", "direct", "anonymous"]
    name: str
    """The virtual key's name, otherwise the kind; an operator may also call a virtual key so: compare kinds."""
    key: VirtualKeyPolicy | None = None
    direct: Secret | None = None
    direct_header: DirectHeader = "x-api-key"
    """How ``direct`` came and therefore goes upstream."""
    gateway_keys: bool = True
    """Whether it may use what is the gateway's own: stored keys, and providers that need none."""


OPERATOR = Principal("operator", "operator")
ANONYMOUS = Principal("anonymous", "anonymous")


class Authenticator:
    """Everything that identifying needs, compiled from the configuration; raises `ValueError` for what cannot work."""

    __slots__ = ("_allow_direct", "_clean", "_keys", "_master", "_master_value", "_required", "_wrapped")

    def __init__(self, config: Config) -> None:
        auth = config.auth
        self._required = bool(config.virtual_keys or auth.master_key) if auth.required is None else auth.required
        self._allow_direct = auth.allow_direct_keys
        self._master: bytes | None = None
        self._master_value: bytes | None = None
        if auth.master_key is not None:
            master = auth.master_key.reveal()
            if master.lower().startswith(VIRTUAL_KEY_PREFIX):
                raise ValueError(f"auth.master_key: must not begin with {VIRTUAL_KEY_PREFIX}, as virtual keys do")
            self._master = bytes.fromhex(digest(master))
            self._master_value = master.encode()
        self._keys: dict[bytes, Principal] = {}
        for index, configured in enumerate(config.virtual_keys):
            where = f"virtual_keys[{index}]"
            key_digest = _digest_of(configured, where)
            if key_digest in self._keys:
                raise ValueError(f"{where}: is the same key as {self._keys[key_digest].name!r}")
            self._keys[key_digest] = Principal("virtual_key", configured.name, _compile(configured, where))
        known = [key.value.reveal() for key in config.virtual_keys if key.value is not None]
        digests = list(self._keys)
        if auth.master_key is not None and self._master is not None:
            known.append(auth.master_key.reveal())
            digests.append(self._master)
        self._wrapped = WrappedCredentials(known, digests)
        self._clean: set[bytes] = set()
        """Digests of values that hold no gateway credential: most clients send the same ones all the time."""

    @property
    def required(self) -> bool:
        """Whether a request without a credential is refused."""
        return self._required

    def without_master_key(self, lines: bytes) -> bytes:
        """Header lines for a provider without those that hold the master key, whatever header it was put into."""
        value = self._master_value
        if value is None or value not in lines:
            return lines
        return b"".join(line for line in lines.splitlines(keepends=True) if value not in line)

    def identify(self, headers: Sequence[tuple[bytes, bytes]], now_unix_s: float) -> Principal:
        """The principal of a request; header names are lower case.

        Raises `GatewayError`: virtual_key_required, virtual_key_not_found, virtual_key_blocked, or invalid_request for
        two different virtual keys.
        """
        virtual: bytes | None = None
        operator = False
        direct: list[tuple[int, bytes]] = []
        for name, value in headers:
            if name not in _RANK:
                continue
            is_bearer = value[: len(_BEARER)].lower() == _BEARER
            if name == _AUTHORIZATION and is_bearer:
                value = value[len(_BEARER) :]
            value = value.strip()
            if not value:
                continue
            found = sha256(value).digest()
            if name == _AUTHORIZATION and not is_bearer:
                self.refuse_wrapped("authorization", value)  # of another scheme it is no credential
            elif name == _VIRTUAL_KEY or value[: len(_PREFIX)].lower() == _PREFIX or found in self._keys:
                if found not in self._keys and found != self._master:
                    self._refuse_damaged(name.decode("ascii"), value)
                if virtual is not None and virtual != found:
                    raise GatewayError("invalid_request", "The request holds two different virtual keys; send one")
                virtual = found
            elif self._master is not None and hmac.compare_digest(found, self._master):
                operator = True
            else:
                self.refuse_wrapped(name.decode("ascii"), value)
                direct.append((_RANK[name], value))
        if virtual is not None:
            principal = self._virtual_key(virtual, now_unix_s)
        elif operator:
            principal = OPERATOR
        elif direct and self._allow_direct:
            principal = Principal("direct", "direct", gateway_keys=not self._required)
        elif self._required:
            raise GatewayError("virtual_key_required", _NOT_ACCEPTED if direct else _MISSING)
        else:
            return ANONYMOUS
        return _with_direct(principal, direct) if direct and self._allow_direct else principal

    def _refuse_damaged(self, place: str, value: bytes) -> None:
        """As `refuse_wrapped`, for a value that is an unknown virtual key: it begins as one, or is where they are."""
        if value[: len(_PREFIX)].lower() != _PREFIX:
            self.refuse_wrapped(place, value)
        elif not _plain_key(value):
            raise GatewayError("virtual_key_not_found", _damaged(place))

    def refuse_wrapped(self, place: str, value: bytes) -> None:
        """Raises `GatewayError` virtual_key_not_found when one of the gateway's own credentials is inside the value."""
        found = sha256(value).digest()
        if found in self._clean:
            return
        if self._wrapped.within(value):
            raise GatewayError("virtual_key_not_found", _damaged(place))
        if len(self._clean) >= _MAX_CLEAN:
            self._clean.clear()
        self._clean.add(found)

    def _virtual_key(self, key_digest: bytes, now_unix_s: float) -> Principal:
        principal = self._keys.get(key_digest)
        if principal is None or principal.key is None:
            raise GatewayError("virtual_key_not_found", "Unknown virtual key")
        policy = principal.key
        if not policy.active:
            raise GatewayError("virtual_key_blocked", f"The virtual key {policy.name!r} is disabled")
        if policy.expires_unix_s is not None and now_unix_s >= policy.expires_unix_s:
            raise GatewayError("virtual_key_blocked", f"The virtual key {policy.name!r} has expired")
        return principal


_plain_key = re.compile(rb"[A-Za-z0-9._~+/-]+=*").fullmatch


def _damaged(place: str) -> str:
    return (
        f"{place}: holds a key of this gateway with something around or inside it (quotes, blanks, invisible "
        "characters, another scheme, an encoding); send it alone, as x-bf-vk, x-api-key or Authorization: Bearer"
    )


_MISSING = "A virtual key is required: send it as x-bf-vk, Authorization: Bearer or x-api-key"
_NOT_ACCEPTED = f"A virtual key ({VIRTUAL_KEY_PREFIX}…) is required; other keys are not accepted here"


def _with_direct(principal: Principal, direct: list[tuple[int, bytes]]) -> Principal:
    rank, value = min(direct, key=lambda entry: entry[0])
    bearer = _RANK[_AUTHORIZATION]
    # An OAuth token works as Bearer only; when it came in both forms, the one that works goes on.
    as_bearer = rank == bearer or (value.startswith(_OAUTH_PREFIX) and (bearer, value) in direct)
    return Principal(
        principal.kind,
        principal.name,
        principal.key,
        Secret(value),
        "authorization" if as_bearer else "x-api-key",
        principal.gateway_keys,
    )


def _digest_of(configured: VirtualKey, where: str) -> bytes:
    if configured.value is None:
        if configured.digest is None:
            raise ValueError(f"{where}: needs a value or a digest")
        return bytes.fromhex(configured.digest)
    own = digest(configured.value.reveal())
    if configured.digest is not None and configured.digest != own:
        raise ValueError(f"{where}: the digest is not that of the value; give one of them")
    return bytes.fromhex(own)


def _compile(configured: VirtualKey, where: str) -> VirtualKeyPolicy:
    grants: dict[str, Grant] = {}
    for granted in configured.providers:
        if granted.name in grants:
            raise ValueError(f"{where}.providers: names {granted.name!r} twice")
        grants[granted.name] = Grant(granted.name, granted.weight, Patterns(granted.models or ("*",)))
    expires = None if configured.expires_at is None else _unix_s(configured.expires_at, f"{where}.expires_at")
    return VirtualKeyPolicy(configured.name, configured.active, expires, grants or None)


def _unix_s(text: str, where: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{where}: not an RFC 3339 time with its offset, such as 2027-01-31T12:00:00Z")
    return moment.timestamp()
