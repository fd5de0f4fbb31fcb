"""Through the gateway to a provider that speaks OpenAI's Chat Completions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.conversations import Conversations, user
from tests.gateway.translated import Via, text_of, translated

KEYS = ({"value": "sk-error-429-a"}, {"value": "sk-invalid-a"})


@pytest.fixture(scope="module")
def via() -> Iterator[Via]:
    limited, refused = ({"keys": [{**key, "weight": 1000}, {"value": "sk-good"}]} for key in KEYS)
    host: dict[str, object] = {"quirks": {"reasoning_field": "reasoning_content", "max_tokens_field": "max_tokens"}}
    host["model_facts"] = {"some-thinker": {"reasoning": True, "efforts": ["low", "medium", "high"]}}
    there = {"like": "openai", "dialect": "openai-chat"}
    with translated(there, "/v1", limited=limited, refused=refused, host=host) as made:
        yield made


class TestOpenAIChat(Conversations):
    model = "gpt-5.6"
    stops = "gpt-4o"
    shows_thinking = False
    """OpenAI shows none in this dialect."""

    def test_breakpoints_of_the_cache(self, via: Via) -> None:
        mark = {"cache_control": {"type": "ephemeral"}}
        system = [{"type": "text", "text": "Long. " * 400, **mark}]
        first = via.both_ways(model=self.model, system=system)
        messages = [user("hi"), {"role": "assistant", "content": "yes"}, user("again")]
        later = via.both_ways(model=self.model, system=system, messages=messages)
        assert first.usage.cache_creation_input_tokens == later.usage.cache_read_input_tokens == 600

    def test_a_host_that_shows_its_reasoning(self, via: Via) -> None:
        thinking = {"type": "adaptive", "display": "summarized"}
        asked = {"model": "host/some-thinker", "thinking": thinking, "output_config": {"effort": "high"}}
        first = via.both_ways(**asked)
        assert first.content[0].type == "thinking" and first.content[0].thinking
        said = {"role": "assistant", "content": [block.to_dict() for block in first.content]}
        second = via.both_ways(**asked, messages=[user("hi"), said, user("again")])
        assert "again" in text_of(second)
        left_out = [{**said, "content": said["content"][1:]}]
        plain = via.both_ways(**asked, messages=[user("hi"), *left_out, user("again")])
        assert second.usage.input_tokens > plain.usage.input_tokens
