"""LangChain: python langchain_anthropic.py GATEWAY MODEL. Its module is named as this file is: see pydantic_ai.py."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path.remove(HERE)
import anthropic  # noqa: E402
from langchain_anthropic import ChatAnthropic  # noqa: E402
from langchain_core.messages import HumanMessage, ToolMessage  # noqa: E402
from langchain_core.tools import tool  # noqa: E402

sys.path.append(HERE)
import cases  # noqa: E402

url, name = sys.argv[1:3]


def chat(model: str = name) -> ChatAnthropic:
    return ChatAnthropic(model=model, base_url=url, api_key="any", max_retries=0, max_tokens=500)


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"fog in {city}"


def message() -> None:
    answer = chat().invoke("Hello from LangChain")
    assert "Hello from LangChain" in answer.text
    assert answer.usage_metadata["input_tokens"] > 0


def stream() -> None:
    assert "Streamed" in "".join(chunk.text for chunk in chat().stream("Streamed"))


def tool_round() -> None:
    model = chat().bind_tools([get_weather])
    asked = HumanMessage("Call get_weather")
    answer = model.invoke([asked])
    (call,) = answer.tool_calls
    assert call["name"] == "get_weather" and set(call["args"]) == {"city"}
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    assert "fog in" in model.invoke([asked, answer, result]).text


def error() -> None:
    try:
        chat("error-400").invoke("Fail")
    except anthropic.BadRequestError as failed:
        assert failed.status_code == 400
    else:
        raise AssertionError("no error")


cases.run(message, stream, tool_round, error)
