"""How much a model is to think: Messages' effort, budget and switch in the words of a host."""

from __future__ import annotations

from typing import Any

from asbru.dialects.codec import Context
from asbru.dialects.losses import Losses
from asbru.dialects.messages import Request

Json = dict[str, Any]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_COMMON = ("low", "medium", "high")
"""What a model takes of which nothing is known."""
_BUDGETS = ((4096, "high"), (2048, "medium"), (1024, "low"), (0, "minimal"))


def is_off(request: Request) -> bool:
    """Whether the client wants no thinking, or none before the answer begins."""
    return request.thinking is not None and request.thinking.type in ("disabled", "between_tools")


def reasoning(request: Request, context: Context, losses: Losses) -> Json:
    """The fields of the request's body that say it."""
    thinking, quirks, facts = request.thinking, context.quirks, context.facts
    effort = request.output_config.effort if request.output_config is not None else None
    budget = thinking.budget_tokens if thinking is not None and thinking.type == "enabled" else None
    if facts.reasoning is False:
        if effort is not None:
            losses.note("dropped", "output_config.effort", "the model does not reason")
        if budget is not None:
            losses.note("dropped", "thinking.budget_tokens", "the model does not reason")
        return {}
    if is_off(request):
        return _off(context, losses)
    fields: Json = {"thinking": {"type": "enabled"}} if quirks.thinking_switch and thinking is not None else {}
    if budget is not None:
        if quirks.reasoning_object and effort is None:
            return {"reasoning": {"max_tokens": budget}}
        effort = effort or next(name for least, name in _BUDGETS if budget >= least)
    if effort is None:
        return fields
    if not quirks.reasoning_object and not quirks.reasoning_effort:
        field = "output_config.effort" if budget is None else "thinking.budget_tokens"
        losses.note("dropped", field, "the host has no field for it")
        return fields
    if budget is not None:
        losses.meet("thinking.budget_tokens")
    level = _level(effort, facts.efforts or _COMMON)
    if level != effort and budget is None:
        losses.note("approximated", "output_config.effort", f"{level} is what this model has")
    if quirks.reasoning_object:
        fields["reasoning"] = {"effort": level}
    else:
        fields["reasoning_effort"] = level
    return fields


def _off(context: Context, losses: Losses) -> Json:
    quirks, facts = context.quirks, context.facts
    if quirks.thinking_switch:
        return {"thinking": {"type": "disabled"}}
    if quirks.reasoning_object:
        return {"reasoning": {"effort": "none"}}
    if not quirks.reasoning_effort or facts.reasoning is None:
        # A model of which nothing is known may not reason at all, and then refuses to be told.
        losses.note("dropped", "thinking.disabled", "the host's or the model's words for it are not known")
        return {}
    lowest = facts.efforts[0] if facts.efforts else "low"
    if lowest != "none":
        losses.note("approximated", "thinking.disabled", f"{lowest} is the least this model thinks")
    return {"reasoning_effort": lowest}


def _level(effort: str, levels: tuple[str, ...]) -> str:
    """The level nearest to the one that is wanted: the highest that is not above it, otherwise the lowest."""
    if effort in levels:
        return effort
    wanted = EFFORTS.index(effort) if effort in EFFORTS else len(EFFORTS)
    thinking = [level for level in levels if level in EFFORTS and level != "none"]
    below = [level for level in thinking if EFFORTS.index(level) <= wanted]
    return (below[-1:] or thinking[:1] or [levels[0]])[0]
