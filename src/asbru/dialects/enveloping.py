"""What the hosts of Claude have in common: how a Messages body becomes theirs, by its top level alone.

A `Host` says as data what one of them does not take; `changes` makes of that the members to replace or remove, and
tells the losses. Everything else, known or not, goes through as it came. Values are looked into only where a host
refuses something within them: tools by their type, files by their id, Claude Code's attribution, context edits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from asbru.dialects import splice
from asbru.dialects.betas import Betas
from asbru.dialects.codec import Context
from asbru.dialects.losses import FIELDS, Fidelity, Losses, LossyError, Row
from asbru.dialects.prepare import BILLING_PREFIX, THREAD_UNSUPPORTED
from asbru.dialects.splice import Members, SpliceError

Json = dict[str, Any]
Changes = dict[str, bytes | None]

_FIELD_OF = {
    "billing_policy": "billing_policy",
    "compaction": "compaction",
    "container": "container",
    "diagnostics": "diagnostics",
    "fallback_credit_token": "fallback_credit_token",
    "fallbacks": "fallbacks.objects",
    "inference_geo": "inference_geo",
    "mcp_servers": "mcp_servers",
    "safeguards": "safeguards",
    "tags": "tags",
}
"""Top-level members that a host may not take -> their `FIELDS` entry."""
_FIRST_VERSION = "2023-06-01"
_EMPTY = frozenset({b"null", b"[]", b"{}"})
_BILLING = BILLING_PREFIX.encode("ascii")
_NO_BREAKPOINT = frozenset({"thinking", "redacted_thinking"})

_NEWER = re.compile(r"claude-(?:(?:opus|sonnet|haiku|fable|mythos)-[5-9]|opus-4-[78](?![0-9])|mythos-preview)")
"""Models from 4.7 on. On Bedrock and Vertex only they know versions of the API after the first; what they make of the
first one, every model knows."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One host of Claude."""

    version: str
    """What it calls the first version of the API."""
    betas: Betas
    fidelity: Fidelity
    refused_tools: Mapping[str, str]
    """How the type of a tool begins that it does not have -> its `FIELDS` entry."""
    allowed_tools: frozenset[str] = frozenset()
    """Types that it has all the same."""
    edits: bool = True
    """Whether it takes context edits of every kind; otherwise none that clear thinking."""


def table(rows: Mapping[str, Row]) -> Fidelity:
    """A host's fidelity: what is not named goes through as it came."""
    return dict.fromkeys(FIELDS, Row("exact", "as it came")) | dict(rows)


def changes(members: Members, context: Context, losses: Losses, host: Host) -> tuple[Changes, list[str]]:
    """The members to replace or remove, and the betas to send. Raises `LossyError` and `SpliceError`."""
    made: Changes = {}
    if (members.get("thread") or b"null") != b"null":
        raise LossyError("thread", "Message threads are not supported for this model", THREAD_UNSUPPORTED)
    for name in members.spans:
        field = _FIELD_OF.get(name)
        if field is not None and host.fidelity[field].verdict != "exact":
            if members.get(name) not in _EMPTY:
                losses.meet(field, name)
            made[name] = None
    if "service_tier" in members:
        made["service_tier"] = None  # there is one tier only, which is what either value amounts to
    if "speed" in members:
        if members.string("speed") not in (None, "standard"):
            losses.meet("speed")
        made["speed"] = None
    _refuse_tools(members, losses, host)
    if b'"file_id"' in members.body:
        _refuse_files(members, losses)
    _system(members, made)
    _output_format(members, made)
    if not host.edits:
        _context_management(members, made, losses)
    _automatic_caching(members, made, losses)
    betas = _betas(members, made, context, losses, host)
    if "anthropic_version" not in members:
        newer = context.version != _FIRST_VERSION and _NEWER.search(context.model)
        made["anthropic_version"] = msgspec.json.encode(context.version if newer else host.version)
    return made, betas


def _betas(members: Members, made: Changes, context: Context, losses: Losses, host: Host) -> list[str]:
    betas = list(context.betas)
    raw = members.get("anthropic_beta")
    if raw is not None:
        betas += _decode(raw, list[str], "anthropic_beta") or []
        made["anthropic_beta"] = None
    sent, lost = host.betas.divide(betas, context.model)
    if lost:
        losses.note(
            "dropped", "anthropic-beta", "the host takes none but its own", f"anthropic-beta ({', '.join(lost)})"
        )
    return sent


class _Tool(msgspec.Struct):
    type: str | None = None


