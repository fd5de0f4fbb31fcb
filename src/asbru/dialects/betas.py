"""Which values of ``anthropic-beta`` a host of Claude takes: Bedrock and Vertex AI refuse a request with any other.

Facts: AWS, "Anthropic Claude Messages API", beta headers; Anthropic's page on extended thinking, on interleaving at
third parties; LiteLLM's ``anthropic_beta_headers_config.json``, as its users probed it; all of 2026-11-20.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec


class Betas(msgspec.Struct, frozen=True):
    """One host's."""

    sent: Mapping[str, str]
    """Value -> what the host calls it."""
    needless: frozenset[str]
    """Values that change nothing there: generally available, or only the name of a client."""
    by_model: Mapping[str, re.Pattern[str]]
    """Values that only some models take; the others do the same without."""

    def divide(self, betas: Iterable[str], model: str) -> tuple[list[str], list[str]]:
        """What is sent, and what is lost."""
        sent: list[str] = []
        lost: list[str] = []
        for beta in dict.fromkeys(betas):
            if beta in self.by_model:
                if self.by_model[beta].search(model):
                    sent.append(beta)
            elif beta in self.sent:
                sent.append(self.sent[beta])
            elif beta not in self.needless:
                lost.append(beta)
        return list(dict.fromkeys(sent)), lost


LONG_CONTEXT = "context-1m-2025-08-07"
INTERLEAVED = "interleaved-thinking-2025-05-14"
_UP_TO_4_5 = re.compile(r"claude-(?:opus|sonnet)-4(?:-[015])?(?=[@-][0-9]{8}|-v[0-9]|$)")
"""Claude 4 to 4.5: later models interleave by themselves, and Bedrock and Vertex refuse the value for them."""
_NEEDLESS = frozenset(
    {
        "claude-code-20250219",
        "extended-cache-ttl-2025-04-11",
        "max-tokens-3-5-sonnet-2024-07-15",
        "oauth-2025-04-20",
        "pdfs-2024-09-25",
        "prompt-caching-2024-07-31",
        "structured-outputs-2025-11-13",
        "token-counting-2024-11-01",
    }
)

_PER_TURN = "per-turn-control-2026-07-01"
_OUTPUT_CONFIG = "mid-conversation-output-config-2026-07-01"
"""Two names of one thing, ``output_config`` on a message of the system; Claude Code uses the first. The field stands in
the body whatever becomes of the value, and is refused without it: a host that knows only one name is told that one."""

BEDROCK = Betas(
    sent={
        "advanced-tool-use-2025-11-20": "tool-search-tool-2025-10-19",
        _PER_TURN: _OUTPUT_CONFIG,
        **{
            beta: beta
            for beta in (
                "compact-2026-01-12",
                "computer-use-2024-10-22",
                "computer-use-2025-01-24",
                "computer-use-2025-11-24",
                LONG_CONTEXT,
                "context-management-2025-06-27",
                "dangerous-tool-use-2026-09-03",
                "dev-full-thinking-2025-05-14",
                "effort-2025-11-24",
                "fine-grained-tool-streaming-2025-05-14",
                _OUTPUT_CONFIG,
                "mid-conversation-tool-changes-2026-07-01",
                "output-128k-2025-02-19",
                "thinking-binding-controls-2026-08-01",
                "thinking-display-updates-2026-08-18",
                "token-efficient-tools-2025-02-19",
                "tool-examples-2025-10-29",
                "tool-search-tool-2025-10-19",
            )
        },
    },
    needless=_NEEDLESS,
    by_model={INTERLEAVED: _UP_TO_4_5},
)
VERTEX = Betas(
    sent={
        "advanced-tool-use-2025-11-20": "tool-search-tool-2025-10-19",
        _OUTPUT_CONFIG: _PER_TURN,
        **{
            beta: beta
            for beta in (
                "compact-2026-01-12",
                "compact-2026-09-04",
                "computer-use-2025-01-24",
                "computer-use-2025-11-24",
                LONG_CONTEXT,
                "context-management-2025-06-27",
                "dangerous-tool-use-2026-09-03",
                _PER_TURN,
                "thinking-binding-controls-2026-08-01",
                "thinking-display-updates-2026-08-18",
                "tool-search-tool-2025-10-19",
                "web-search-2025-03-05",
            )
        },
    },
    needless=_NEEDLESS | {"effort-2025-11-24"},
    by_model={INTERLEAVED: _UP_TO_4_5},
)
