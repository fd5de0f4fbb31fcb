"""Whose files and batches a caller may use (contract/gateway.md §1).

They lie in the workspace of a provider's key, where everybody finds everybody's, and nothing here knows who made which.
So a virtual key may use them only where it is alone, or where its ``files_and_batches`` says so. Callers without a
virtual key, where none is required, are one more party that may use every provider. The operator may always; a caller's
own provider key has its own workspace.

What is closed is closed in messages too: a ``file_id`` reads a file as well as its route does. Containers stay open.
Their ids are told to nobody but who got the answer they came with, no route lists them, and tools that are called from
code cannot go on without one. Skills are made by the operator, as there is no route for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain

import msgspec

from asbru.config import Config, Provider, VirtualKey
from asbru.errors import GatewayError
from asbru.policy.auth import Principal

Workspaces = frozenset[tuple[str | None, str | None]]
"""Base URL and key of each: two providers that have both in common are one as far as files are concerned."""


class Isolation:
    """Who may not use files and batches, compiled from a configuration that `decided` has completed."""

    __slots__ = ("_closed", "_without_key")

    def __init__(self, config: Config) -> None:
        self._closed = {key.name for key in config.virtual_keys if key.files_and_batches is not True}
        places = workspaces(config.providers)
        self._without_key = any(reach(key, places) for key in config.virtual_keys)
        """Closed to callers without a virtual key: they would find those of the virtual keys."""

    def closed(self, principal: Principal) -> bool:
        """Whether the principal may not use files and batches with a stored key."""
        if principal.kind == "virtual_key":
            return principal.name in self._closed
        return principal.kind != "operator" and self._without_key

    def refusal(self, principal: Principal) -> GatewayError:
        """What one is told to whom they are closed."""
        if principal.kind == "virtual_key":
            message = (
                f"Files and batches are closed to the virtual key {principal.name!r}, which would share them with "
                "others; the operator's option files_and_batches opens them"
            )
        else:
            message = "Files and batches are closed to callers without a virtual key, who would share them with others"
        return GatewayError("files_and_batches_blocked", message)


def decided(config: Config) -> tuple[VirtualKey, ...]:
    """The virtual keys with ``files_and_batches`` decided where it is left out; ``auth.required`` is decided."""
    places = workspaces(config.providers)
    reached = [reach(key, places) for key in config.virtual_keys]
    users = Counter(chain(*reached))
    if not config.auth.required:
        users.update(set().union(*places.values()))
    return tuple(
        key
        if key.files_and_batches is not None
        else msgspec.structs.replace(key, files_and_batches=all(users[place] == 1 for place in own))
        for key, own in zip(config.virtual_keys, reached, strict=True)
    )


def workspaces(providers: Mapping[str, Provider]) -> dict[str, Workspaces]:
    """The workspaces of every provider that has files and batches: one of the client's own dialect that is relayed."""
    return {
        name: frozenset((provider.base_url, None if key.value is None else key.value.reveal()) for key in provider.keys)
        or frozenset({(provider.base_url, None)})
        for name, provider in providers.items()
        if provider.dialect == "anthropic"
        and provider.envelope is None
        and not any(key.aws or key.google or key.entra for key in provider.keys)
    }


def reach(key: VirtualKey, places: Mapping[str, Workspaces]) -> Workspaces:
    """The workspaces that a virtual key may use."""
    names = [each.name for each in key.providers] or list(places)
    return frozenset().union(*(places.get(name, frozenset()) for name in names))
