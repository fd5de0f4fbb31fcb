"""Runs a client's cases and prints one JSON object: case -> null, or what went wrong."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable


def run(*cases: Callable[[], None]) -> None:
    outcomes: dict[str, str | None] = {}
    for case in cases:
        try:
            case()
            outcomes[case.__name__] = None
        except Exception:
            outcomes[case.__name__] = traceback.format_exc()
    print(json.dumps(outcomes))
