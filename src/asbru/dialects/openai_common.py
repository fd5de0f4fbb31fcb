"""What OpenAI's two dialects have in common: where a request goes, what a host refuses, structured output, effort,
sampling, tiers, cache breakpoints, who the end user is.

Facts are from the OpenAI reference (types of its Python SDK 2.54 and 3.52; the guides on structured outputs and
reasoning) and contract/translation.md §8.0, §8.1. Nothing here knows which of the two dialects asks. Functions that
take `Losses` name there what they could not carry.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from asbru.dialects import json_schema, json_text, schema_fit, thinking_room
from asbru.dialects.by_url import Kind
from asbru.dialects.codec import Context, Model
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import Document, Image, Request, Text, ToolResult

Json = dict[str, Any]

# The host


def target(path: str, context: Context) -> bytes:
    """Path and query of a request, where ``path`` is the dialect's own and the host may have another."""
    path = context.quirks.path or path
    if "{model}" in path:
        path = path.replace("{model}", quote(context.model, safe=""))
    return f"{path}?{context.quirks.query}".encode() if context.quirks.query else path.encode()


BREAKPOINT = "prompt_cache_breakpoint"
_VERSION = re.compile(r"gpt-(\d+)(?:\.(\d+))?")


def breakpoint(context: Context) -> str | None:
    """How a part is marked as a breakpoint; OpenAI: from gpt-5.6 on, says its reference of ``prompt_cache_options``."""
    marked = context.quirks.cache_breakpoints
    if marked != BREAKPOINT:
        return marked
    version = _VERSION.match(context.model)
    return marked if version and (int(version[1]), int(version[2] or 0)) >= (5, 6) else None


def takes_system_turns(request: Request, context: Context, losses: Losses) -> bool:
    """Whether system messages may stand in mid-conversation; before `prepare`, which folds them otherwise."""
    if context.quirks.mid_system and context.facts.system_turns is not False:
        return True
    if any(turn.role == "system" and turn.content for turn in request.messages):
        losses.note("approximated", "messages.system", "folded into the user's turn")
    return False


def unfetched(context: Context, *, documents_by_url: bool) -> frozenset[Kind]:
    """See `Codec.unfetched`; what the model takes in no way at all is not worth fetching."""
    quirks, facts = context.quirks, context.facts
    kinds: set[Kind] = set()
    if not quirks.image_url and facts.images is not False:
        kinds.add("image")
    if not documents_by_url and quirks.files and facts.documents is not False:
        kinds.add("document")
    return frozenset(kinds)


def refuse_sources(request: Request, context: Context) -> None:
    """Refuse images and documents that the host cannot read; before `prepare`, while paths are the client's own."""
    if context.quirks.image_url and context.quirks.files and context.facts.documents is not False:
        return
    for index, turn in enumerate(request.messages):
        for position, block in enumerate(turn.content):
            path = f"messages.{index}.content.{position}"
            if isinstance(block, ToolResult):
                for place, part in enumerate(block.content):
                    _refuse_source(part, f"{path}.content.{place}", context)
            else:
                _refuse_source(block, path, context)


def _refuse_source(block: object, path: str, context: Context) -> None:
    quirks = context.quirks
    if isinstance(block, Image) and block.source.type == "url" and not quirks.image_url:
        raise LossyError(path, "Images by URL are not supported for this model; send them as base64")
    takes_files = quirks.files and context.facts.documents is not False
    if isinstance(block, Document) and block.source.type in ("base64", "url") and not takes_files:
        raise LossyError(path, "PDF documents are not supported for this model")


# Structured output


class Structured(NamedTuple):
    """How structured output is asked for: natively, or by a tool that must be called. ``name`` is the one to use."""

    way: Literal["schema", "tool"]
    name: str
    schema: Json
    strict: bool = False


OUTPUT_NAME = "structured_output"
TOOL_DESCRIPTION = "Give the final answer. Call this once you have it."
_INSTRUCTION = "Answer with one JSON value that follows this JSON Schema, and with nothing else:\n"


