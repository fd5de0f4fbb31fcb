"""What a Gemini model's name says of it, where nothing else is known: its generation."""

from __future__ import annotations

import re
from functools import lru_cache

_NAME = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
LATEST = 99.0
"""Of a name without a number, such as ``gemini-flash-latest`` or a tuned model's."""


@lru_cache(maxsize=1024)
def generation(model: str) -> float:
    """2.5 for ``gemini-2.5-flash``; 0 for the Gemma models that the same API serves."""
    match = _NAME.search(model)
    if match is not None:
        return float(f"{match.group(1)}.{match.group(2) or 0}")
    return 0.0 if "gemma" in model else LATEST


def is_gemini_3(model: str) -> bool:
    """Generation 3 or later: thinks by level, validates thought signatures, takes media in function responses, and
    functions together with its own tools and with structured output."""
    return generation(model) >= 3
