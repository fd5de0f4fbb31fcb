"""LiteLLM as a client: python litellm.py GATEWAY MODEL. Its module is named as this file is: see pydantic_ai.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it fetches one at its import
HERE = str(Path(__file__).parent)
sys.path.remove(HERE)
import litellm  # noqa: E402

sys.path.append(HERE)
import cases  # noqa: E402

url, name = sys.argv[1:3]
GET_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(text: str, *more: Any, model: str = name, **settings: Any) -> Any:
    return litellm.completion(
        model=f"anthropic/{model}",
        api_base=url,
        api_key="any",
        max_tokens=500,
        num_retries=0,
        messages=[{"role": "user", "content": text}, *more],
        **settings,
    )


def message() -> None:
    answer = ask("Hello from LiteLLM")
    assert "Hello from LiteLLM" in answer.choices[0].message.content
    assert answer.usage.prompt_tokens > 0


def stream() -> None:
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask("Streamed", stream=True)]
    assert "Streamed" in "".join(pieces)


def tool_round() -> None:
    answer = ask("Call get_weather", tools=[GET_WEATHER]).choices[0].message
    (call,) = answer.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "fog over the bridge"}
    followed = ask("Call get_weather", answer.model_dump(), result, tools=[GET_WEATHER])
    assert "fog over the bridge" in followed.choices[0].message.content


def error() -> None:
    try:
        ask("Fail", model="error-400")
    except litellm.BadRequestError as failed:
        assert failed.status_code == 400
    else:
        raise AssertionError("no error")


cases.run(message, stream, tool_round, error)
