"""The models that `/v1/models` answers with, from memory.

Each provider's own list is fetched at start and refreshed every hour, off the request path; a provider that cannot be
asked keeps its last list. Entries are kept as the raw JSON the provider sent, so that nothing a client may want is
lost. A model of the default provider is listed by its bare id, one of another provider as ``provider/id``, an alias by
its own name: always a name that a request may use.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs

import msgspec

from asbru.dialects import splice
from asbru.dialects.codec import Model
from asbru.errors import GatewayError
from asbru.policy.router import Table, Target
from asbru.upstream.credentials import CredentialError
from asbru.upstream.http1 import UpstreamError
from asbru.upstream.listing import NoList, fetch
from asbru.upstream.model_info import Listed, info
from asbru.upstream.providers import Upstream

log = logging.getLogger("asbru.models")

REFRESH_S = 3600.0
RETRY_S = 60.0
DEFAULT_LIMIT = 20
MAX_LIMIT = 1000


class Catalog:
    """Every provider's models, as far as they are known."""

    def __init__(self, upstreams: Mapping[str, Upstream], table: Table) -> None:
        self._upstreams = upstreams
        self._table = table
        self._tasks: list[asyncio.Task[None]] = []
        self._listed: dict[str, dict[str, bytes]] = {name: _configured(up) for name, up in upstreams.items()}
        self.providers_of: dict[str, tuple[str, ...]] = {}
        """Model id -> providers that list it; what the router resolves bare names by."""
        self._index()

    def start(self) -> None:
        """Begin to fetch every provider's list, each in a task of its own."""
        self._tasks = [asyncio.create_task(self._keep(upstream)) for upstream in self._upstreams.values()]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_over(self, old: Catalog) -> None:
        """Until a provider has been asked anew, it has the models that it had."""
        for name, upstream in self._upstreams.items():
            if name in old._listed and old._upstreams[name].base_url == upstream.base_url:
                self._listed[name] = old._listed[name] | self._listed[name]
        self._index()

    def _index(self) -> None:
        found: dict[str, tuple[str, ...]] = {}
        for provider, models in self._listed.items():
            for model in models:
                found[model] = (*found.get(model, ()), provider)
        self.providers_of = found

    async def _keep(self, upstream: Upstream) -> None:
        pause_s = RETRY_S
        while True:
            try:
                models = await fetch(upstream)
            except (
                UpstreamError,
                CredentialError,
                ValueError,
                RecursionError,
                NoList,
            ) as error:  # ValueError: not a list in JSON
                log.warning("provider %s: models cannot be listed: %s; next try in %g s", upstream.name, error, pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, REFRESH_S)
            else:
                missing = {name: entry for name, entry in _configured(upstream).items() if name not in models}
                self._listed[upstream.name] = models | missing
                self._index()
                pause_s = RETRY_S
                await asyncio.sleep(REFRESH_S)

    def ids(self) -> dict[str, Sequence[str]]:
        """Provider -> model ids, for deciding which of them a principal sees."""
        return {provider: tuple(models) for provider, models in self._listed.items()}

    def entry(self, name: str) -> bytes | None:
        """The ModelInfo of a name that a request may use, as JSON with that name as its id; None when not in memory."""
        raw = self._find(name)
        if raw is None:
            return None
        members = splice.split(raw)
        if members.string("id") == name:
            return raw
        return splice.replace(raw, members, {"id": msgspec.json.encode(name)})

    def described(self, name: str, target: Target) -> bytes | None:
        """The ModelInfo of a name that is in no list, from what is known of models; None when nothing is."""
        facts = self._upstreams[target.provider].facts(target.model)
        return None if facts == Model() else info(Listed(name), facts)

    def _find(self, name: str) -> bytes | None:
        aliased = self._table.aliases.get(name)
        if aliased is not None:
            return self._listed[aliased[0].provider].get(aliased[0].model) or _info(name)
        provider, _, model = name.partition("/")
        if provider in self._listed and model in self._listed[provider]:
            return self._listed[provider][model]
        providers = self.providers_of.get(name, ())
        return self._listed[providers[0]][name] if providers else None


def _configured(upstream: Upstream) -> dict[str, bytes]:
    return {model: _info(model) for model in upstream.settings.models}


def _info(model: str) -> bytes:
    """A ModelInfo for a model of which only the name is known."""
    return info(Listed(model), Model())


def page(ids: Sequence[str], entry: Callable[[str], bytes | None], query: bytes) -> bytes:
    """One page of the list in Anthropic's shape; raises `GatewayError` for a limit or cursor that cannot be."""
    asked = parse_qs(query.decode("latin-1"))
    limit = _limit(asked.get("limit", [str(DEFAULT_LIMIT)])[-1])
    if "after_id" in asked:
        start = _position(ids, "after_id", asked["after_id"][-1]) + 1
        end = start + limit
        more = end < len(ids)
    elif "before_id" in asked:
        end = _position(ids, "before_id", asked["before_id"][-1])
        start = max(0, end - limit)
        more = start > 0
    else:
        start, end = 0, limit
        more = end < len(ids)
    shown = ids[start:end]
    data = [msgspec.Raw(entry(id) or _info(id)) for id in shown]
    first, last = (shown[0], shown[-1]) if shown else (None, None)
    return msgspec.json.encode({"data": data, "has_more": more, "first_id": first, "last_id": last})


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT):
        raise GatewayError("invalid_request", f"limit: Input should be between 1 and {MAX_LIMIT}")
    return int(text)


def _position(ids: Sequence[str], name: str, value: str) -> int:
    try:
        return ids.index(value)
    except ValueError:
        raise GatewayError("invalid_request", f"{name}: There is no model with this id") from None
