"""PydanticAI: python pydantic_ai.py GATEWAY MODEL. Its module is named as this file is, so the path is put right."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent)
sys.path.remove(HERE)
from pydantic import BaseModel  # noqa: E402
from pydantic_ai import Agent, ModelHTTPError  # noqa: E402
from pydantic_ai.models.anthropic import AnthropicModel  # noqa: E402
from pydantic_ai.providers.anthropic import AnthropicProvider  # noqa: E402

sys.path.append(HERE)
import cases  # noqa: E402

url, name = sys.argv[1:3]


def model(name: str) -> AnthropicModel:
    return AnthropicModel(name, provider=AnthropicProvider(api_key="any", base_url=url))


def agent(**settings: Any) -> Agent[None, Any]:
    return Agent(model(name), **settings)


def message() -> None:
    assert "Hello from PydanticAI" in agent().run_sync("Hello from PydanticAI").output


def stream() -> None:
    async def main() -> str:
        async with agent().run_stream("Streamed") as result:
            return "".join([piece async for piece in result.stream_text(delta=True)])

    assert "Streamed" in asyncio.run(main())


def tool_round() -> None:
    asked: list[str] = []
    weather = agent()

    @weather.tool_plain
    def get_weather(city: str) -> str:
        asked.append(city)
        return "fog over the bridge"

    assert "fog over the bridge" in weather.run_sync("Call get_weather").output
    assert len(asked) == 1


def structured_output() -> None:
    class Bridge(BaseModel):
        name: str
        spans: int

    assert isinstance(agent(output_type=Bridge).run_sync("Describe it").output, Bridge)


def error() -> None:
    try:
        Agent(model("error-400"), retries=0).run_sync("Fail")
    except ModelHTTPError as failed:
        assert failed.status_code == 400
    else:
        raise AssertionError("no error")


cases.run(message, stream, tool_round, structured_output, error)
