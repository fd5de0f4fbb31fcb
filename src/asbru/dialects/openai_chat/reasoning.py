"""How much a model is to think: Messages' effort, budget and switch in the words of a host."""

from __future__ import annotations

from typing import Any

from asbru.dialects.codec import Context
from asbru.dialects.losses import Losses
from asbru.dialects.messages import Request
from asbru.dialects.openai_common import BUDGETS, COMMON_EFFORTS, effort_by_budget, is_off, least_effort, nearest_effort

Json = dict[str, Any]


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
        effort = effort or effort_by_budget(budget, BUDGETS)
    if effort is None:
        return fields
    if not quirks.reasoning_object and not quirks.reasoning_effort:
        field = "output_config.effort" if budget is None else "thinking.budget_tokens"
        losses.note("dropped", field, "the host has no field for it")
        return fields
    if budget is not None:
        losses.meet("thinking.budget_tokens")
    level = nearest_effort(effort, facts.efforts or COMMON_EFFORTS)
    if level != effort and budget is None:
        losses.note("approximated", "output_config.effort", f"{level} is what this model has")
    if quirks.reasoning_object:
        fields["reasoning"] = {"effort": level}
    else:
        fields["reasoning_effort"] = level
    return fields


def _off(context: Context, losses: Losses) -> Json:
    quirks = context.quirks
    if quirks.thinking_switch:
        return {"thinking": {"type": "disabled"}}
    if quirks.reasoning_object:
        return {"reasoning": {"effort": "none"}}
    effort = least_effort(context, losses)
    return {} if effort is None else {"reasoning_effort": effort}
