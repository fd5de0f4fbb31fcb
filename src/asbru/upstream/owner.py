"""The pool, as its connections see it: the one seam between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asbru.upstream.connection import Connection


class Owner(Protocol):
    """What a connection tells its pool."""

    def released(self, connection: Connection) -> None:
        """The connection is IDLE and can serve again."""

    def dropped(self, connection: Connection, place_is_free: bool) -> None:
        """The connection is CLOSED; its place is free, or still in the hands of a call of `Pool.request`."""
