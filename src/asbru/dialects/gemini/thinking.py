"""How hard to think, in Gemini's terms: a budget of tokens up to 2.5, a level from 3 on (never both: a 400).

ai.google.dev/gemini-api/docs/thinking. Which levels a model has differs even between minor versions (``MINIMAL`` is a
400 on 3.1 Pro and 3.7 Flash), so that what is not known to be there is not asked for; ``LOW`` and ``HIGH`` always are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from asbru.dialects.codec import Context, Model
from asbru.dialects.gemini.family import generation, is_gemini_3
from asbru.dialects.losses import Losses
from asbru.dialects.messages import Request
from asbru.dialects.thinking_room import room

Json = dict[str, Any]

LEVELS = ("minimal", "low", "medium", "high", "xhigh")
_CERTAIN_LEVELS = ("low", "medium", "high")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_LEVEL_BY_BUDGET = ((8192, "high"), (2048, "medium"), (0, "low"))
_BUDGET_BY_EFFORT = {"low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
"""As Google's own OpenAI-compatible endpoint has it (ai.google.dev/gemini-api/docs/openai), and on."""
_BUDGETS_2_5 = (("flash-lite", 512, 24_576), ("flash", 1, 24_576), ("pro", 128, 32_768))
"""Least and most of Gemini 2.5, by what is in the name."""


class Plan(NamedTuple):
    """``thinkingConfig``, and how many tokens more than `max_tokens` the answer may have."""

    config: Json
    room_tokens: int = 0


def plan(request: Request, context: Context, losses: Losses) -> Plan:
    """What to ask for; names what Gemini cannot do as it was wanted."""
    model, asked = context.model, request.thinking
    wanted = request.output_config.effort if request.output_config is not None else None
    if context.facts.reasoning is False or generation(model) < 2.5:
        if wanted is not None:
            losses.note("dropped", "output_config.effort", "this model does not think")
        if asked is not None and asked.type in ("enabled", "adaptive"):
            field = "thinking.budget_tokens" if asked.type == "enabled" else "thinking.adaptive"
            losses.note("dropped", field, "this model does not think")
        return Plan({})
    if wanted is not None and wanted not in _EFFORTS:
        losses.note("dropped", "output_config.effort", "unknown here")
        wanted = None
    if asked is not None and asked.type in ("disabled", "between_tools"):
        return _least(request, context, losses)
    budget = asked.budget_tokens if asked is not None and asked.type == "enabled" else None
    by = _by_level if is_gemini_3(model) else _by_budget
    config = by(wanted, budget, context, losses)
    if asked is None:
        thinks = "flash-lite" not in model or bool(config)  # 2.5 Flash-Lite thinks only when told to
        return Plan(config, room(request) if thinks else 0)
    # In the Messages API too, thinking that was asked for counts in `max_tokens`: no room to be made.
    return Plan({**config, "includeThoughts": True} if context.show_thinking else config)


def _least(request: Request, context: Context, losses: Losses) -> Plan:
    """As little thinking as the model can do."""
    if not is_gemini_3(context.model):
        if "pro" not in context.model:
            return Plan({"thinkingBudget": 0})
        losses.meet("thinking.disabled")
        return Plan({"thinkingBudget": 128}, 128)
    losses.meet("thinking.disabled")
    return Plan({"thinkingLevel": (_levels(context.facts) or _CERTAIN_LEVELS)[0].upper()}, room(request))


def _levels(facts: Model) -> tuple[str, ...]:
    """The levels that the model is known to have, lowest first."""
    return tuple(level for level in LEVELS if level in facts.efforts)


def _by_level(wanted: str | None, budget: int | None, context: Context, losses: Losses) -> Json:
    if budget is not None:
        losses.meet("thinking.budget_tokens")
        wanted = wanted or next((level for least, level in _LEVEL_BY_BUDGET if budget >= least), "low")
    if wanted is None:
        return {}
    levels = _levels(context.facts) or _CERTAIN_LEVELS
    rank = LEVELS.index("xhigh" if wanted == "max" else wanted)
    level = next((level for level in reversed(levels) if LEVELS.index(level) <= rank), levels[0])
    if level != wanted:
        losses.note("approximated", "output_config.effort", f"{level} is the nearest level of this model")
    return {"thinkingLevel": level.upper()}


def _by_budget(wanted: str | None, budget: int | None, context: Context, losses: Losses) -> Json:
    if budget is None and wanted is None:
        return {}
    tokens = budget if budget is not None else _BUDGET_BY_EFFORT[wanted or "high"]
    if wanted is not None:
        losses.note("approximated", "output_config.effort", "a budget of thinking tokens")
    for name, least, most in _BUDGETS_2_5:
        if name in context.model:
            within = min(max(tokens, least), most)
            if within != tokens and budget is not None:
                losses.note("approximated", "thinking.budget_tokens", f"{within} is the nearest this model takes")
            return {"thinkingBudget": within}
    return {"thinkingBudget": tokens}
