"""Request in, answer out: what the sandbox says to a request, decided from the request alone.

`compose` gives the whole `Answer`; whether it is sent in one piece or as events makes no difference to it. In order:
thinking, if it is on; the tools that the API runs itself, with their results; text (the answer proper, or the value
that fits the asked-for schema, or what the tool results said); calls of the caller's tools. All of it is counted
against ``max_tokens`` and cut where they end, or where a stop sequence stands. A scripted reply (`replies`) takes the
place of all that, under the same bounds.
"""

from __future__ import annotations

import msgspec

from asbru.sandbox import tokens
from asbru.sandbox.calls import Call, call_of, choose
from asbru.sandbox.citations import citations
from asbru.sandbox.ids import NEXT_DAY, identifier
from asbru.sandbox.models import Name, Options, Profile
from asbru.sandbox.replies import ScriptedReply
from asbru.sandbox.request import Block, Request
from asbru.sandbox.schema import sample
from asbru.sandbox.server_tools import Json, found_tools, run, search_citation
from asbru.sandbox.thinking import sign, thought

ECHO = 400
"""Characters of the user's text that an answer repeats."""
ABOUT = (
    "This is the Asbru sandbox: no model was called and nothing was billed. The answer is made from the request "
    "alone, so the same request always gets the same answer, word for word. "
)
FILLER = "The bridge carries every word across and back, and it changes none of them on the way. "


class Answer(msgspec.Struct, kw_only=True):
    """A Message, with what only its stream shows."""

    id: str
    model: str
    content: list[Json]
    stop_reason: str
    stop_sequence: str | None
    stop_details: Json | None
    usage: Json
    extra: dict[str, object]
    """Top-level fields that are there only for some requests: ``container``, ``context_management``, …"""
    eager: set[str]
    """Ids of the tool calls whose input is streamed as it comes, not parameter by parameter."""

    def message(self) -> Json:
        return {
            "model": self.model,
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": self.content,
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "stop_details": self.stop_details,
            "usage": self.usage,
            **self.extra,
        }


class Draft:
    """An answer while it is being written: what stands there, what it cost and why it ended, if it has."""

    def __init__(self, limit: int, stop_sequences: list[str]) -> None:
        self.content: list[Json] = []
        self.spent = 0
        self.limit = limit
        self.stop_sequences = stop_sequences
        self.stop_reason: str | None = "max_tokens" if limit == 0 else None
        self.stop_sequence: str | None = None
        self.thinking_tokens = 0

    def cut(self, text: str) -> str:
        """The text as far as there is room; ends the answer when there is not enough."""
        room = self.limit - self.spent
        if tokens.of_text(text) > room:
            text = text.encode()[: room * tokens.BYTES_PER_TOKEN].decode(errors="ignore")
            self.stop_reason = "max_tokens"
            self.spent = self.limit
        else:
            self.spent += tokens.of_text(text)
        return text

    def think(self, text: str, shown: bool, redacted: bool, fingerprint: bytes) -> None:
        if self.stop_reason:
            return
        before = self.spent
        text = self.cut(text)
        self.thinking_tokens += self.spent - before
        if redacted:
            data = sign("redacted_thinking", fingerprint, "")
            self.content.append({"type": "redacted_thinking", "data": data})
            return
        visible = text if shown else ""
        signature = sign("thinking", fingerprint, visible)
        self.content.append({"type": "thinking", "thinking": visible, "signature": signature})

    def say(self, text: str, cited: list[Json] | None = None) -> None:
        if self.stop_reason:
            return
        found = [(text.find(stop), -len(stop), stop) for stop in self.stop_sequences if stop in text]
        if found:
            at, _, stop = min(found)
            text = text[:at]
        said = self.cut(text)
        if said:
            self.content.append({"type": "text", "text": said, **({"citations": cited} if cited else {})})
        if found and not self.stop_reason:
            self.stop_reason = "stop_sequence"
            self.stop_sequence = stop

    def act(self, use: Json, *results: Json) -> bool:
        """A call, whole or not there at all, with the results the API adds for free; False when there is no room."""
        cost = tokens.of_block(msgspec.convert(use, Block))
        if self.stop_reason is None and self.spent + cost > self.limit:
            self.stop_reason = "max_tokens"
            self.spent = self.limit
        if self.stop_reason:
            return False
        self.spent += cost
        self.content += (use, *results)
        return True