def _refuse_tools(members: Members, losses: Losses, host: Host) -> None:
    raw = members.get("tools")
    if raw is None or raw in _EMPTY:
        return
    for index, tool in enumerate(_decode(raw, list[_Tool], "tools")):
        kind = tool.type or ""
        if kind in host.allowed_tools:
            continue
        for prefix, field in host.refused_tools.items():
            if kind.startswith(prefix):
                losses.meet(field, f"tools.{index}")


def _refuse_files(members: Members, losses: Losses) -> None:
    """Files of the Files API; raises `LossyError` for the first of them."""
    messages = splice.mask_surrogates(members.get("messages") or b"[]")
    for block in _blocks(_decode(messages, list[Json], "messages")):
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") == "file":
            losses.meet("document.file" if block.get("type") == "document" else "image.file", "messages")
        elif block.get("type") == "container_upload":
            losses.meet("container_upload", "messages")


def _blocks(holders: list[Json]) -> Iterator[Json]:
    """The blocks in messages, those in tool results too."""
    for holder in holders:
        content = holder.get("content")
        if isinstance(content, list):
            found = [block for block in content if isinstance(block, dict)]
            yield from found
            yield from _blocks(found)


def _system(members: Members, made: Changes) -> None:
    """Without Claude Code's attribution: a reserved keyword, says Bedrock, and refuses the request."""
    raw = members.get("system")
    if raw is None or _BILLING not in raw or not raw.startswith(b"["):
        return
    blocks = _decode(raw, list[msgspec.Raw], "system")
    kept = [bytes(block) for block in blocks if not _is_attribution(bytes(block))]
    if len(kept) < len(blocks):
        made["system"] = b"[" + b",".join(kept) + b"]" if kept else None


def _is_attribution(block: bytes) -> bool:
    return _BILLING in block and str(_decode(block, Json, "system").get("text")).startswith(BILLING_PREFIX)


def _output_format(members: Members, made: Changes) -> None:
    """``output_format`` moves to where it is now: the beta that had it at the top level is not known there."""
    raw = members.get("output_format")
    if raw is None:
        return
    made["output_format"] = None
    if raw == b"null":
        return
    output = members.get("output_config")
    if output is None or output == b"null":
        made["output_config"] = b'{"format":%b}' % raw
    else:
        made["output_config"] = splice.replace(output, splice.split(output), {"format": raw})


def _context_management(members: Members, made: Changes, losses: Losses) -> None:
    raw = members.get("context_management")
    if raw is None or raw == b"null":
        return
    management = _decode(raw, Json, "context_management")
    edits = management.get("edits")
    if not isinstance(edits, list):
        return
    kept = [
        edit for edit in edits if not str(edit.get("type") if isinstance(edit, dict) else "").startswith("clear_th")
    ]
    if len(kept) < len(edits):
        losses.meet("context_management")
        made["context_management"] = msgspec.json.encode({**management, "edits": kept}) if kept else None


def _automatic_caching(members: Members, made: Changes, losses: Losses) -> None:
    """A breakpoint for the whole request becomes one on its last block."""
    control = members.get("cache_control")
    if control is None:
        return
    made["cache_control"] = None
    messages = members.get("messages")
    if control == b"null" or messages is None:
        return
    turns = splice.turns(messages)
    turn = _with_breakpoint(bytes(turns[-1]), control) if turns else None
    if turn is not None:
        losses.note("emulated", "cache_control", "by a breakpoint on the last block")
        made["messages"] = _with_last(messages, bytes(turns[-1]), turn)


def _with_breakpoint(turn: bytes, control: bytes) -> bytes | None:
    """The message with a breakpoint on its last block; None when there is one, or none can be."""
    members = splice.split(turn)
    content = members.get("content")
    if content is None:
        return None
    if content.startswith(b'"'):
        blocks = b'[{"type":"text","text":%b,"cache_control":%b}]' % (content, control)
        return None if content == b'""' else splice.replace(turn, members, {"content": blocks})
    raws = _decode(content, list[msgspec.Raw], "messages")
    if not raws:
        return None
    last = bytes(raws[-1])
    block = splice.split(last)
    if "cache_control" in block or block.string("type") in _NO_BREAKPOINT:
        return None
    marked = splice.replace(last, block, {"cache_control": control})
    return splice.replace(turn, members, {"content": _with_last(content, last, marked)})


def _with_last(items: bytes, last: bytes, new: bytes) -> bytes:
    """A raw list with its last item replaced."""
    start = items.rindex(last)
    return items[:start] + new + items[start + len(last) :]


def _decode(raw: bytes, type: Any, name: str) -> Any:
    try:
        return msgspec.json.decode(raw, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SpliceError(f"{name}: cannot be read") from None
