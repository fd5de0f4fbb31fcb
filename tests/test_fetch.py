"""What a URL of a client's leads to, on real sockets: an image, a PDF, or a reason. Nothing is left open."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket

import pytest

from asbru.config import Fetch
from asbru.dialects.by_url import Kind, Media, Refused, Wanted
from asbru.fetch import MAX_CONNECTIONS, Fetcher, sniffed
from asbru.upstream.http1 import tls_context
from tests.upstream.conftest import certificates
from tests.upstream.dialling import Certificates, closed_port, server_context
from tests.upstream.rawserver import Line, RawServer, Runner, Script, run_on_each_loop

__all__ = ["certificates"]  # the fixture

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
JPEG = b"\xff\xd8\xff\xe0pixels"
PDF = b"%PDF-1.7 text"
Got = dict[Wanted, Media | Refused]


def says(status: int, body: bytes = b"", **fields: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


def told(*answers: bytes) -> tuple[Script, list[bytes]]:
    """A script that gives every connection the next of these answers, and the requests it got."""
    left, heads = list(answers), []

    async def script(line: Line) -> None:
        heads.append(await line.request_head())
        await line.say(left.pop(0))
        await line.gone()

    return script, heads


def settings(**fields: object) -> Fetch:
    usual = {"enabled": True, "hosts": ("127.0.0.1:*", "localhost:*"), "allow_http": True, "allow_private": True}
    return Fetch(**{**usual, **fields})  # type: ignore[arg-type]  # a test gives what it needs


async def fetched(fetch: Fetch, *urls: str, kind: Kind = "image") -> list[Media | Refused]:
    got: Got = {}
    wanted = [Wanted(kind, url) for url in urls]
    await Fetcher(fetch, tls_context()).fetch(wanted, got)
    return [got[each] for each in wanted]


async def one(*answers: bytes, kind: Kind = "image", path: str = "/x", **fields: object) -> Media | Refused:
    """What a URL leads to at a server that gives these answers, one for each connection."""
    script, heads = told(*answers)
    async with RawServer(script) as server:
        (got,) = await fetched(settings(**fields), f"http://127.0.0.1:{server.port}{path}", kind=kind)
        await server.scripts_done()  # every connection was closed
        assert len(heads) == len(answers)
        return got


def media(type: str, data: bytes) -> Media:
    return Media(type, base64.b64encode(data).decode())


@run_on_each_loop
def test_an_image_is_fetched_with_nothing_of_the_clients_own(run: Runner) -> None:
    async def main() -> None:
        script, heads = told(says(200, PNG, content_type="image/png"))
        async with RawServer(script) as server:
            url = f"http://127.0.0.1:{server.port}/a%20b?sig=%2F+x#part"
            assert await fetched(settings(), url) == [media("image/png", PNG)]
            await server.scripts_done()
        first, *lines = heads[0].split(b"\r\n")
        assert first == b"GET /a%20b?sig=%2F+x HTTP/1.1"
        assert {line.partition(b":")[0] for line in lines if line} == {
            b"host", b"accept", b"accept-encoding", b"user-agent", b"connection",
        }  # fmt: skip
        assert b"host: 127.0.0.1:%d" % server.port in lines

    run(main())


@pytest.mark.parametrize(
    ("kind", "declared", "body", "type"),
    [
        ("image", "image/png", PNG, "image/png"),
        ("image", "IMAGE/JPG; charset=x", JPEG, "image/jpeg"),
        ("image", "image/png", JPEG, "image/jpeg"),  # what it is goes before what it is called
        ("image", "image/gif", b"GIF89a...", "image/gif"),
        ("image", "image/webp", b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        ("document", "application/pdf", PDF, "application/pdf"),
        ("document", "application/pdf", b"\xef\xbb\xbf\n" + PDF, "application/pdf"),
    ],
)
def test_types(kind: Kind, declared: str, body: bytes, type: str) -> None:
    async def main() -> None:
        assert await one(says(200, body, content_type=declared), kind=kind) == media(type, body)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (says(404), "image", "could not be fetched: the status was 404"),
        (says(204), "image", "could not be fetched: the status was 204"),
        (says(206, PNG, content_type="image/png"), "image", "could not be fetched: the status was 206"),
        (says(200, PNG), "image", "is not a JPEG, PNG, GIF or WebP image: its content-type is another one"),
        (
            says(200, PNG, content_type="text/html"),
            "image",
            "is not a JPEG, PNG, GIF or WebP image: its content-type is another one",
        ),
        (
            says(200, b"<svg/>", content_type="image/svg+xml"),
            "image",
            "is not a JPEG, PNG, GIF or WebP image: its content-type is another one",
        ),
        (
            says(200, PDF, content_type="application/pdf"),
            "image",
            "is not a JPEG, PNG, GIF or WebP image: its content-type is another one",
        ),
        (
            says(200, b"root:x:0:0", content_type="image/png"),
            "image",
            "is not a JPEG, PNG, GIF or WebP image: its bytes are something else",
        ),
        (
            says(200, b"", content_type="image/png"),
            "image",
            "is not a JPEG, PNG, GIF or WebP image: its bytes are something else",
        ),
        (says(200, PNG, content_type="image/png"), "document", "is not a PDF: its content-type is another one"),
        (says(200, PNG, content_type="application/pdf"), "document", "is not a PDF: its bytes are something else"),
        (says(302, b"", location="/x\u00fc"), "image", "was redirected to what is not a URL"),
        (says(302), "image", "was redirected to what is not a URL"),
        (
            says(200, PNG, content_type="image/png", content_encoding="br"),
            "image",
            "has a content-encoding that was not asked for",
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "image", "could not be fetched: the answer was not HTTP"),
        (
            b"HTTP/1.1 200 X\r\ncontent-length: 9\r\ncontent-type: image/png\r\n\r\nx",
            "image",
            "could not be fetched: the connection broke",
        ),
    ],
)
def test_what_is_not_wanted_is_refused_with_its_reason(answer: bytes, kind: Kind, reason: str) -> None:
    async def main() -> None:
        async def once(line: Line) -> None:
            await line.request_head()
            await line.say(answer)
            line.end()
            await line.gone()

        async with RawServer(once) as server:
            (got,) = await fetched(settings(), f"http://127.0.0.1:{server.port}/x", kind=kind)
            await server.scripts_done()
        assert isinstance(got, Refused)
        assert got.reason == reason

    asyncio.run(main())


def test_a_coding_that_was_not_asked_for_is_undone_within_the_bound() -> None:
    async def main() -> None:
        bomb = gzip.compress(PNG + bytes(1 << 22))
        head = {"content_type": "image/png", "content_encoding": "gzip"}
        assert await one(says(200, gzip.compress(PNG), **head)) == media("image/png", PNG)
        assert len(bomb) < 10_000
        assert await one(says(200, bomb, **head), max_bytes=100_000) == Refused(
            "more than 100000 bytes would have to be fetched for this request"
        )

    asyncio.run(main())


def test_no_more_than_allowed_is_read() -> None:
    too_much = Refused("more than 100 bytes would have to be fetched for this request")

    async def announces(line: Line) -> None:
        await line.request_head()
        await line.say(b"HTTP/1.1 200 X\r\ncontent-length: 101\r\ncontent-type: image/png\r\n\r\n")
        await line.gone()  # refused on its word

    async def never_ends(line: Line) -> None:
        await line.request_head()
        await line.say(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\ncontent-type: image/png\r\n\r\n")
        await line.say(b"65\r\n" + PNG.ljust(101) + b"\r\n")
        await line.gone()

    async def main() -> None:
        exact = PNG.ljust(100)
        assert await one(says(200, exact, content_type="image/png"), max_bytes=100) == media("image/png", exact)
        for script in (announces, never_ends):
            async with RawServer(script) as server:
                assert await fetched(settings(max_bytes=100), f"http://127.0.0.1:{server.port}/") == [too_much]
                await server.scripts_done()

    asyncio.run(main())


def test_the_bounds_are_of_a_request_and_not_of_a_url() -> None:
    async def main() -> None:
        script, heads = told(*[says(200, PNG, content_type="image/png")] * 3)
        async with RawServer(script) as server:
            wanted = [Wanted("image", f"http://127.0.0.1:{server.port}/{index}") for index in range(4)]
            got: Got = {}
            fetcher = Fetcher(settings(max_bytes=2 * len(PNG), max_per_request=3), tls_context())
            await fetcher.fetch(wanted[:1], got)
            await fetcher.fetch(wanted[1:], got)  # as for another candidate of the same request
            await server.scripts_done()
        assert sum(isinstance(each, Media) for each in got.values()) == 2
        assert got[wanted[3]] == Refused("at most 3 URLs are fetched for one request")
        left = {each.reason for each in got.values() if isinstance(each, Refused)} - {got[wanted[3]][0]}
        assert left == {f"more than {2 * len(PNG)} bytes would have to be fetched for this request"}
        assert len(heads) == 3

    asyncio.run(main())


def test_redirects_are_followed_a_few_times_and_judged_each_time() -> None:
    async def main() -> None:
        found = says(200, PNG, content_type="image/png")
        hops = [says(status, b"", location=f"../{status}") for status in (301, 307, 308)]
        assert await one(*hops, found, path="/a/b/c") == media("image/png", PNG)
        assert await one(*hops, hops[0]) == Refused("was redirected more than 3 times")
        for location, reason in [
            ("http://169.254.169.254/latest/meta-data", "the operator does not allow fetching from this host"),
            ("//other.example/x", "the operator does not allow fetching from this host"),
            ("file:///etc/passwd", "must begin with https:// or http://"),
            ("http://u:p@127.0.0.1/", "must not hold a user name or password"),
            ("http://[", "was redirected to what is not a URL"),
        ]:
            assert await one(says(302, b"", location=location)) == Refused(reason)
        # Where any host will do, it is the address that is judged.
        hop = says(302, b"", location="http://169.254.169.254/latest/meta-data")
        assert await one(hop, hosts=("*:*",)) == Refused(NOT_REACHED)

    asyncio.run(main())


NOT_REACHED = "could not be fetched: its host could not be reached at an address that is allowed"


def test_a_host_that_leads_to_a_private_address_is_never_connected_to() -> None:
    async def main() -> None:
        async with RawServer(unexpected) as server:
            for host in (
                "127.0.0.1",
                "localhost",
                "2130706433",
                "0x7f.1",
                "127.1",
                "[::ffff:127.0.0.1]",
                "１２７.0.0.1",  # noqa: RUF001
            ):
                url = f"http://{host}:{server.port}/x"
                assert await fetched(settings(hosts=("*:*",), allow_private=False), url) == [Refused(NOT_REACHED)]
            # Not even where private addresses are allowed.
            assert await fetched(settings(hosts=("*:*",)), f"http://0.0.0.0:{server.port}/") == [Refused(NOT_REACHED)]
            # An address with nobody behind it looks the same from outside.
            assert await fetched(settings(), f"http://127.0.0.1:{closed_port()}/") == [Refused(NOT_REACHED)]
            assert server.accepted == 0

    asyncio.run(main())


async def unexpected(line: Line) -> None:
    raise AssertionError("something was connected to")


def test_a_name_that_changes_its_address_is_judged_by_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the resolver is asked once, and its private address among public ones is not used."""
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def rebinding(host: str, port: int, *args: object, **kwargs: object) -> object:
        asked.append(host)
        there = look_up("127.0.0.1", port, type=socket.SOCK_STREAM)
        mapped = look_up("::ffff:127.0.0.1", port, type=socket.SOCK_STREAM)
        return there if len(asked) > 1 else [*mapped, *look_up("169.254.169.254", port, type=socket.SOCK_STREAM)]

    async def main() -> None:
        async with RawServer(unexpected) as server:
            monkeypatch.setattr(socket, "getaddrinfo", rebinding)
            fetch = settings(hosts=("*:*",), allow_private=False)
            assert await fetched(fetch, f"http://rebind.example:{server.port}/") == [Refused(NOT_REACHED)]
            assert (asked, server.accepted) == (["rebind.example"], 0)

    asyncio.run(main())


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "https://other.example/x"])
def test_only_what_the_operator_allows_is_tried(url: str) -> None:
    async def main() -> None:
        plain = settings(allow_http=False, hosts=("*.example.com",))
        reason = (
            "must begin with https://"
            if url.startswith("http:")
            else "the operator does not allow fetching from this host"
        )
        assert await fetched(plain, url) == [Refused(reason)]

    asyncio.run(main())


