"""What of an answer must go back to Gemini as it was, and how it rides through the client.

Gemini 3 refuses a request whose history lacks the ``thoughtSignature`` of the first function call of a step
(ai.google.dev/gemini-api/docs/thought-signatures). Sealed (blobs.py) into the signature of a thinking block, one each:
``before``: the signature of the part that the next block makes;
``after``: the signature of the text before;
``parts``: whole parts that Messages has no words for, or that are shown as the text behind them (`shown`);
nothing: thinking that was shown, of which Gemini takes nothing back.
"""

from __future__ import annotations

from typing import Any

from asbru.dialects import blobs

Json = dict[str, Any]

SKIP_VALIDATION = "skip_thought_signature_validator"
"""Google's own stand-in for the signature of a call that Gemini did not make, or whose signature is lost."""


def seal(provider: str, model: str, **state: object) -> str:
    """A signature that holds ``before``, ``after``, ``parts`` or nothing."""
    return blobs.seal(provider, model, state)


def shown(part: Json) -> str:
    """Code that Gemini ran, or what came of it, as text; empty for every other part."""
    code, result = part.get("executableCode"), part.get("codeExecutionResult")
    if isinstance(code, dict):
        return f"```{str(code.get('language') or '').lower()}\n{code.get('code') or ''}\n```\n"
    if isinstance(result, dict):
        outcome = str(result.get("outcome") or "")
        failed = "" if outcome in ("", "OUTCOME_OK") else f"{outcome}\n"
        return f"```\n{failed}{result.get('output') or ''}\n```\n"
    return ""