def compose(request: Request, name: Name, profile: Profile, scripted: ScriptedReply | None = None) -> Answer:
    draft = Draft(request.max_tokens, request.stop_sequences)
    if scripted is None:
        eager = _improvise(draft, request, name, profile)
    else:
        eager = _recite(draft, request, name, profile, scripted)
    following = (scripted.stop_reason if scripted is not None else None) or (
        "tool_use" if _has_calls(draft) else "end_turn"
    )
    stop_reason = name.options.stop_reason or draft.stop_reason or following
    return Answer(
        id=identifier("msg", request.fingerprint),
        model=name.full,
        content=draft.content,
        stop_reason=stop_reason,
        stop_sequence=None if name.options.stop_reason else draft.stop_sequence,
        stop_details=_stop_details(stop_reason),
        usage=_usage(request, draft),
        extra=_extra(request, draft),
        eager=eager,
    )


def _improvise(draft: Draft, request: Request, name: Name, profile: Profile) -> set[str]:
    """Write the answer that follows from the request; returns the ids of calls that stream their input eagerly."""
    calls = [] if name.options.stop_reason == "refusal" else choose(request, name)
    _think(draft, request, name.options, profile)
    ran = _run(draft, request, [call for call in calls if call.kind != "client"])
    clients = [call for call in calls if call.kind == "client"]
    if any(call.kind == "tool_search_tool" for call in calls):
        clients += [
            found for tool in request.tools if tool.name in found_tools(request)[:1] and (found := call_of(tool))
        ]
    forced = request.tool_choice is not None and request.tool_choice.type in ("any", "tool")
    if not clients:
        _speak(draft, request, name.options, ran)
    elif not forced:
        draft.say(f"I will use {' and '.join(call.name for call in clients)}.")
    return _call(draft, request, clients)


def _recite(draft: Draft, request: Request, name: Name, profile: Profile, scripted: ScriptedReply) -> set[str]:
    """Write the scripted answer, as far as `max_tokens` and stop sequences let it come; returns as `_improvise`."""
    eager_tools = {tool.name for tool in request.tools if tool.eager_input_streaming}
    eager = set()
    for index, block in enumerate(scripted.content):
        if block["type"] == "text":
            draft.say(str(block["text"]))
        elif block["type"] == "thinking":
            is_shown = _display(request, profile) != "omitted"
            draft.think(str(block["thinking"]), is_shown, name.options.thinking == "redacted", request.fingerprint)
        else:
            use: Json = {
                "type": "tool_use",
                "id": block.get("id") or identifier("toolu", request.fingerprint, b"%d" % index),
                "name": block["name"],
                "input": block["input"],
            }
            if draft.act(use) and use["name"] in eager_tools:
                eager.add(str(use["id"]))
    return eager


def _has_calls(draft: Draft) -> bool:
    return any(block["type"] == "tool_use" for block in draft.content)


def _think(draft: Draft, request: Request, options: Options, profile: Profile) -> None:
    thinking = request.thinking
    is_on = profile.thinks_by_default if thinking is None else thinking.on
    if not is_on or request.prefill:
        return
    is_shown = _display(request, profile) != "omitted"
    draft.think(thought(request.last_text()), is_shown, options.thinking == "redacted", request.fingerprint)


def _display(request: Request, profile: Profile) -> str:
    """Whether thinking is shown."""
    return (request.thinking.display if request.thinking is not None else None) or profile.display


def _run(draft: Draft, request: Request, calls: list[Call]) -> list[Json]:
    """Let the API's own tools work; returns their blocks."""
    for index, call in enumerate(calls):
        use, result = run(call, request, b"%d" % index)
        if not draft.act(use, result):
            break
    return [block for block in draft.content if block["type"] not in ("thinking", "redacted_thinking")]