def test_a_silent_server_is_given_up() -> None:
    async def silent(line: Line) -> None:
        await line.request_head()
        await line.gone()

    async def drips(line: Line) -> None:
        await line.request_head()
        await line.say(b"HTTP/1.1 200 X\r\ncontent-length: 99\r\ncontent-type: image/png\r\n\r\n", PNG)
        await line.gone()

    async def main() -> None:
        for script in (silent, drips):
            async with RawServer(script) as server:
                late = Refused("could not be fetched within 0.05 s")
                assert await fetched(settings(timeout_s=0.05), f"http://127.0.0.1:{server.port}/") == [late]
                await server.scripts_done()

    asyncio.run(main())


@run_on_each_loop
def test_all_are_fetched_at_the_same_time_and_cancelled_together(run: Runner) -> None:
    async def main() -> None:
        arrived, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

        async def waits(line: Line) -> None:
            await line.request_head()
            arrived.release()
            await line.gone()
            ended.release()

        async with RawServer(waits) as server:
            urls = [f"http://127.0.0.1:{server.port}/{index}" for index in range(3)]
            task = asyncio.create_task(fetched(settings(), *urls))
            for _ in urls:
                await arrived.acquire()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in urls:
                await ended.acquire()

    run(main())


def test_connections_are_bounded_over_all_requests() -> None:
    async def main() -> None:
        answer, open_now, most = asyncio.Event(), 0, 0

        async def counts(line: Line) -> None:
            nonlocal open_now, most
            await line.request_head()
            open_now += 1
            most = max(most, open_now)
            if open_now == MAX_CONNECTIONS:
                answer.set()
            await answer.wait()
            open_now -= 1
            await line.say(says(200, PNG, content_type="image/png"))
            await line.gone()

        async with RawServer(counts) as server:
            fetcher = Fetcher(settings(max_per_request=40), tls_context())
            requests: list[Got] = [{}, {}]
            async with asyncio.TaskGroup() as group:
                for number, got in enumerate(requests):
                    url = f"http://127.0.0.1:{server.port}/{number}"
                    group.create_task(fetcher.fetch([Wanted("image", f"{url}/{index}") for index in range(40)], got))
            assert all(isinstance(media, Media) for got in requests for media in got.values())
            assert most == MAX_CONNECTIONS

    asyncio.run(main())


def test_over_tls_the_name_is_checked_although_an_address_is_connected_to(certificates: Certificates) -> None:
    async def main() -> None:
        script, _ = told(says(200, PNG, content_type="image/png"))
        insecure = Refused("could not be fetched: no secure connection could be made")
        context = tls_context(certificates.ca)
        async with RawServer(script, context=server_context(certificates)) as server:
            for host, trust, expected in [
                ("127.0.0.1", context, media("image/png", PNG)),
                ("localhost", context, insecure),  # the same address, but not in the certificate
                ("127.0.0.1", tls_context(), insecure),
            ]:
                got: Got = {}
                wanted = Wanted("image", f"https://{host}:{server.port}/x")
                await Fetcher(settings(allow_http=False), trust).fetch([wanted], got)
                assert got == {wanted: expected}

    asyncio.run(main())


@pytest.mark.parametrize("data", [b"", b"RIFF....WAVE", b"\xff\xd8", b"GIF88a", b"<?xml", b" " * 1024 + PDF])
def test_other_bytes_are_nothing_that_is_known(data: bytes) -> None:
    assert sniffed(data) is None
