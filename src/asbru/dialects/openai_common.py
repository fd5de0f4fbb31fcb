"""What OpenAI's two dialects have in common: error bodies, schemas, effort, sampling, tiers, who the end user is.

Facts are from the OpenAI reference (types of its Python SDK 2.54 and 3.52; the guides on structured outputs, function
calling and reasoning) and contract/translation.md §8.0, §8.1. Nothing here knows which of the two dialects asks.
Functions that take `Losses` name there what they could not carry.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from asbru.dialects import faults
from asbru.dialects.codec import Context, Fault, Model
from asbru.dialects.losses import Losses
from asbru.dialects.message_stream import StreamError
from asbru.dialects.messages import Request

Json = dict[str, Any]

# Errors


class Error(msgspec.Struct):
    """The ``error`` of a body or an event; hosts other than OpenAI leave out much of it, or change types."""

    message: str | None = None
    type: str | None = None
    code: str | int | float | None = None


class _Body(msgspec.Struct):
    error: Error | str | None = None
    message: str | None = None
    detail: str | None = None


_body = msgspec.json.Decoder(_Body).decode

_BILLING = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_user_quota"}
)
_TOO_LONG = frozenset({"context_length_exceeded", "model_max_prompt_tokens_exceeded"})
_STATUS_BY_CODE: dict[str, int] = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "tokens": 429,
    "requests": 429,
    "server_is_overloaded": 503,
    "overloaded_error": 503,
    "slow_down": 503,
    "model_not_found": 404,
    "invalid_api_key": 401,
    "server_error": 500,
    "api_error": 500,
    "internal_error": 500,
    "timeout": 504,
}
"""What a code (or, where there is none, a type) of an error amounts to, when no status says it."""
_INVALID = re.compile(r"invalid|unsupported|image|content_filter|content_policy|bio_policy|policy_violation|too_large")
_TRY_AGAIN = re.compile(r"try again in (?:(\d+)m)?(?:(\d+(?:\.\d+)?)(ms|s))?", re.IGNORECASE)


def fault(status: int, headers: Mapping[bytes, bytes], body: bytes) -> Fault:
    """An error answer in the terms of the Messages API, whatever its body holds."""
    error = _error(body)
    message, code = error.message or "", str(error.code or "")
    names = {code, error.type or ""}
    if status == 402 or names & _BILLING:
        return faults.billing(message)
    if names & _TOO_LONG or (400 <= status < 500 and status != 429 and faults.says_too_long(message)):
        return faults.too_long(message)
    if status == 400 and code == "model_not_found":
        status = 404
    found = faults.fault(status, message, headers)
    if found.type == "rate_limit_error" and found.retry_after_s is None:
        return found._replace(retry_after_s=_said_wait_s(message))
    return found


def _error(body: bytes) -> Error:
    try:
        found = _body(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Error(message=body[: faults.MAX_MESSAGE_CHARS].decode("utf-8", "replace"))
    if isinstance(found.error, Error):
        return found.error
    return Error(message=found.error or found.message or found.detail)


def _said_wait_s(message: str) -> float | None:
    """``Please try again in 6m0s.``: OpenAI says it in words, and not always in ``retry-after``."""
    match = _TRY_AGAIN.search(message[: faults.MAX_MESSAGE_CHARS])
    if match is None or match.group(0).lower() == "try again in ":
        return None
    minutes, amount, unit = match.groups()
    wait_s = 60.0 * int(minutes or 0) + float(amount or 0) * (0.001 if unit == "ms" else 1.0)
    return min(wait_s, faults.MAX_RETRY_AFTER_S)


def stream_error(error: Error) -> StreamError:
    """An error within a stream, or within an answer that came with status 200."""
    message, code = error.message or "", str(error.code or "")
    names = {code, error.type or ""}
    if names & _BILLING:
        found = faults.billing(message)
    elif names & _TOO_LONG or faults.says_too_long(message):
        found = faults.too_long(message)
    else:
        known = (_STATUS_BY_CODE[name] for name in (code, error.type or "") if name in _STATUS_BY_CODE)
        status = next(known, 0) or (int(code) if code in ("400", "408", "413", "429", "502", "503", "504") else 0)
        if not status:
            status = 400 if _INVALID.search(code or error.type or "") else 500
        found = faults.fault(status, message or "The provider stopped with an error and gave no reason", {})
    return StreamError(found.message, found.type)


# Schemas

_STRICT_KEYS = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "$ref", "$defs"}
    | {"definitions", "$schema", "description", "title", "pattern", "format", "multipleOf", "minItems", "maxItems"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)
_STRICT_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
)
_STRICT_DEPTH = 10
_COMBINED = ("anyOf", "oneOf", "allOf")


def strict_schema(schema: Json, most_depth: int | None = None) -> Json | None:
    """The schema for ``strict: true``, meaning the same; None when strict mode has no words for it.

    Strict mode wants every object closed and every property required. An open object is closed, as the Messages API
    wants it too; an optional property cannot be said, because a ``null`` in its place is another answer.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return None
    found = _strict(schema, most_depth or _STRICT_DEPTH)
    return found if isinstance(found, dict) else None


