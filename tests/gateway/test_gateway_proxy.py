"""A plain http provider behind a forward proxy: the proxy is sent the request itself, with an absolute target."""

from __future__ import annotations

import pytest

from tests.gateway.provider import MODEL, Upstream, answers, error_body
from tests.gateway.support import ask, asked, provider, run, serving
from tests.gateway.test_gateway_retry import good, served, streamed

ORIGIN = "http://llm.example:8000/base"


@streamed
def test_the_proxy_is_sent_the_absolute_target_and_its_credential(stream: bool) -> None:
    async def main() -> None:
        async with Upstream(good(stream), good(stream)) as proxy:
            address = proxy.url.removeprefix("http://")
            config = {"providers": {"a": provider(ORIGIN, proxy=f"http://user:word@{address}")}}
            async with serving(config) as gateway:
                for _ in range(2):
                    assert served(await ask(gateway, asked(stream=stream), "/v1/messages?beta=true"), stream)
        first, second = proxy.seen
        assert first.method == b"POST"
        assert first.target == ORIGIN.encode() + b"/v1/messages?beta=true"
        assert first.values(b"host") == [b"llm.example:8000"]
        assert first.values(b"proxy-authorization") == [b"Basic dXNlcjp3b3Jk"]
        assert first.key == "sk-stored"
        assert first.line is second.line, "the connection to the proxy is kept"

    run(main())


def test_a_proxy_that_knows_nobody_is_not_the_clients_fault() -> None:
    async def main() -> None:
        async with Upstream(answers(407, error_body(message="who are you"))) as proxy:
            config = {"providers": {"a": provider(ORIGIN, proxy=proxy.url)}}
            async with serving(config) as gateway:
                reply = await ask(gateway, asked())
        assert reply.error == (502, "api_error", "upstream_credentials")
        assert proxy.seen[0].values(b"proxy-authorization") == []
        assert reply.attempts == [f"a/{MODEL} 407"]

    run(main())


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_environment_names_the_proxy(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Upstream(answers()) as proxy:
            monkeypatch.setenv(variable, proxy.url)
            async with serving({"providers": {"a": provider(ORIGIN)}}) as gateway:
                assert (await ask(gateway, asked())).status == 200
        assert proxy.seen[0].target.startswith(ORIGIN.encode())

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    run(main())
