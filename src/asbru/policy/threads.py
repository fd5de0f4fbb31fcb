"""Message threads: a relay must step in, because only the key that began a thread can continue it (gateway.md §9).

The body of a request that continues a thread holds the last turn alone, so sending it anywhere else would lose the
conversation. Refusing it with `error_code` thread_unsupported_request makes both SDKs send the whole conversation
instead, and go on without threads; after that every target will do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from asbru.errors import GatewayError
from asbru.policy.health import Place
from asbru.policy.keys import OWN_KEY
from asbru.policy.router import Table, Target


def begin(targets: Sequence[Target], relaying: Collection[str]) -> list[Target]:
    """The targets for a request that begins a thread: those at providers that it is relayed to as it is.

    ``relaying`` names the providers that speak Anthropic. Raises `GatewayError` when the first target is not at one.
    """
    if targets[0].provider not in relaying:
        raise _unsupported("This model does not support message threads here; send the whole conversation")
    return [target for target in targets if target.provider in relaying]


def resume(
    targets: Sequence[Target],
    place: Place | None,
    table: Table,
    relaying: Collection[str],
    *,
    own_key: bool,
) -> tuple[Target, str]:
    """The one target for a request that continues a thread, and the name of the key to use there.

    ``place`` is what `Affinity.get` says of the previous message; ``own_key``: the first target is served with the
    caller's own key (then the name is `OWN_KEY`). A place that is forgotten, as after a restart, is still plain when
    the first target has a single key. Raises `GatewayError` when it is not plain, or when the place is gone.
    """
    for index, target in enumerate(targets):
        if target.provider not in relaying:
            continue
        if own_key and index == 0:
            names = [OWN_KEY]
        else:
            names = [key.name for key in table.keys(target.provider) if key.may_serve(target.model)]
        if place is None:
            if index == 0 and len(names) == 1:
                return target, names[0]
        elif target.provider == place.provider and place.key in names:
            return target, place.key
    raise unsupported()


def unsupported() -> GatewayError:
    """The refusal upon which the SDKs send the whole conversation."""
    return _unsupported("This message thread cannot be continued here; send the whole conversation")


def _unsupported(message: str) -> GatewayError:
    return GatewayError("invalid_request", message, details={"error_code": "thread_unsupported_request"})
