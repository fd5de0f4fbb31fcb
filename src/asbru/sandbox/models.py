"""Model names: what they promise (`Profile`) and the options they can carry (`Name`).

A name is ``<model>`` or ``<model>:<item>,<item>…``. An item ``option=value`` sets one of `Options`; any other item
is a label that changes nothing, so that ``error-529:primary`` and ``error-529:backup`` are two models. The name is
the one place that every client and every gateway carries untouched, so it is the only way to steer the sandbox.

Every name is served. Names of Claude models behave as those models do about thinking, sampling, forced tools, prefill
and system messages (contract §2.6); all others accept everything. `failures` adds the names that fail.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from asbru.sandbox.answers import invalid
from asbru.sandbox.ids import EPOCH

MAX_QUOTED_CHARS = 40
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be said after the colon of a model name."""

    chunks: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Text deltas per text block of a stream."""
    delay_ms: Milliseconds = 0
    """Pause before every delta of a stream."""
    wait_ms: Milliseconds | None = None
    """Pause before the response's head."""
    tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Length of the answer's text."""
    tools: Literal["auto", "never"] = "auto"
    """``never``: answer in text although there are tools (a forced ``tool_choice`` still counts)."""
    thinking: Literal["plain", "redacted"] = "plain"
    stop_reason: Literal["refusal", "pause_turn", "model_context_window_exceeded"] | None = None
    after: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    """Events that a failing stream sends before it fails."""
    status: Annotated[int, Meta(ge=400, le=599)] = 529
    """The error that ``error-first-event`` and ``error-mid-stream`` send."""
    retry_after_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    until_retry: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Fail only while ``x-stainless-retry-count`` is below this."""


class Name(msgspec.Struct, frozen=True):
    full: str
    model: str
    options: Options


def parse(full: str) -> Name:
    """Raises `ApiError` for an option that does not exist or has a wrong value."""
    model, _, tail = full.partition(":")
    pairs: dict[str, str] = {}
    for item in tail.split(","):
        option, given, value = item.partition("=")
        if given:
            pairs[option.strip()] = value.strip()
    if not model:
        raise invalid("model: String should have at least 1 character before the options")
    for option in pairs:
        if option not in Options.__struct_fields__:
            raise invalid(f"model: {_unknown_option(option)}")
    try:
        options = msgspec.convert(pairs, Options, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"model: sandbox option: {error}") from error
    return Name(full, model, options)


def _unknown_option(option: str) -> str:
    near = difflib.get_close_matches(option.lower(), Options.__struct_fields__, n=1, cutoff=0.5)
    listed = ", ".join(f"`{name}`" for name in Options.__struct_fields__)
    hint = f"did you mean `{near[0]}`?" if near else f"the sandbox's options are {listed}"
    return f"unknown option `{option[:MAX_QUOTED_CHARS]}` in the model's name; {hint}"


ALL_THINKING = ("adaptive", "enabled", "disabled", "between_tools")
ALL_EFFORT = ("low", "medium", "high", "xhigh", "max")


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a model accepts and what the models list says about it."""

    id: str
    display_name: str
    alias: str | None = None
    """A second name, without the date."""
    line: str | None = None
    created_at: str = "1970-01-01T00:00:00Z"
    """The epoch where the release date is not known, as the real API has it."""
    max_input_tokens: int = 1_000_000
    max_tokens: int = 128_000
    thinking: tuple[str, ...] = ALL_THINKING
    thinks_by_default: bool = False
    """Whether it thinks adaptively when a request has no ``thinking``."""
    disabled_up_to: str = "max"
    """The highest effort with which thinking can be disabled."""
    display: str = "omitted"
    """The default of ``thinking.display``."""
    sampling: Literal["any", "default", "never"] = "never"
    """Whether temperature, top_p and top_k are taken: with any value, only with their defaults, never."""
    forced_tools: bool = True
    prefill: bool = False
    system_role: bool = True
    effort: tuple[str, ...] = ALL_EFFORT


_GENERIC = Profile(id="", display_name="", sampling="any", prefill=True, display="summarized")
_NEWEST = ("adaptive",)
_SWITCHABLE = ("adaptive", "disabled")
_BUDGETED = ("enabled", "disabled")


def _claude(name: str, **fields: object) -> Profile:
    """A Claude model by its name without date; ``date`` is put behind the id and the plain name is an alias then."""
    words = name.split("-")
    display_name = f"Claude {words[0].capitalize()} {'.'.join(words[1:])}"
    date = fields.pop("date", None)
    plain = f"claude-{name}"
    fixed = {"id": f"{plain}-{date}" if date else plain, "alias": plain if date else None, "line": words[0]}
    return msgspec.convert({"display_name": display_name, **fixed, **fields}, Profile)


