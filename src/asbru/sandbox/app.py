"""The sandbox provider: a handler that answers the Messages API exactly as contract/anthropic.md describes it.

`handler` is the whole of it: give it to a server and it is a provider. It needs no key, no network and no model, and
answers the same request with the same bytes. What it remembers (batches, files, threads) is bounded and goes with the
process. Model names steer it: see `models.Options` and `failures.KINDS`, or docs/how-to/sandbox.md.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from asbru.errors import GatewayError
from asbru.sandbox import caller as callers
from asbru.sandbox import completions, failures, models, pages, request_fields, stream, tokens, validate
from asbru.sandbox.answers import ApiError, Reply, invalid
from asbru.sandbox.batches import Batches, show
from asbru.sandbox.control import PREFIX, Control
from asbru.sandbox.failures import Failure
from asbru.sandbox.files import Files
from asbru.sandbox.ids import digest
from asbru.sandbox.models import Name
from asbru.sandbox.multipart import Form, boundary_of
from asbru.sandbox.replies import Replies, ScriptedReply
from asbru.sandbox.request import Request, read
from asbru.sandbox.request_log import Entry, RequestLog
from asbru.sandbox.script import compose
from asbru.sandbox.shape import Shape
from asbru.sandbox.speech import Speech
from asbru.sandbox.speeches import SPEECHES
from asbru.sandbox.threads import Threads
from asbru.sandbox.validate import Caller
from asbru.server.exchange import Exchange, Handler

Json = dict[str, object]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of what the sandbox takes and keeps."""

    max_body_bytes: int = 33_554_432
    max_batch_body_bytes: int = 33_554_432
    max_file_total_bytes: int = 67_108_864
    """All files together; also the largest single file."""
    max_batch_total_bytes: int = 67_108_864
    max_batches: int = 1_000
    max_threads: int = 1_000
    max_thread_total_bytes: int = 16_777_216
    hang_s: float = 3_600.0
    """The longest that a hanging model hangs."""


class Call(msgspec.Struct, frozen=True):
    """One request on its way through the sandbox."""

    exchange: Exchange
    reply: Reply
    caller: Caller
    ids: tuple[str, ...]
    """The parts of the path that its route leaves open."""


Action = Callable[["Sandbox", Call], Awaitable[None]]


def handler(settings: Settings | None = None) -> Handler:
    """A new sandbox, remembering nothing yet."""
    return Sandbox(settings or Settings()).handle


