"""Pages of lists: ``limit``, ``after_id`` and ``before_id`` in the query, ``has_more`` and the ids in the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict
from urllib.parse import parse_qsl

from asbru.sandbox.answers import invalid

Json = dict[str, object]

MAX_LIMIT = 1_000


class Page(TypedDict):
    data: list[Json]
    has_more: bool
    first_id: object
    last_id: object


def parameters(query: bytes) -> dict[str, str]:
    """The query's parameters; of repeated ones the last."""
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def limit_of(given: dict[str, str], default: int = 20) -> int:
    text = given.get("limit", str(default))
    if not text.isascii() or not text.removeprefix("-").isdecimal():
        raise invalid("limit: Input should be a valid integer, unable to parse string as an integer")
    limit = int(text[:10])
    if limit < 1:
        raise invalid("limit: Input should be greater than or equal to 1")
    if limit > MAX_LIMIT:
        raise invalid(f"limit: Input should be less than or equal to {MAX_LIMIT}")
    return limit


def page(items: Sequence[Json], given: dict[str, str]) -> Page:
    """One page of ``items`` (each with an ``id``), the way lists with ``after_id`` and ``before_id`` look."""
    limit = limit_of(given)
    ids = [item["id"] for item in items]
    after, before = given.get("after_id"), given.get("before_id")
    if after and before:
        raise invalid("Only one of `before_id` and `after_id` may be given.")
    for name, cursor in (("after_id", after), ("before_id", before)):
        if cursor and cursor not in ids:
            raise invalid(f"{name}: there is nothing with the id {cursor}")
    if before:
        end = ids.index(before)
        start = max(0, end - limit)
        has_more = start > 0
    else:
        start = ids.index(after) + 1 if after else 0
        end = start + limit
        has_more = end < len(items)
    data = list(items[start:end])
    return {
        "data": data,
        "has_more": has_more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