_OLD: dict[str, object] = {
    "thinking": _BUDGETED,
    "sampling": "any",
    "prefill": True,
    "system_role": False,
    "display": "summarized",
    "max_input_tokens": 200_000,
    "max_tokens": 64_000,
    "effort": (),
}
_V46: dict[str, object] = {
    "thinking": ("adaptive", "enabled", "disabled"),
    "sampling": "any",
    "system_role": False,
    "display": "summarized",
}
CLAUDE: tuple[Profile, ...] = (
    _claude("fable-5-2", thinks_by_default=True, thinking=_NEWEST, forced_tools=False),
    _claude("mythos-5-2", thinks_by_default=True, thinking=_NEWEST, forced_tools=False),
    _claude("haiku-5-5", thinks_by_default=True, thinking=_SWITCHABLE, disabled_up_to="high", sampling="default"),
    _claude(
        "sonnet-5-5",
        thinks_by_default=True,
        thinking=("adaptive", "between_tools"),
        sampling="default",
        forced_tools=False,
    ),
    _claude("fable-5-1", thinks_by_default=True, thinking=_NEWEST, forced_tools=False),
    _claude("opus-5-5", thinks_by_default=True, thinking=_NEWEST, forced_tools=False),
    _claude("mythos-5-1", thinks_by_default=True, thinking=_NEWEST, forced_tools=False),
    _claude("sonnet-5", thinks_by_default=True, thinking=_SWITCHABLE, system_role=False),
    _claude("fable-5", thinks_by_default=True, thinking=_NEWEST),
    _claude("mythos-5", thinks_by_default=True, thinking=_NEWEST),
    _claude("opus-5", thinks_by_default=True, thinking=_SWITCHABLE, disabled_up_to="high"),
    _claude("opus-4-8", thinking=_SWITCHABLE),
    _claude("opus-4-7", thinking=_SWITCHABLE, system_role=False),
    _claude("mythos-preview", display_name="Claude Mythos Preview", thinking=_SWITCHABLE),
    _claude("opus-4-6", created_at="2026-02-04T00:00:00Z", **_V46),
    _claude("sonnet-4-6", **_V46),
    _claude("haiku-4-5", date="20251001", created_at="2025-10-01T00:00:00Z", **_OLD),
    _claude(
        "opus-4-5", date="20251101", created_at="2025-11-01T00:00:00Z", **{**_OLD, "effort": ("low", "medium", "high")}
    ),
    _claude("sonnet-4-5", date="20250929", created_at="2025-09-29T00:00:00Z", **_OLD),
)
"""Newest first. Facts from contract/anthropic.md §2.6 (2026-11-20); sizes of context and answer are approximate."""

SANDBOX = msgspec.structs.replace(
    _GENERIC, id="claude-sandbox", display_name="Sandbox: accepts everything", created_at=EPOCH
)
_BY_ID = {profile.id: profile for profile in (SANDBOX, *CLAUDE)}
_BY_ID |= {profile.alias: profile for profile in CLAUDE if profile.alias}


def profile_of(model: str) -> Profile:
    """What this model accepts: a Claude model's own rules, and everything for any other name."""
    return _BY_ID.get(model, _GENERIC)


def info(profile: Profile) -> dict[str, object]:
    """The profile as an entry of the models list, with every field."""

    def support(supported: bool, **details: object) -> dict[str, object]:
        return {"supported": supported, **details}

    yes = support(True)
    types = {kind: support(kind in profile.thinking) for kind in ("adaptive", "between_tools", "disabled", "enabled")}
    edits = ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112")
    levels = {level: support(level in profile.effort) for level in ALL_EFFORT}
    return {
        "type": "model",
        "id": profile.id,
        "display_name": profile.display_name,
        "created_at": profile.created_at,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": profile.line,
        "max_input_tokens": profile.max_input_tokens,
        "max_tokens": profile.max_tokens,
        "capabilities": {
            "batch": yes,
            "citations": yes,
            "code_execution": yes,
            "context_management": support(True, **dict.fromkeys(edits, yes)),
            "effort": support(bool(profile.effort), **levels),
            "image_input": yes,
            "pdf_input": yes,
            "server_tools": support(True, code_execution=yes, web_search=yes),
            "structured_outputs": yes,
            "thinking": support(True, types=types),
        },
    }
