"""Who asks and how: what the headers of a request say, checked as the real API checks them.

Any key that is not empty will do. Two kinds of keys do not: those that begin with ``sk-invalid`` are refused, and
``sk-error-<status>…`` get that error, so that a gateway's pool of keys can be tried. Betas that begin with
``unsupported-`` are refused; all others are accepted.
"""

from __future__ import annotations

import re

from asbru.errors import Headers
from asbru.sandbox.answers import ApiError, invalid
from asbru.sandbox.failures import error_for
from asbru.sandbox.validate import VERSIONS, Caller

FAILING_KEY = re.compile(r"sk-error-([45]\d\d)(?!\d)")


def values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def refused_with(key: str) -> int | None:
    """The status that this key gets, None for one that will do; in every dialect."""
    if key.startswith("sk-invalid"):
        return 401
    found = FAILING_KEY.match(key)
    return int(found.group(1)) if found else None


def _check_key(headers: Headers) -> None:
    keys = [key for key in values(headers, b"x-api-key") if key]
    bearers = [text[7:].strip() for text in values(headers, b"authorization") if text[:7].lower() == "bearer "]
    key = next(iter([*keys, *bearers]), "")
    if not key:
        raise ApiError(401, "x-api-key header is required")
    status = refused_with(key)
    if status == 401:
        raise ApiError(401, "invalid x-api-key" if keys else "Invalid bearer token")
    if status is not None:
        raise error_for(status, "")


def check(headers: Headers) -> Caller:
    """Raises `ApiError` for a missing or refused key, API version or beta."""
    _check_key(headers)
    versions = values(headers, b"anthropic-version")
    if not versions:
        raise invalid("anthropic-version: header is required")
    if versions[0] not in VERSIONS:
        raise invalid(f'anthropic-version: "{versions[0]}" is not a valid version.')
    listed = ",".join(values(headers, b"anthropic-beta")).split(",")
    betas = frozenset(beta.strip() for beta in listed if beta.strip())
    refused = sorted(beta for beta in betas if beta.startswith("unsupported-"))
    if refused:
        names = ", ".join(f"`{beta}`" for beta in refused)
        raise invalid(f"Unexpected value(s) {names} for the `anthropic-beta` header.")
    return Caller(versions[0], betas)


def retry_count(headers: Headers) -> int:
    """How often the SDK has tried before, as it says itself."""
    count = next(iter(values(headers, b"x-stainless-retry-count")), "")
    return int(count) if count.isdecimal() and count.isascii() and len(count) < 6 else 0
