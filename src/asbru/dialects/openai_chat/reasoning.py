"""How much a model is to think: Messages' effort, budget and switch in the words of a host."""

from __future__ import annotations

from typing import Any

from asbru.dialects.codec import Context
from asbru.dialects.losses import Losses
from asbru.dialects.messages import Request
from asbru.dialects.openai_common import effort, is_off, least_effort

Json = dict[str, Any]


def reasoning(request: Request, context: Context, losses: Losses) -> Json:
    """The fields of the request's body that say it."""
    thinking, quirks = request.thinking, context.quirks
    if is_off(request):
        return _off(context, losses)
    switch = quirks.thinking_switch and context.facts.reasoning is not False and thinking is not None
    fields: Json = {"thinking": {"type": "enabled"}} if switch else {}
    budget = thinking.budget_tokens if thinking is not None and thinking.type == "enabled" else None
    wanted = request.output_config.effort if request.output_config is not None else None
    if budget is not None and wanted is None and quirks.reasoning_object and context.facts.reasoning is not False:
        return {"reasoning": {"max_tokens": budget}}
    level = effort(request, context, losses)
    if level is None:
        return fields
    return fields | ({"reasoning": {"effort": level}} if quirks.reasoning_object else {"reasoning_effort": level})


def unthinking(request: Request, context: Context, losses: Losses) -> Json | None:
    """The fields that let a tool be forced at a host that does not take it while the model thinks.

    Empty where nothing is to be said; None where thinking cannot be switched off.
    """
    quirks = context.quirks
    if quirks.forced_choice_thinks or context.facts.reasoning is False:
        return {}
    off: Json | None = None
    if quirks.thinking_switch:
        off = {"thinking": {"type": "disabled"}}
    elif "none" in context.facts.efforts and quirks.reasoning_object:
        off = {"reasoning": {"effort": "none"}}
    elif "none" in context.facts.efforts and quirks.reasoning_effort:
        off = {"reasoning_effort": "none"}
    if off is not None:
        why = "the host forces no tool while the model thinks"
        if request.output_config is not None and request.output_config.effort is not None:
            losses.note("dropped", "output_config.effort", why)
        if request.thinking is not None and not is_off(request):
            adaptive = request.thinking.type == "adaptive"
            losses.note("dropped", "thinking.adaptive" if adaptive else "thinking.budget_tokens", why)
    return off


def _off(context: Context, losses: Losses) -> Json:
    quirks = context.quirks
    if context.facts.reasoning is False:
        return {}
    if quirks.thinking_switch:
        return {"thinking": {"type": "disabled"}}
    if quirks.reasoning_object:
        return {"reasoning": {"effort": "none"}}
    level = least_effort(context, losses)
    return {} if level is None else {"reasoning_effort": level}