def structured(request: Request, context: Context, losses: Losses, tools: Collection[str]) -> Structured | None:
    """The best way that the provider has, beside the tools of these names; None when nothing is added to the body.

    Sets ``context.structured_tool`` for a tool; where there is neither way, the system prompt asks for it.
    """
    output = request.output_config
    if output is None or output.format is None:
        return None
    schema, quirks, facts = output.format.schema, context.quirks, context.facts
    an_object = schema.get("type") == "object" or "$ref" in schema
    fitted = schema_fit.fit(schema if an_object else None)
    deepest = quirks.max_schema_depth
    if (
        quirks.json_schema
        and facts.structured_output is not False
        and an_object
        and (quirks.json_schema_with_tools or not tools)
        and (deepest is None or json_schema.depth(fitted.schema) <= deepest)
    ):
        if fitted.strict is not None and fitted.lost is None:
            return Structured("schema", OUTPUT_NAME, fitted.strict, strict=True)
        why = fitted.lost or "not strict: strict mode has no words for this schema"
        losses.note("approximated", "output_config.format", why)
        return Structured("schema", OUTPUT_NAME, fitted.strict or fitted.schema, strict=fitted.strict is not None)
    choice = request.tool_choice.type if request.tool_choice is not None else "auto"
    if an_object and quirks.tool_choice_required and facts.tools is not False and choice in ("auto", "any"):
        losses.note("emulated", "output_config.format", "a tool that must be called")
        name = OUTPUT_NAME
        while name in tools:
            name += "_"
        context.structured_tool = name
        return Structured("tool", name, fitted.schema)
    losses.note("emulated", "output_config.format", "an instruction")
    request.system = [*request.system, Text(text=_INSTRUCTION + json_text.encode(schema).decode())]
    return None


class Function(NamedTuple):
    """A custom tool as a host takes it."""

    parameters: Json
    strict: bool


def functions(request: Request, context: Context, losses: Losses) -> dict[str, Function]:
    """Name -> function, of the custom tools. Where a host takes no mixture, tools are strict only all together."""
    fitted = {}
    for index, tool in enumerate(request.tools):
        if tool.is_custom:
            fitted[tool.name] = found = schema_fit.fit(tool.input_schema)
            if found.lost is not None:
                losses.note("approximated", "tools.custom", found.lost, f"tools.{index}")
    wanted = {tool.name for tool in request.tools if tool.is_custom and tool.strict}
    can = {name for name in wanted if context.quirks.strict_tools and fitted[name].strict is not None}
    if not context.quirks.mixed_strict and len(can) < len(fitted):
        can = set()
    for index, tool in enumerate(request.tools):
        if tool.name in wanted - can:
            why = "not strict: the schema has no strict form, or the host does not take it beside the others"
            losses.note("approximated", "tools.strict", why, f"tools.{index}")
    return {
        name: Function(each.strict if name in can and each.strict is not None else each.schema, name in can)
        for name, each in fitted.items()
    }


# Reasoning and sampling

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
OBJECT_EFFORTS = ("low", "medium", "high")
"""What a host with ``reasoning: {effort}`` takes for any model: it leaves out what a model does not know."""
BUDGETS = ((4096, "high"), (2048, "medium"), (1024, "low"), (0, "minimal"))


def effort(request: Request, context: Context, losses: Losses) -> str | None:
    """How hard the model should think, in the host's words; None to leave it to the model.

    Sent only to a model whose levels are known: a host that does not know the field, or the level, refuses the request.
    """
    thinking, facts = request.thinking, context.facts
    wanted = request.output_config.effort if request.output_config is not None else None
    field = "output_config.effort"
    if is_off(request):
        return least_effort(context, losses)
    if wanted is None and thinking is not None and thinking.type == "enabled":
        field, wanted = "thinking.budget_tokens", effort_by_budget(thinking.budget_tokens or 0, BUDGETS)
    if wanted is None:
        return None
    why = no_effort(context)
    found = None if why is not None else nearest_effort(wanted, facts.efforts or OBJECT_EFFORTS)
    if found is None:
        losses.note("dropped", field, why or "this model has no such level")
        return None
    if thinking is not None and thinking.type == "enabled":
        losses.meet("thinking.budget_tokens")
    if found != wanted and field == "output_config.effort":
        losses.note("approximated", field, f"{found} is what this model has")
    return found


def no_effort(context: Context) -> str | None:
    """Why the model cannot be told an effort; None when it can."""
    if context.facts.reasoning is False:
        return "the model does not reason"
    if context.quirks.reasoning_object:
        return None
    if not context.quirks.reasoning_effort:
        return "the host has no field for it"
    return None if context.facts.efforts else "which levels the model takes is not known"


def most_tokens(request: Request, context: Context, losses: Losses) -> int:
    """The limit of the answer, with room for thinking that nobody asked for, of a model that cannot do without."""
    quirks, facts = context.quirks, context.facts
    can_be_off = "none" in facts.efforts or quirks.thinking_switch or quirks.reasoning_object
    thinks = facts.reasoning is True and not context.wants_thinking and not can_be_off
    return thinking_room.most_tokens(request, context, thinking_room.room(request) if thinks else 0, losses)


