"""What the load is made of: requests shaped like a coding agent's and answers shaped like the provider's.

Deterministic. The shape (order of the keys, system blocks, tools with schemas, a conversation of tool calls and file
contents full of quotes and line breaks, and the headers) is that of Claude Code's requests; the text is filler.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

REQUEST_HEADERS = {
    "accept": "application/json",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
    "user-agent": "claude-cli/2.1.0 (external, cli)",
    "x-api-key": "bench",
    "x-app": "cli",
    "x-claude-code-session-id": "def95485-b519-4cd0-9281-992ec04bab58",
    "x-stainless-arch": "x64",
    "x-stainless-lang": "js",
    "x-stainless-os": "Linux",
    "x-stainless-package-version": "0.128.0",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "node",
    "x-stainless-runtime-version": "v22.12.1",
    "x-stainless-timeout": "600",
}

RESPONSE_HEADERS = {
    "request-id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    "anthropic-organization-id": "b0a5f3c2-5f6f-4c1e-9f49-2f2f6f0d8f11",
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "3999",
    "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:00Z",
    "anthropic-ratelimit-input-tokens-limit": "2000000",
    "anthropic-ratelimit-input-tokens-remaining": "1999000",
    "anthropic-ratelimit-input-tokens-reset": "2026-01-01T00:00:00Z",
    "anthropic-ratelimit-output-tokens-limit": "400000",
    "anthropic-ratelimit-output-tokens-remaining": "399000",
    "anthropic-ratelimit-output-tokens-reset": "2026-01-01T00:00:00Z",
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
    "via": "1.1 google",
    "cf-cache-status": "DYNAMIC",
    "cf-ray": "9a1b2c3d4e5f6071-FRA",
}

USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 512,
    "cache_read_input_tokens": 20480,
    "cache_creation": {"ephemeral_5m_input_tokens": 512, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 1,
    "service_tier": "standard",
}

CODE = (
    "     {n}\tdef transfer_{n}(source: Account, target: Account, amount: Decimal) -> Receipt:\n"
    '     {n}\t    """Move \\"amount\\" once; raises \'InsufficientFunds\' when there is too little."""\n'
    '     {n}\t    if source.balance < amount:\n\t\traise InsufficientFunds(f"{{source.id}}: {{amount}}")\n'
)


def request_body(size_bytes: int, *, stream: bool, model: str) -> bytes:
    """A Messages request of about ``size_bytes`` (exact to the length of its filler; 1,000 at least)."""
    small = size_bytes < 10_000
    body: dict[str, object] = {
        "model": model,
        "messages": [],
        "system": system(small),
        **({} if small else {"tools": [tool(n) for n in range(12)]}),
        "metadata": {"user_id": json.dumps({"device_id": "d48d34933aa32c48", "session_id": "def95485-b519"})},
        "max_tokens": 32000,
        **({} if small else {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}),
        "stream": stream,
    }
    messages: list[dict[str, object]] = []
    body["messages"] = messages
    messages.append({"role": "user", "content": [{"type": "text", "text": "Why does the second transfer fail?"}]})
    for turn in range(1, 1000):
        room = size_bytes - len(encode(body))
        if room < 700:
            break
        messages.extend(tool_turn(turn, min(room - 500, 8000)))
    room = size_bytes - len(encode(body)) - len(',{"type":"text","text":""}')
    last = messages[-1]["content"]
    assert isinstance(last, list)
    last.append({"type": "text", "text": "x" * max(room, 1)})
    return encode(body)


def system(small: bool) -> list[dict[str, object]]:
    cached = {"cache_control": {"type": "ephemeral"}}
    if small:
        return [{"type": "text", "text": "You are a coding agent.", **cached}]
    prose = "Read before you write. Keep changes small, and say what you have seen, not what you expect. " * 90
    return [
        {"type": "text", "text": "You are a coding agent.", **cached},
        {"type": "text", "text": prose, **cached},
    ]


def tool(number: int) -> dict[str, object]:
    return {
        "name": f"Tool{number}",
        "description": 'Runs a "command" in the project\'s directory and returns what it printed.\n\n- Be careful.\n'
        * 12,
        "input_schema": {
            "type": "object",
            "properties": {
                f"argument_{n}": {"type": "string", "description": "An absolute path, never a relative one."}
                for n in range(6)
            },
            "required": ["argument_0"],
            "additionalProperties": False,
        },
    }


def tool_turn(turn: int, text_bytes: int) -> list[dict[str, object]]:
    """The assistant reads a file, the user's side returns it: about ``text_bytes`` of code as JSON text."""
    text = ""
    while len(json.dumps(text)) < text_bytes - 300:
        text += CODE.format(n=len(text))
    call = {"type": "tool_use", "id": f"toolu_{turn:024d}", "name": "Tool1", "input": {"argument_0": "/src/bank.py"}}
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": text}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


def plain_answer() -> bytes:
    content = [{"type": "text", "text": "The second transfer reads the balance before the first has settled. " * 8}]
    usage = {**USAGE, "output_tokens": 112}
    return encode(
        {
            "model": "claude-sonnet-4-5",
            "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
    )


def stream_answer(events: int) -> list[bytes]:
    """A streamed answer of exactly ``events`` server-sent events (at least 6), one entry each."""
    message: dict[str, object] = {
        "model": "claude-sonnet-4-5",
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE,
    }
    deltas = [{"type": "text_delta", "text": text} for text in texts(events - 6)]
    data: list[dict[str, object]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {**USAGE, "output_tokens": 1800},
        },
        {"type": "message_stop"},
    ]
    return [b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), encode(event)) for event in data]


def texts(count: int) -> Iterator[str]:
    """Deltas that make events of about 120 to 200 bytes, with the escapes that code brings."""
    for n in range(count):
        yield f' the balance of "account {n}" is read' + " before it is" * (n * 7 % 6) + ("\n" if n % 4 == 0 else "")


def encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