class Sandbox:
    """A sandbox; ``has_control``: it logs its requests and has the endpoints of `control`."""

    def __init__(
        self, settings: Settings, *, has_control: bool = False, on_end: Callable[[Entry], None] | None = None
    ) -> None:
        self.settings = settings
        self.replies = Replies()
        self.requests = RequestLog(on_end)
        self.control = Control(self.replies, self.requests) if has_control else None
        self.files = Files(settings.max_file_total_bytes)
        self.threads = Threads(settings.max_threads, settings.max_thread_total_bytes)
        self.batches = Batches(self.run_one, settings.max_batches, settings.max_batch_total_bytes)
        profiles = [*models.CLAUDE, models.SANDBOX, *failures.profiles()]
        self.models = {profile.id: models.info(profile) for profile in profiles}
        self.aliases = {profile.alias: profile.id for profile in profiles if profile.alias}

    async def handle(self, exchange: Exchange) -> None:
        if self.control is None:
            await self.answer(exchange)
        elif exchange.path.startswith(PREFIX):
            await self.control.handle(exchange)
        else:
            observed = self.requests.observe(exchange)
            try:
                await self.answer(observed, observed.entry)
            finally:
                self.requests.end(observed.entry)

    async def answer(self, exchange: Exchange, entry: Entry | None = None) -> None:
        """Answer a request of any dialect; ``entry`` is where it is logged."""
        spoken = speaking(exchange)
        reply = Reply(exchange) if spoken is None else spoken.speech.reply(exchange)
        reply.entry = entry
        try:
            if spoken is None:
                await self.dispatch(exchange, reply)
            else:
                await self.speak(exchange, reply, spoken)
        except ApiError as error:
            await reply.refuse(error)
        except GatewayError as error:
            # The server's own words for a body that is too large, broken or never comes.
            await reply.refuse(ApiError(error.row.status, error.message))
        except RecursionError:
            await reply.refuse(invalid("The request body is nested too deeply."))

    def script(self, name: Name, failure: Failure | None) -> tuple[Name, ScriptedReply | None]:
        """The name in whose place a message request is handled, and its scripted reply.

        A request whose own model fails takes no reply: it is left for the fallback or the retry that answers.
        """
        reply = self.replies.take() if failure is None else None
        if reply is None or reply.name is None:
            return name, reply
        return reply.name, None

    async def dispatch(self, exchange: Exchange, reply: Reply) -> None:
        if exchange.path in (b"/", b"/api/hello"):
            await exchange.respond(200, reply.headers("application/json"), b"{}")
            return
        methods, ids = match(exchange.path)
        action = methods.get("GET" if exchange.method == "HEAD" else exchange.method)
        if action is None:
            allowed = ", ".join(methods).encode()
            raise ApiError(405, "Method Not Allowed", headers=[(b"allow", allowed)])
        await action(self, Call(exchange, reply, callers.check(exchange.head.headers), ids))

    # Other dialects

    async def speak(self, exchange: Exchange, reply: Reply, spoken: Spoken) -> None:
        """A request in another provider's dialect: heard, answered from the same script, said in that dialect."""
        speech = spoken.speech
        speech.check(exchange.head.headers)
        if exchange.method == "GET":
            await reply.json(speech.models(list(self.models)))
            return
        body = await exchange.body(self.settings.max_body_bytes)
        reply.identify(digest(body))
        try:
            value: object = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise invalid(f"The request body is not valid JSON: {error}") from error
        heard = speech.hear(spoken.route, spoken.ids, exchange.query, value)
        request = read(heard.messages)
        name = models.parse(request.model)
        reply.note(name.full, heard.stream)
        profile = models.profile_of(name.model)
        total = tokens.cached(request).total
        if total > profile.max_input_tokens:
            raise speech.too_long(total, profile.max_input_tokens)
        retries = callers.retry_count(exchange.head.headers)
        failure = failures.failure_of(name, retries)
        scripted = None
        if not heard.count:
            name, scripted = self.script(name, failure)
            failure = failures.failure_of(name, retries)
        hang_s = self.settings.hang_s
        if await failures.before(failure, reply, name, stream=heard.stream, hang_s=hang_s):
            return
        if heard.count:
            await failures.whole(failure, reply, name, speech.count(total), hang_s)
            return
        answer = compose(request, name, models.profile_of(name.model), scripted)
        reply.note_answer(answer.content, answer.stop_reason)
        if heard.stream:
            events = speech.events(answer, heard, name.options.chunks)
            await failures.streamed(failure, reply, name, events, hang_s)
        else:
            await failures.whole(failure, reply, name, speech.whole(answer, heard), hang_s)

    # Messages

    async def body(self, call: Call, limit_bytes: int) -> bytes:
        body = await call.exchange.body(limit_bytes)
        call.reply.identify(digest(body))
        return body

    async def json(self, call: Call) -> object:
        body = await self.body(call, self.settings.max_body_bytes)
        try:
            value: object = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise invalid(f"The request body is not valid JSON: {error}") from error
        return value

    def read(self, body: object, caller: Caller, shape: Shape) -> tuple[Request, Name]:
        """The checked request and its model's name."""
        given = body.get("model") if isinstance(body, dict) else None
        name = models.parse(given) if isinstance(given, str) and given else models.Name("", "", models.Options())
        checked = validate.shaped(body, shape, caller)
        profile = models.profile_of(name.model)
        return validate.message(checked, profile, caller, self.files), name

    async def messages(self, call: Call) -> None:
        body = await self.json(call)
        if isinstance(body, dict) and body.get("thread") is not None:
            body = self.threads.join(validate.shaped(body, request_fields.MESSAGE, call.caller))
        request, name = self.read(body, call.caller, request_fields.MESSAGE)
        call.reply.note(name.full, request.stream)
        retries = callers.retry_count(call.exchange.head.headers)
        name, scripted = self.script(name, failures.failure_of(name, retries))
        failure = failures.failure_of(name, retries)
        hang_s = self.settings.hang_s
        if await failures.before(failure, call.reply, name, stream=request.stream, hang_s=hang_s):
            return
        answer = compose(request, name, models.profile_of(name.model), scripted)
        call.reply.note_answer(answer.content, answer.stop_reason)
        if request.thread is not None and isinstance(body, dict):
            self.threads.keep(body, answer.id, answer.content)
        if request.stream:
            estimates = call.caller.has(("thinking-token-count-",))
            events = stream.events(answer, name.options, estimates=estimates)
            await failures.streamed(failure, call.reply, name, events, hang_s)
        else:
            await failures.whole(failure, call.reply, name, answer.message(), hang_s)

    async def count_tokens(self, call: Call) -> None:
        request, name = self.read(await self.json(call), call.caller, request_fields.COUNT_TOKENS)
        call.reply.note(name.full, False)
        failure = failures.failure_of(name, callers.retry_count(call.exchange.head.headers))
        hang_s = self.settings.hang_s
        if await failures.before(failure, call.reply, name, stream=False, hang_s=hang_s):
            return
        count = tokens.cached(request).total
        answer: Json = {"input_tokens": count}
        if request.context_management is not None:
            answer["context_management"] = {"original_input_tokens": count}
        await failures.whole(failure, call.reply, name, answer, hang_s)

    async def complete(self, call: Call) -> None:
        body = await self.json(call)
        request_fields.COMPLETION(body, ())
        assert isinstance(body, dict)
        name = models.parse(str(body["model"]))
        completion = completions.complete(body, name.options)
        failure = failures.failure_of(name, callers.retry_count(call.exchange.head.headers))
        is_stream = body.get("stream") is True
        call.reply.note(name.full, is_stream)
        hang_s = self.settings.hang_s
        if await failures.before(failure, call.reply, name, stream=is_stream, hang_s=hang_s):
            return
        if is_stream:
            events = completions.events(completion, name.options)
            await failures.streamed(failure, call.reply, name, events, hang_s)
        else:
            await failures.whole(failure, call.reply, name, completion, hang_s)

    # Models

    async def list_models(self, call: Call) -> None:
        given = pages.parameters(call.exchange.query)
        stages = [value for key, value in given.items() if key in ("lifecycle", "lifecycle[]")]
        listed = list(self.models.values()) if not stages or "active" in stages else []
        await call.reply.json(pages.page(listed, given))

    async def get_model(self, call: Call) -> None:
        model = models.parse(call.ids[0]).model
        found = self.models.get(self.aliases.get(model, model))
        if found is None:
            raise ApiError(404, f"model: {call.ids[0]}")
        await call.reply.json({**found, "id": call.ids[0]} if ":" in call.ids[0] else found)

    # Message Batches

    def run_one(self, params: Json, caller: Caller) -> Json:
        """The result of one request of a batch."""
        try:
            return self.try_one(params, caller)
        except ApiError as error:
            failed = error
        except RecursionError:
            failed = invalid("The request is nested too deeply.")
        return {"type": "errored", "error": {"type": "error", "error": failed.error(), "request_id": None}}

    def try_one(self, params: Json, caller: Caller) -> Json:
        if "stream" in params:
            raise invalid("stream: Extra inputs are not permitted")
        request, name = self.read(params, caller, request_fields.MESSAGE)
        failure = failures.failure_of(name, 0)
        if failure is not None and failure.kind == "hang":
            return {"type": "expired"}
        if failure is not None and failure.kind != "slow":
            raise failures.error_for(failure.status if failure.kind == "error" else 500, name.full)
        answer = compose(request, name, models.profile_of(name.model))
        answer.usage["service_tier"] = "batch"
        return {"type": "succeeded", "message": answer.message()}

    def origin(self, call: Call) -> str:
        host = next(iter(callers.values(call.exchange.head.headers, b"host")), "localhost")
        return f"http://{host}"

    async def create_batch(self, call: Call) -> None:
        body = await self.body(call, self.settings.max_batch_body_bytes)
        try:
            batch = self.batches.create(body, call.caller)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise invalid(f"The request body is not valid JSON: {error}") from error
        await call.reply.json(show(batch, self.origin(call)))

    async def list_batches(self, call: Call) -> None:
        batches = {batch.id: batch for batch in self.batches.newest_first()}
        page = pages.page([{"id": batch_id} for batch_id in batches], pages.parameters(call.exchange.query))
        shown = [batches[str(item["id"])] for item in page["data"]]
        for batch in shown:
            await self.batches.end(batch)
        await call.reply.json({**page, "data": [show(batch, self.origin(call)) for batch in shown]})

    async def get_batch(self, call: Call) -> None:
        batch = self.batches.get(call.ids[0])
        await self.batches.end(batch)
        await call.reply.json(show(batch, self.origin(call)))

    async def cancel_batch(self, call: Call) -> None:
        batch = self.batches.get(call.ids[0])
        self.batches.cancel(batch)
        await call.reply.json(show(batch, self.origin(call)))

    async def delete_batch(self, call: Call) -> None:
        await call.reply.json(self.batches.delete(self.batches.get(call.ids[0])))

    async def batch_results(self, call: Call) -> None:
        batch = self.batches.get(call.ids[0])
        await self.batches.end(batch)
        await call.exchange.start(200, call.reply.headers("application/x-jsonl"))
        async for custom_id, result in self.batches.results(batch):
            await call.exchange.write(msgspec.json.encode({"custom_id": custom_id, "result": result}) + b"\n")
        await call.exchange.finish()

    # Files

    async def upload_file(self, call: Call) -> None:
        content_type = next(iter(callers.values(call.exchange.head.headers, b"content-type")), "")
        limit = self.settings.max_file_total_bytes
        form = Form(boundary_of(content_type), limit)
        async for piece in call.exchange.pieces(limit + 65_536):
            form.feed(piece)
        form.close()
        file = self.files.add(form)
        call.reply.identify(file.id.encode())
        await call.reply.json(file.show())

    async def list_files(self, call: Call) -> None:
        with_ids = call.caller.has(("files-api-2025-04-14",))
        await call.reply.json(self.files.list(call.exchange.query, with_ids=with_ids))

    async def get_file(self, call: Call) -> None:
        await call.reply.json(self.files.get(call.ids[0]).show())

    async def delete_file(self, call: Call) -> None:
        await call.reply.json(self.files.delete(call.ids[0]))

    async def file_content(self, call: Call) -> None:
        file = self.files.get(call.ids[0])
        await call.exchange.respond(200, call.reply.headers(file.mime_type), file.content)


