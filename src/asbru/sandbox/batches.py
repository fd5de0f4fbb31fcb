"""Message Batches in memory: taken at once, run when somebody asks.

A batch is ``in_progress`` in the answer that creates it and ``ended`` whenever it is looked at afterwards; cancelled in
between, it is ``canceling`` in that answer and then ended with nothing run. Its id comes from its body, so the same
batch created twice is one batch. Results are made again each time they are read. Batches are kept up to a number and
a size; the oldest go first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

import msgspec

from asbru.sandbox.answers import ApiError, invalid
from asbru.sandbox.ids import EPOCH, NEXT_DAY, digest, identifier
from asbru.sandbox.request_fields import BATCH_REQUEST
from asbru.sandbox.shape import wrong
from asbru.sandbox.validate import Caller

Json = dict[str, object]
Run = Callable[[Json, Caller], Json]
"""Runs one request as this caller: ``params`` in, ``result`` out; never raises."""

COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
BREATH = 20
"""So many requests are run before the event loop gets a turn."""
MAX_REQUESTS = 100_000


class Batch:
    def __init__(self, batch_id: str, caller: Caller, requests: list[tuple[str, msgspec.Raw]], size: int) -> None:
        self.id = batch_id
        self.caller = caller
        self.requests = requests
        self.size = size
        self.status = "in_progress"
        self.is_canceled = False
        self.counts: dict[str, int] | None = None
        """How the requests ended, once somebody has looked."""


def parse(body: bytes) -> list[tuple[str, msgspec.Raw]]:
    """The requests of a batch: ``custom_id`` and ``params`` of each; what the params hold is checked when they run."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        items = msgspec.json.decode(fields["requests"], type=list[msgspec.Raw]) if "requests" in fields else None
    except msgspec.ValidationError as error:
        raise invalid("requests: Input should be a valid list") from error
    if items is None:
        wrong(("requests",), "Field required")
    for name in fields:
        if name != "requests":
            wrong((name,), "Extra inputs are not permitted")
    if not 1 <= len(items) <= MAX_REQUESTS:
        wrong(("requests",), f"A batch has between 1 and {MAX_REQUESTS} requests")
    requests: list[tuple[str, msgspec.Raw]] = []
    seen: set[str] = set()
    for index, item in enumerate(items):
        value = msgspec.json.decode(item)
        BATCH_REQUEST(value, ("requests", index))
        custom_id = str(value["custom_id"])
        if custom_id in seen:
            wrong(("requests", index, "custom_id"), f"custom_id must be unique within a batch: {custom_id}")
        seen.add(custom_id)
        requests.append((custom_id, msgspec.Raw(msgspec.json.encode(value["params"]))))
    return requests


class Batches:
    def __init__(self, run: Run, max_batches: int, max_bytes: int) -> None:
        self.run = run
        self.max_batches = max_batches
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[str, Batch] = OrderedDict()

    def create(self, body: bytes, caller: Caller) -> Batch:
        batch = Batch(identifier("msgbatch", digest(body)), caller, parse(body), len(body))
        self.forget(batch.id)
        self._kept[batch.id] = batch
        self.bytes += batch.size
        while len(self._kept) > self.max_batches or self.bytes > self.max_bytes:
            self.forget(next(iter(self._kept)))
        return batch

    def newest_first(self) -> list[Batch]:
        return list(reversed(self._kept.values()))

    def get(self, batch_id: str) -> Batch:
        batch = self._kept.get(batch_id)
        if batch is None:
            raise ApiError(404, f"Message Batch {batch_id} not found.")
        return batch

    def cancel(self, batch: Batch) -> None:
        """Cancel it if it has not ended; an ended one stays as it is."""
        if batch.status == "in_progress":
            batch.status = "canceling"
            batch.is_canceled = True

    async def end(self, batch: Batch) -> None:
        """Let it have ended: from now on it shows how its requests ended."""
        batch.status = "ended"
        if batch.counts is None:
            counts = dict.fromkeys(COUNTS, 0)
            async for _, result in self.results(batch):
                counts[str(result["type"])] += 1
            batch.counts = counts

    async def results(self, batch: Batch) -> AsyncIterator[tuple[str, Json]]:
        """``custom_id`` and result of every request, in their order."""
        for index, (custom_id, params) in enumerate(batch.requests):
            if index % BREATH == 0:
                await asyncio.sleep(0)
            if batch.is_canceled:
                yield custom_id, {"type": "canceled"}
            else:
                yield custom_id, self.run(msgspec.json.decode(params), batch.caller)

    def delete(self, batch: Batch) -> Json:
        if batch.status != "ended":
            raise invalid(
                f"Message Batch {batch.id} cannot be deleted while it is {batch.status}. "
                "Cancel it or wait until it has ended."
            )
        self.forget(batch.id)
        return {"id": batch.id, "type": "message_batch_deleted"}

    def forget(self, batch_id: str) -> None:
        batch = self._kept.pop(batch_id, None)
        if batch is not None:
            self.bytes -= batch.size


def show(batch: Batch, origin: str) -> Json:
    """The batch as the API shows it; ``origin`` is where its results are fetched from."""
    waiting = {**dict.fromkeys(COUNTS, 0), "processing": len(batch.requests)}
    ended = batch.status == "ended"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": batch.status,
        "request_counts": batch.counts if ended and batch.counts else waiting,
        "created_at": EPOCH,
        "expires_at": NEXT_DAY,
        "ended_at": EPOCH if ended else None,
        "archived_at": None,
        "cancel_initiated_at": EPOCH if batch.is_canceled else None,
        "results_url": f"{origin}/v1/messages/batches/{batch.id}/results" if ended else None,
    }