def _strict(schema: object, depth: int) -> object | None:
    """The same for any place in a schema; None also when it is nested deeper than allowed."""
    if not isinstance(schema, dict) or depth < 0 or not schema.keys() <= _STRICT_KEYS:
        return None
    if "$ref" in schema and schema.keys() - {"$ref"}:
        return None
    if schema.get("format", "date") not in _STRICT_FORMATS:
        return None
    found = dict(schema)
    for key in ("properties", "$defs", "definitions"):
        if key in schema:
            each = _each_strict(schema[key], depth - (key == "properties"))
            if each is None:
                return None
            found[key] = each
    if "items" in schema:
        found["items"] = _strict(schema["items"], depth)
        if found["items"] is None:
            return None
    if "anyOf" in schema:
        branches = schema["anyOf"]
        strict = [_strict(branch, depth) for branch in branches] if isinstance(branches, list) else [None]
        if None in strict:
            return None
        found["anyOf"] = strict
    kind = schema.get("type")
    if kind == "object" or "properties" in schema or (isinstance(kind, list) and "object" in kind):
        if schema.get("additionalProperties", False) is not False:
            return None
        found["additionalProperties"] = False
        found["properties"] = properties = found.get("properties", {})
        if set(schema.get("required") or ()) != set(properties):
            return None
        found["required"] = list(properties)
    return found


def _each_strict(schemas: object, depth: int) -> Json | None:
    if not isinstance(schemas, dict):
        return None
    found = {name: _strict(schema, depth) for name, schema in schemas.items()}
    return None if None in found.values() else found


def parameters(schema: Json | None) -> Json:
    """A tool's schema as OpenAI takes it: an object with properties, and no ``anyOf`` and the like at the top.

    A schema that is so already is returned itself. Alternatives at the top become one object with all their
    properties, required where all of them require it.
    """
    if schema is None:
        return {"type": "object", "properties": {}}
    if schema.get("type") == "object" and "properties" in schema and not any(key in schema for key in _COMBINED):
        return schema
    found = {key: value for key, value in schema.items() if key not in _COMBINED}
    found["type"] = "object"
    properties: Json = dict(schema.get("properties") or {})
    required: list[str] = list(schema.get("required") or ())
    for key in _COMBINED:
        branches = [branch for branch in schema.get(key) or () if isinstance(branch, dict)]
        for branch in branches:
            for name, value in (branch.get("properties") or {}).items():
                properties.setdefault(name, value)
        sets = [set(branch.get("required") or ()) for branch in branches]
        always = (set.union if key == "allOf" else set.intersection)(*sets) if sets else set()
        required += sorted(always - set(required))
    found["properties"] = properties
    if required:
        found["required"] = required
    return found


class Structured(NamedTuple):
    """How structured output is asked for: by ``schema`` natively, by a ``tool`` of that name, or by an instruction."""

    way: Literal["schema", "tool", "instruction"]
    schema: Json
    strict: bool = False
    instruction: str = ""


OUTPUT_NAME = "structured_output"


def structured(request: Request, context: Context, losses: Losses) -> Structured | None:
    """The best way that the provider has; sets ``context.structured_tool`` for a tool that must be forced."""
    output = request.output_config
    if output is None or output.format is None:
        return None
    schema, quirks, facts = output.format.schema, context.quirks, context.facts
    an_object = schema.get("type") == "object"
    if quirks.json_schema and facts.structured_output is not False and an_object:
        strict = strict_schema(schema, quirks.max_schema_depth)
        if strict is not None:
            return Structured("schema", strict, True)
        losses.note(
            "approximated", "output_config.format", "strict mode has no words for this schema; it is not enforced"
        )
        return Structured("schema", schema)
    if an_object and not request.tools and quirks.tool_choice_required and facts.tools is not False:
        losses.note("emulated", "output_config.format", "by a tool that the model must call")
        context.structured_tool = OUTPUT_NAME
        return Structured("tool", parameters(schema))
    losses.note("emulated", "output_config.format", "by an instruction; it is not enforced")
    text = (
        "Answer with JSON that is valid against this JSON Schema, and with nothing else: no prose, no code fence.\n"
        + msgspec.json.encode(schema).decode()
    )
    return Structured("instruction", schema, instruction=text)