ROUTES: dict[str, dict[str, Action]] = {
    "v1/messages": {"POST": Sandbox.messages},
    "v1/messages/count_tokens": {"POST": Sandbox.count_tokens},
    "v1/messages/batches": {"POST": Sandbox.create_batch, "GET": Sandbox.list_batches},
    "v1/messages/batches/*": {"GET": Sandbox.get_batch, "DELETE": Sandbox.delete_batch},
    "v1/messages/batches/*/cancel": {"POST": Sandbox.cancel_batch},
    "v1/messages/batches/*/results": {"GET": Sandbox.batch_results},
    "v1/complete": {"POST": Sandbox.complete},
    "v1/models": {"GET": Sandbox.list_models},
    "v1/models/*": {"GET": Sandbox.get_model},
    "v1/files": {"POST": Sandbox.upload_file, "GET": Sandbox.list_files},
    "v1/files/*": {"GET": Sandbox.get_file, "DELETE": Sandbox.delete_file},
    "v1/files/*/content": {"GET": Sandbox.file_content},
}
"""What is asked for by path (``*`` stands for an id) and method."""


class Spoken(NamedTuple):
    """Which dialect a request is in."""

    speech: Speech
    route: str
    ids: tuple[str, ...]


def speaking(exchange: Exchange) -> Spoken | None:
    """The dialect of a request, by its path; None for Anthropic's own."""
    asked = parts_of(exchange.path)
    if exchange.method == "GET" and not callers.values(exchange.head.headers, b"anthropic-version"):
        listing = (speech for speech in SPEECHES if speech.listing and fit(speech.listing, asked) is not None)
        return next((Spoken(speech, speech.listing, ()) for speech in listing), None)
    if exchange.method != "POST":
        return None
    for speech in SPEECHES:
        for route in speech.routes:
            ids = fit(route, asked)
            if ids is not None:
                return Spoken(speech, route, ids)
    return None


def parts_of(path: bytes) -> list[str]:
    return [urllib.parse.unquote(part) for part in path.decode("latin-1").split("/")[1:]]


def fit(route: str, asked: list[str]) -> tuple[str, ...] | None:
    """The ids in a path that fits the route; None when it does not. ``*:name`` is an id followed by ``:name``."""
    parts = route.split("/")
    if len(parts) != len(asked):
        return None
    ids: list[str] = []
    for part, given in zip(parts, asked, strict=True):
        star, colon, verb = part.partition(":")
        if star == "*":
            if not given.endswith(colon + verb) or not given.removesuffix(colon + verb):
                return None
            ids.append(given.removesuffix(colon + verb))
        elif part != given:
            return None
    return tuple(ids)


def match(path: bytes) -> tuple[dict[str, Action], tuple[str, ...]]:
    """The methods of a path's route and the ids in it; raises `ApiError` (404) when there is none."""
    asked = parts_of(path)
    for route, methods in ROUTES.items():
        ids = fit(route, asked)
        if ids is not None:
            return methods, ids
    raise ApiError(404, "Not found")
