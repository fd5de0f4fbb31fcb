"""What clients of the API's first version do: python old_sdk.py GATEWAY SANDBOX LABEL, with anthropic 0.121.0.

That SDK sends `x-api-key`, `anthropic-version: 2023-06-01`, `?beta=true` and the old beta headers, and still has
sampling parameters and text completions. Prints one JSON object: case -> null, or what went wrong.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import anthropic

MODEL = "claude-sandbox"
VERSION = "0.121.0"
# Any: the checker knows the current SDK, which lacks some of this.
gateway, sandbox = (
    anthropic.Anthropic(base_url=url, api_key="test", max_retries=0, timeout=30.0) for url in sys.argv[1:3]
)
client: Any = gateway
direct: Any = sandbox
label = sys.argv[3]


def asked(text: str, **more: object) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": text}], **more}


def same(call: Callable[[Any], Any]) -> Any:
    got, expected = call(client), call(direct)
    assert got == expected, f"{got} is not {expected}"
    return got


def create() -> None:
    message = same(lambda to: to.messages.create(**asked("Old 🌉", temperature=0.3, top_k=5)))
    assert "Old 🌉" in message.content[0].text


def stream() -> None:
    same(lambda to: list(to.messages.create(**asked("Old", model=f"{MODEL}:chunks=4"), stream=True)))
    with client.messages.stream(**asked("Helper")) as events:
        text = "".join(events.text_stream)
    assert text == direct.messages.create(**asked("Helper")).content[0].text


def beta_message() -> None:
    message = same(
        lambda to: to.beta.messages.create(
            **asked("Ask keeper"),
            mcp_servers=[{"type": "url", "name": "keeper", "url": "https://mcp.example.com/"}],
            betas=["mcp-client-2025-04-04"],
        )
    )
    assert message.content[0].type == "mcp_tool_use"


def count_tokens() -> None:
    counted = same(lambda to: to.messages.count_tokens(model=MODEL, messages=asked("Count")["messages"]))
    assert counted.input_tokens > 0
    assert client.beta.messages.count_tokens(model=MODEL, messages=asked("Count")["messages"]).input_tokens > 0


def completion() -> None:
    prompt = {"model": MODEL, "max_tokens_to_sample": 50, "prompt": f"\n\nHuman: {label}\n\nAssistant:"}
    assert same(lambda to: to.completions.create(**prompt)).completion
    same(lambda to: [event.completion for event in to.completions.create(**prompt, stream=True)])


def batches() -> None:
    params = asked(f"Batch of {label}")
    batch = client.messages.batches.create(requests=[{"custom_id": "one", "params": params}])
    beta = client.beta.messages.batches.retrieve(batch.id)
    assert beta.results_url == f"{sys.argv[1]}/v1/messages/batches/{batch.id}/results"
    assert [result.result.type for result in client.beta.messages.batches.results(batch.id)] == ["succeeded"]
    assert client.messages.batches.delete(batch.id).id == batch.id


def files() -> None:
    file = client.beta.files.upload(file=(f"{label}.txt", b"old", "text/plain"))
    assert file.id in [listed.id for listed in client.beta.files.list(limit=1)]
    assert client.beta.files.download(file.id).read() == b"old"
    client.beta.files.delete(file.id)


def models() -> None:
    listed = {model.id for model in client.models.list(limit=9)}
    assert listed == {"fast", *(model.id for model in direct.models.list(limit=1000))}
    assert client.beta.models.retrieve("claude-opus-5").id == "claude-opus-5"


def errors() -> None:
    for status, kind in ((404, anthropic.NotFoundError), (429, anthropic.RateLimitError)):
        try:
            client.messages.create(**asked("Fail", model=f"error-{status}:{label}"))
        except kind as error:
            assert error.status_code == status
        else:
            raise AssertionError(f"no error {status}")


CASES = (create, stream, beta_message, count_tokens, completion, batches, files, models, errors)


def main() -> None:
    assert anthropic.__version__ == VERSION, anthropic.__version__
    outcomes: dict[str, str | None] = {}
    for case in CASES:
        try:
            case()
            outcomes[case.__name__] = None
        except Exception:
            outcomes[case.__name__] = traceback.format_exc()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
