"""A Messages request as a ``generateContent`` request, or as one that counts its tokens."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from asbru.dialects import json_text
from asbru.dialects.by_url import Kind
from asbru.dialects.codec import Context, Sent
from asbru.dialects.gemini import thinking
from asbru.dialects.gemini.conversation import contents
from asbru.dialects.gemini.family import is_gemini_3
from asbru.dialects.gemini.tools import Names, is_forced, schema, tools
from asbru.dialects.losses import Losses
from asbru.dialects.messages import Request, Tool, ToolChoice
from asbru.dialects.prepare import prepare
from asbru.dialects.stopping import divide
from asbru.dialects.thinking_room import ROOM_TOKENS, most_tokens

Json = dict[str, Any]

_NATIVE = frozenset({"tool_result.is_error"})
_PATH = "/models/{model}"
_OUTPUT_TOOL = "structured_output"
_OUTPUT_INSTRUCTION = (
    "Answer with JSON that is valid against this JSON Schema, and with nothing else: no prose, no code fence.\n"
)


def unfetched(context: Context) -> frozenset[Kind]:
    """See `Codec.unfetched`."""
    return frozenset() if context.quirks.image_url else frozenset({"image", "document"})


def encode(request: Request, context: Context, losses: Losses) -> Sent:
    """The request; raises `LossyError`."""
    body = _body(request, context, losses)
    method = ":streamGenerateContent?alt=sse" if request.stream else ":generateContent"
    return Sent(_target(context, method), json_text.encode(body))


def encode_count(request: Request, context: Context, losses: Losses) -> Sent:
    """``countTokens``: the conversation with its system prompt and tools."""
    request.max_tokens = min(ROOM_TOKENS, context.facts.max_output_tokens or ROOM_TOKENS)
    body = _body(request, context, losses)
    body = {name: body[name] for name in ("contents", "systemInstruction", "tools") if name in body}
    if not context.quirks.vertex:
        body = {"generateContentRequest": {"model": f"models/{_name(context)}", **body}}
    return Sent(_target(context, ":countTokens"), json_text.encode(body))


def _target(context: Context, method: str) -> bytes:
    path = (context.quirks.path or _PATH).replace("{model}", quote(_name(context), safe="@"))
    query = context.quirks.query
    if query:
        query = ("&" if "?" in method else "?") + query
    return f"{path}{method}{query}".encode("ascii")


def _name(context: Context) -> str:
    return context.model.removeprefix("models/")


def _body(request: Request, context: Context, losses: Losses) -> Json:
    request = prepare(request, context, losses, _NATIVE)
    system = [block.text for block in request.system]
    generation = _sampling(request, context, losses)
    plan = thinking.plan(request, context, losses)
    generation["maxOutputTokens"] = most_tokens(request, context, plan.room_tokens, losses)
    if plan.config:
        generation["thinkingConfig"] = plan.config
    native, watched = divide(request.stop_sequences, context.quirks.max_stop_sequences, losses)
    if native:
        generation["stopSequences"] = native
    context.stop_sequences = watched
    instruction = _output(request, context, generation, losses)
    if instruction:
        system.append(instruction)
    names = Names(context)
    body: Json = {"contents": contents(request, context, names, losses)}
    if system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    body |= tools(request, context, names, losses)
    body["generationConfig"] = generation
    tier = _service_tier(request, context)
    if tier is not None:
        body["serviceTier"] = tier
    if request.user_id:
        losses.meet("metadata.user_id")
    return body


def _sampling(request: Request, context: Context, losses: Losses) -> Json:
    found: Json = {}
    for field, name, value in (
        ("temperature", "temperature", request.temperature),
        ("top_p", "topP", request.top_p),
        ("top_k", "topK", request.top_k),
    ):
        if value is not None:
            if context.facts.sampling is False:
                losses.note("dropped", field, "this model takes none")
            else:
                found[name] = value
    return found


def _service_tier(request: Request, context: Context) -> str | None:
    if not context.quirks.service_tier:
        return None
    if request.speed == "fast":
        return "priority"
    return "standard" if request.service_tier == "standard_only" else None


def _output(request: Request, context: Context, generation: Json, losses: Losses) -> str:
    """Structured output: natively into ``generation``, by a tool that must be called, or by an instruction."""
    output = request.output_config
    if output is None or output.format is None:
        return ""
    quirks, facts = context.quirks, context.facts
    wanted = output.format.schema
    if is_forced(request):
        losses.note("dropped", "output_config.format", "a tool has to be called: there is no text to shape")
        return ""
    has_schema = quirks.json_schema and facts.structured_output is not False
    with_tools = quirks.json_schema_with_tools and is_gemini_3(context.model)
    if has_schema and (with_tools or not request.tools):
        generation["responseMimeType"] = "application/json"
        generation["responseJsonSchema"] = schema(wanted)
        return ""
    if wanted.get("type") == "object" and not request.tools and facts.tools is not False:
        losses.note("emulated", "output_config.format", "by a tool that the model must call")
        context.structured_tool = _OUTPUT_TOOL
        request.tools = [Tool(name=_OUTPUT_TOOL, description="The answer.", input_schema=wanted)]
        request.tool_choice = ToolChoice(type="tool", name=_OUTPUT_TOOL)
        return ""
    losses.note("emulated", "output_config.format", "by an instruction; it is not enforced")
    return _OUTPUT_INSTRUCTION + json_text.encode(wanted).decode()
