"""The names of the top-level members of request bodies, and those that differ from one of them only in case.

JSON names have case, but Go's decoder, and others written like it, match them without: such a provider takes ``Model``
for ``model``, and would serve another model than the one the gateway has judged.
"""

from __future__ import annotations

from collections.abc import Iterable

MESSAGE = frozenset(
    {
        "model",
        "max_tokens",
        "messages",
        "system",
        "stream",
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "output_format",
        "service_tier",
        "speed",
        "stop_sequences",
        "temperature",
        "top_p",
        "top_k",
        "thinking",
        "tool_choice",
        "tools",
        "mcp_servers",
        "context_management",
        "compaction",
        "fallbacks",
        "fallback_credit_token",
        "thread",
        "billing_policy",
        "safeguards",
        "tags",
        # legacy text completions
        "prompt",
        "max_tokens_to_sample",
        # in the body at some hosts
        "anthropic_version",
        "anthropic_beta",
    }
)
"""Of a message, a token count and a legacy completion: contract/anthropic.md §2.1."""
BATCH = frozenset({"requests"})
BATCH_REQUEST = frozenset({"custom_id", "params"})

_SHOWN_CHARS = 64


def other_case(names: Iterable[str], known: frozenset[str]) -> str | None:
    """What is wrong with the first name that is a known one but for its case; None when there is none."""
    for name in names:
        if name in known:
            continue
        folded = name.casefold()  # the long s and the Kelvin sign are letters of ASCII too, to Go as well
        if folded in known:
            return f"{name[:_SHOWN_CHARS]}: Extra inputs are not permitted; the field's name is {folded}"
    return None