# Reasoning and sampling

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_BUDGETS = ((4096, "high"), (2048, "medium"), (1024, "low"), (0, "minimal"))


def effort(request: Request, context: Context, losses: Losses) -> str | None:
    """How hard the model should think, in OpenAI's words; None to leave it to the model."""
    thinking, output, facts = request.thinking, request.output_config, context.facts
    wanted = output.effort if output is not None else None
    field = "output_config.effort"
    if thinking is not None:
        if thinking.type in ("disabled", "between_tools"):
            field, wanted = "thinking.disabled", "none"
        elif thinking.type == "enabled":
            losses.meet("thinking.budget_tokens")
            budget = thinking.budget_tokens or 0
            wanted = wanted or next(name for least, name in _BUDGETS if budget >= least)
        elif wanted is None:
            field = "thinking.adaptive"
    if facts.reasoning is False or not context.quirks.reasoning_effort:
        if field != "thinking.disabled" and (wanted is not None or thinking is not None):
            losses.note("dropped", field, "the model does not think, or not by effort")
        return None
    if wanted is None:
        return None
    if wanted == "none" and not facts.efforts:
        losses.note("approximated", field, "the lowest effort that every model has, where the model thinks at all")
        return "low" if facts.reasoning else None
    if wanted not in EFFORTS:
        losses.note("dropped", field, "unknown here")
        return None
    found = nearest_effort(wanted, facts)
    if found != wanted:
        losses.note("approximated", field, f"{found} is the nearest that this model has")
    return found


def nearest_effort(wanted: str, facts: Model) -> str:
    """The highest effort of the model that is not above the one wanted, or else its lowest."""
    known = [name for name in EFFORTS if name in facts.efforts]
    if not known or wanted in known:
        return wanted
    below = [name for name in known if EFFORTS.index(name) < EFFORTS.index(wanted)]
    return below[-1] if below else known[0]


def sampling(request: Request, facts: Model, losses: Losses) -> Json:
    """``temperature`` and ``top_p``, unless the model takes none."""
    found: Json = {}
    takes = facts.sampling if facts.sampling is not None else not facts.reasoning
    for name, value in (("temperature", request.temperature), ("top_p", request.top_p)):
        if value is not None:
            if takes:
                found[name] = value
            else:
                losses.note("dropped", name, "this model takes none")
    return found


# Who, and how served


def end_user(user_id: str) -> tuple[str, str | None]:
    """A stable, meaningless name of 64 characters for the end user, and the session that Claude Code names there."""
    session = None
    try:
        named = msgspec.json.decode(user_id, type=dict[str, Any]) if user_id.startswith("{") else None
    except (msgspec.DecodeError, UnicodeError):
        named = None
    if named is not None:
        session = named.pop("session_id", None)
        user_id = msgspec.json.encode(named, order="sorted").decode()
    elif "_session_" in user_id:  # Claude Code before 2.1
        user_id, _, session = user_id.rpartition("_session_")
    return hashlib.sha256(user_id.encode()).hexdigest(), session if isinstance(session, str) and session else None


def users(request: Request, context: Context) -> Json:
    """The fields that say who the end user is and which conversation this belongs to, where the provider has them."""
    found: Json = {}
    quirks = context.quirks
    name, session = end_user(request.user_id) if request.user_id else ("", None)
    if name and quirks.user_field is not None:
        found[quirks.user_field] = name
    session = context.session_id or session
    if session and quirks.prompt_cache_key:
        found["prompt_cache_key"] = session if len(session) <= 64 else hashlib.sha256(session.encode()).hexdigest()
    return found


def service_tier(request: Request, context: Context) -> str | None:
    """The tier to ask for, where the provider has tiers."""
    if not context.quirks.service_tier:
        return None
    if request.speed == "fast":
        return "priority"
    return {"auto": "auto", "standard_only": "default"}.get(request.service_tier or "")


def shown_tier(tier: str | None) -> str | None:
    """``usage.service_tier`` for the tier that the provider says it served."""
    if tier is None:
        return None
    return "priority" if tier in ("priority", "fast", "ultrafast", "scale") else "standard"