def effort_by_budget(budget: int, steps: Sequence[tuple[int, str]]) -> str:
    """The first step that the budget reaches, highest first; the lowest for one below all (a client may send -5)."""
    return next((name for least, name in steps if budget >= least), steps[-1][1])


def is_off(request: Request) -> bool:
    """Whether the client wants no thinking, or none before the answer begins."""
    return request.thinking is not None and request.thinking.type in ("disabled", "between_tools")


def least_effort(context: Context, losses: Losses) -> str | None:
    """The effort for thinking that is switched off; None where the model cannot be told, or need not be."""
    if context.facts.reasoning is False:
        return None
    why = no_effort(context)
    if why is not None:
        losses.note("dropped", "thinking.disabled", why)
        return None
    lowest = context.facts.efforts[0]
    if lowest != "none":
        losses.note("approximated", "thinking.disabled", f"{lowest} is the least this model thinks")
    return lowest


def nearest_effort(wanted: str, levels: tuple[str, ...]) -> str | None:
    """The highest of the levels that is not above the one wanted, otherwise the lowest; ``none`` only when asked.

    None where the model does no more than think or not: to think is what it does by itself.
    """
    if wanted in levels:
        return wanted
    place = EFFORTS.index(wanted) if wanted in EFFORTS else len(EFFORTS)
    thinking = [level for level in levels if level in EFFORTS and level != "none"]
    below = [level for level in thinking if EFFORTS.index(level) <= place]
    return next(iter(below[-1:] or thinking[:1]), None)


def sampling(request: Request, facts: Model, losses: Losses) -> Json:
    """``temperature`` and ``top_p``, unless the model takes none."""
    found: Json = {}
    takes = not facts.reasoning if facts.sampling is None else facts.sampling
    for name, value in (("temperature", request.temperature), ("top_p", request.top_p)):
        if value is not None and takes:
            found[name] = value
        elif value is not None:
            losses.note("dropped", name, "the model takes no sampling parameters")
    return found


# Who, and how served

_MAX_ID_CHARS = 64


class _User(msgspec.Struct):
    """What Claude Code puts into ``metadata.user_id``, as JSON."""

    account_uuid: str | None = None
    device_id: str | None = None
    session_id: str | None = None


_user = msgspec.json.Decoder(_User).decode


def identity(request: Request, context: Context, losses: Losses) -> Json:
    """The end user, hashed, and the conversation, as far as the host has fields for them."""
    quirks, found, user = context.quirks, Json(), _User()
    if request.user_id is not None:
        if quirks.user_field is None:
            losses.note("dropped", "metadata.user_id", "the host has no field for it")
        else:
            losses.meet("metadata.user_id")
        if request.user_id.startswith("{"):
            with suppress(msgspec.DecodeError, UnicodeError, RecursionError):  # any text may be a user's id
                user = _user(request.user_id)
    session = context.session_id or user.session_id
    if quirks.prompt_cache_key and session:
        found["prompt_cache_key"] = session if len(session) <= _MAX_ID_CHARS else _digest(session)
    if quirks.user_field is not None and request.user_id is not None:
        found[quirks.user_field] = _digest(user.account_uuid or user.device_id or request.user_id)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def service_tier(request: Request, context: Context, losses: Losses) -> Json:
    """The tier to ask for, where the host has tiers; before `prepare`, which does not know whether it has."""
    if context.quirks.service_tier:
        if request.speed == "fast":
            return {"service_tier": "priority"}
        named = {"auto": "auto", "standard_only": "default"}.get(request.service_tier or "")
        return {} if named is None else {"service_tier": named}
    if request.speed not in (None, "standard"):
        losses.note("dropped", "speed", "the host has no tiers")
    if request.service_tier not in (None, "auto"):
        losses.note("dropped", "service_tier", "the host has no tiers")
    return {}


_TIERS = {
    "default": "standard",
    "standard": "standard",
    "priority": "priority",
    "fast": "priority",
    "ultrafast": "priority",
    "scale": "priority",
}


def shown_tier(tier: str | None) -> str | None:
    """``usage.service_tier`` for the tier that the provider says it served; None for one without a counterpart."""
    return _TIERS.get(tier or "")


# Answers

REFUSAL: Json = {"type": "refusal", "category": None, "explanation": None}
"""``stop_details`` of an answer that the provider refused."""
_MOST = 2**53


def count(value: float | None) -> int:
    """A count of tokens, whatever a host wrote in its place."""
    return min(int(value), _MOST) if value is not None and value > 0 else 0