def _call(draft: Draft, request: Request, calls: list[Call]) -> set[str]:
    """Ask the caller to run tools; returns the ids of those that stream their input eagerly."""
    eager = set()
    for index, call in enumerate(calls):
        block: Json = {
            "type": "tool_use",
            "id": identifier("toolu", request.fingerprint, b"%d" % index),
            "name": call.name,
            "input": call.input,
        }
        if call.toolset:
            block["toolset_name"] = call.toolset
        if draft.act(block) and call.tool.eager_input_streaming:
            eager.add(str(block["id"]))
    return eager


def _speak(draft: Draft, request: Request, options: Options, ran: list[Json]) -> None:
    if request.format:
        draft.say(msgspec.json.encode(sample(request.format.schema)).decode())
        return
    results = request.tool_results()
    if results:
        draft.say(_sized(" ".join(map(_report, results)), options))
        return
    draft.say(answer_text(request.last_text(), options))
    for text, citation in citations(request):
        draft.say(text, [citation])
    for block in ran:
        found = block["content"] if block["type"] == "web_search_tool_result" else None
        if isinstance(found, list) and found:
            draft.say(f" {found[0]['title']}.", [search_citation(found[0])])


def answer_text(text: str, options: Options) -> str:
    """What the sandbox answers to this text."""
    said = text if len(text) <= ECHO else text[:ECHO] + "…"
    opening = f"You said: “{said}”. " if said else "You said nothing in words. "
    return _sized((opening + ABOUT + FILLER).rstrip(), options)


def _report(result: Block) -> str:
    texts = " ".join(block.text or f"[{block.type}]" for block in result.inner()) or "nothing"
    verb = "failed with" if result.is_error else "returned"
    return f"The tool call {result.tool_use_id} {verb}: {texts[:ECHO]}"


def _sized(text: str, options: Options) -> str:
    """The text, as long as the model's name asks for: exactly ``tokens``, or room for ``chunks``."""
    wanted = (options.tokens or options.chunks or 0) * tokens.BYTES_PER_TOKEN
    missing = wanted - len(text.encode())
    if missing > 0:
        text = f"{text.rstrip()} {FILLER * (missing // len(FILLER) + 1)}"
    if options.tokens is None and missing <= 0:
        return text
    return text.encode()[:wanted].decode(errors="ignore")


def _stop_details(stop_reason: str) -> Json | None:
    if stop_reason != "refusal":
        return None
    explanation = "The sandbox refuses because the model's name or a scripted reply asked it to."
    return {"type": "refusal", "category": "general_harms", "explanation": explanation}


def _usage(request: Request, draft: Draft) -> Json:
    cached = tokens.cached(request)
    used = [block["type"] for block in draft.content]
    searches, fetches = used.count("web_search_tool_result"), used.count("web_fetch_tool_result")
    usage: Json = {
        "input_tokens": cached.plain,
        "cache_creation_input_tokens": cached.written_5m + cached.written_1h,
        "cache_read_input_tokens": cached.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": cached.written_5m,
            "ephemeral_1h_input_tokens": cached.written_1h,
        },
        "output_tokens": draft.spent,
        "service_tier": "standard",
        "inference_geo": request.inference_geo or "global",
    }
    if draft.thinking_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": draft.thinking_tokens}
    if searches or fetches:
        usage["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": fetches}
    if request.speed:
        usage["speed"] = request.speed
    return usage


def _extra(request: Request, draft: Draft) -> dict[str, object]:
    extra: dict[str, object] = {}
    if any(str(block["type"]).endswith("code_execution_tool_result") for block in draft.content):
        container = identifier("container", request.fingerprint)
        extra["container"] = {"id": container, "expires_at": NEXT_DAY, "skills": None}
    if request.context_management is not None:
        extra["context_management"] = {"applied_edits": []}
    if request.diagnostics is not None:
        extra["diagnostics"] = None
    return extra
