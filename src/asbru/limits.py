"""``server.limits``: how much a request's body may hold, by count. `dialects.bounds` counts.

A part of the configuration (`config`), with the same rules: the text under each field is its documentation. The most
that coding agents and SDKs were seen to send (captures of Claude Code, the SDKs and LiteLLM): 15 members, 582 values,
10 levels, 9 blocks, 3 system blocks, 21 tools with 481 values, 4 input values, one stop sequence.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(gt=0, description="a whole number above 0")]


class Limits(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How much a request's body may hold, by count; more is answered with 413 before it is worked on."""

    max_values: Count = 500_000
    """JSON values (commas and opening brackets) in a body of more than 128 KiB; ten times as many in a batch."""
    max_escapes: Count = 4_000_000
    """Escapes such as ``\\n`` and ``\\u00e9`` in a body of more than 128 KiB; ten times as many in a batch."""
    max_depth: Count = 200
    """Objects and arrays within one another, where it is translated or holds more than 50,000 values."""
    max_members: Count = 1000
    """Members of the body's top level."""
    max_blocks: Count = 100_000
    """Messages; and content blocks in all of them, tool results and documents included; where it is translated."""
    max_input_values: Count = 200_000
    """JSON values in the inputs of all tool calls, where it is translated."""
    max_system_blocks: Count = 1000
    """Blocks of ``system``, where it is translated."""
    max_tools: Count = 2000
    """Tools, where it is translated."""
    max_schema_values: Count = 200_000
    """JSON values in ``tools`` and ``output_config``, where it is translated."""
    max_stop_sequences: Count = 1000
    """Stop sequences, where it is translated."""
