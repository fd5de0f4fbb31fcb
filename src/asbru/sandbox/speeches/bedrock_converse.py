"""Bedrock's Converse, ConverseStream and CountTokens, from the provider's side.

Requests are checked by the tables of `bedrock_fields` and by `bedrock_rules`, then made a Messages request; of a Claude
model that is held against the Messages API's own rules, as the model itself does it (``The model returned the following
errors: …``). `bedrock_converse_answer` words the answers.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator, Sequence

import msgspec

from asbru.errors import Headers
from asbru.sandbox import conversation, models, request_fields, validate
from asbru.sandbox.answers import ApiError, Reply
from asbru.sandbox.request import read
from asbru.sandbox.script import Answer
from asbru.sandbox.server_tools import Json
from asbru.sandbox.shape import Misfit, many, text
from asbru.sandbox.speech import Heard
from asbru.sandbox.speeches import bedrock, bedrock_converse_answer, bedrock_fields, bedrock_invoke, bedrock_rules
from asbru.sandbox.speeches.bedrock_rules import listed, table
from asbru.sandbox.stream import Event
from asbru.server.exchange import Exchange

DEFAULT_MAX_TOKENS = 4_096
_TEXTS = ("csv", "html", "txt", "md")


class Converse:
    routes: Sequence[str] = ("model/*/converse", "model/*/converse-stream", "model/*/count-tokens")
    listing = ""

    def check(self, headers: Headers) -> None:
        bedrock.check_credential(headers)

    def hear(self, route: str, ids: tuple[str, ...], query: bytes, body: object) -> Heard:
        model = bedrock.base_of(urllib.parse.unquote(ids[0]))
        counts = route.endswith("count-tokens")
        try:
            (bedrock_fields.COUNT if counts else bedrock_fields.CONVERSE)(body, ())
        except Misfit as misfit:
            raise bedrock.worded(misfit) from None
        assert isinstance(body, dict)
        if counts:
            counted = body["input"]
            if "invokeModel" in counted:
                return bedrock_invoke.counted(model, base64.b64decode(counted["invokeModel"]["body"]))
            body = counted["converse"]
        asked = table(body)
        bedrock_rules.check(asked)
        messages = _messages(asked, model)
        _check(messages, model)
        # Betas are the caller's, not part of what is asked.
        messages.pop("anthropic_beta", None)
        return Heard(messages=messages, stream=route.endswith("-stream"), count=counts, asked=asked)

    def whole(self, answer: Answer, heard: Heard) -> object:
        return bedrock_converse_answer.whole(answer, heard.asked)

    def events(self, answer: Answer, heard: Heard, chunks: int | None) -> Iterator[Event]:
        return bedrock_converse_answer.events(answer, heard.asked, chunks)

    def count(self, tokens: int) -> object:
        return {"inputTokens": tokens}

    def too_long(self, tokens: int, most: int) -> ApiError:
        return bedrock.by_model(bedrock.refused(f"prompt is too long: {tokens} tokens > {most} maximum"))

    def models(self, ids: Sequence[str]) -> object:
        raise NotImplementedError  # there is no list on this host

    def reply(self, exchange: Exchange) -> Reply:
        return bedrock.BedrockReply(exchange)


def _check(messages: Json, model: str) -> None:
    """A Claude model's own rules; of every other model only what it signed itself."""
    name = models.parse(model)
    try:
        if bedrock.family_of(model) != "claude":
            conversation.signatures(read(messages), models.profile_of(name.model))
            return
        betas = messages.get("anthropic_beta", [])
        many(text())(betas, ("anthropic_beta",))
        assert isinstance(betas, list)
        caller = validate.Caller(validate.VERSIONS[0], frozenset(betas))
        own = {key: value for key, value in messages.items() if key != "anthropic_beta"}
        checked = validate.shaped(own, request_fields.MESSAGE, caller)
        validate.message(checked, models.profile_of(name.model), caller, ())
    except ApiError as error:
        raise bedrock.by_model(error) from None


# The same as a Messages request


def _messages(body: Json, model: str) -> Json:
    inference = table(body.get("inferenceConfig"))
    found: Json = {
        "model": model,
        "messages": [
            {"role": message["role"], "content": _blocks(listed(message["content"]))}
            for message in listed(body.get("messages"))
        ],
        "max_tokens": inference.get("maxTokens", DEFAULT_MAX_TOKENS),
    }
    system = _marked([(block, {"type": "text", "text": block.get("text")}) for block in listed(body.get("system"))])
    tools = _marked([(tool, _tool(tool)) for tool in listed(table(body.get("toolConfig")).get("tools"))])
    choice = _choice(table(table(body.get("toolConfig")).get("toolChoice")))
    given = {
        "system": system,
        "tools": tools,
        "tool_choice": choice,
        "stop_sequences": inference.get("stopSequences"),
        "temperature": inference.get("temperature"),
        "top_p": inference.get("topP"),
        "output_config": _output(table(body.get("outputConfig"))),
    }
    found |= {name: value for name, value in given.items() if value not in (None, [], {})}
    more = table(body.get("additionalModelRequestFields"))
    if bedrock.family_of(model) == "claude":
        _merge(found, more, "")
    elif _thinks(more):
        found["thinking"] = {"type": "adaptive", "display": "summarized"}
    return found


def _merge(found: Json, more: Json, at: str) -> None:
    """Add the additional fields, which may say nothing again."""
    for name, value in more.items():
        known = found.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value, f"{at}{name}.")
        elif name in found:
            raise bedrock.refused(f"The additional field {at}{name} conflicts with an existing field.")
        else:
            found[name] = value


def _thinks(more: Json) -> bool:
    """Whether another family's model is told to think, in its own words."""
    efforts = (more.get("reasoning_effort"), table(more.get("reasoning")).get("effort"))
    return table(more.get("reasoningConfig")).get("type") == "enabled" or any(
        each not in (None, "none") for each in efforts
    )


def _marked(pairs: list[tuple[Json, Json]]) -> list[Json]:
    """The blocks; a cache point becomes the mark of the block before it."""
    found: list[Json] = []
    for given, made in pairs:
        if "cachePoint" not in given:
            found.append(made)
        elif found:
            ttl = table(given["cachePoint"]).get("ttl")
            found[-1]["cache_control"] = {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}
    return found


def _blocks(content: list[Json]) -> list[Json]:
    return _marked([(block, made) for block in content if (made := _block(block)) is not None])


def _block(block: Json) -> Json | None:
    kind, value = next(iter(block.items()))
    match kind:
        case "text" | "json":
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            return {"type": "text", "text": text} if text else None
        case "cachePoint":
            return {}
        case "image":
            return _image(table(value))
        case "document":
            return _document(table(value))
        case "searchResult":
            return _search_result(table(value))
        case "toolUse":
            return _tool_use(table(value))
        case "toolResult":
            return _tool_result(table(value))
        case "citationsContent":
            text = "".join(str(part["text"]) for part in listed(table(value).get("content")))
            return {"type": "text", "text": text} if text else None
        case _:
            return _reasoning(table(value))


def _image(image: Json) -> Json:
    source = table(image["source"])
    if "bytes" not in source:
        return {"type": "text", "text": f"[An image at {table(source['s3Location'])['uri']}]"}
    kind = f"image/{image['format']}"
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": source["bytes"]}}


def _document(document: Json) -> Json:
    """A document as Claude gets it: a PDF as it is, everything else as text."""
    source, kind = table(document["source"]), document.get("format")
    if "bytes" in source and kind == "pdf":
        made: Json = {"type": "base64", "media_type": "application/pdf", "data": source["bytes"]}
    elif "content" in source:
        texts = [{"type": "text", "text": part["text"]} for part in listed(source["content"])]
        made = {"type": "content", "content": texts}
    else:
        made = {"type": "text", "media_type": "text/plain", "data": _text_of(source, kind)}
    described: Json = {"type": "document", "source": made, "title": document["name"]}
    return described | {name: document[name] for name in ("context", "citations") if name in document}


def _text_of(source: Json, kind: object) -> str:
    if "text" in source:
        return str(source["text"])
    if "bytes" in source and kind in _TEXTS:
        return base64.b64decode(str(source["bytes"])).decode(errors="replace")
    return f"[A document of type {kind}]"


def _search_result(result: Json) -> Json:
    texts = [{"type": "text", "text": part["text"]} for part in listed(result["content"])]
    made: Json = {"type": "search_result", "source": result["source"], "title": result["title"], "content": texts}
    return made | ({"citations": result["citations"]} if "citations" in result else {})


def _tool_use(use: Json) -> Json | None:
    if "type" in use:
        return None  # Bedrock's own, answered in the same turn
    return {"type": "tool_use", "id": _id(use), "name": use["name"], "input": use["input"]}


def _id(holder: Json) -> str:
    return str(holder["toolUseId"]).replace(".", "_").replace(":", "_")


def _tool_result(result: Json) -> Json | None:
    if "type" in result:
        return None
    content = [block for part in listed(result["content"]) if (block := _block(part)) is not None]
    found: Json = {"type": "tool_result", "tool_use_id": _id(result), "content": content}
    return found | ({"is_error": True} if result.get("status") == "error" else {})


def _reasoning(reasoning: Json) -> Json:
    if "redactedContent" in reasoning:
        return {"type": "redacted_thinking", "data": reasoning["redactedContent"]}
    text = table(reasoning["reasoningText"])
    return {"type": "thinking", "thinking": text["text"], "signature": text.get("signature", "")}


def _tool(tool: Json) -> Json:
    if "toolSpec" not in tool:
        return {"type": "web_search_20250305", "name": "web_search"}
    spec = table(tool["toolSpec"])
    made: Json = {"name": spec["name"], "input_schema": table(spec["inputSchema"])["json"]}
    return made | {name: spec[name] for name in ("description", "strict") if name in spec}


def _choice(choice: Json) -> Json | None:
    if not choice:
        return None
    kind, value = next(iter(choice.items()))
    return {"type": kind, **table(value)}


def _output(config: Json) -> Json:
    found: Json = {"effort": config["effort"]} if "effort" in config else {}
    if "textFormat" in config:
        text = str(table(table(table(config["textFormat"])["structure"])["jsonSchema"])["schema"])
        try:
            schema = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise bedrock.refused(
                "The schema of outputConfig.textFormat.structure.jsonSchema is not valid JSON."
            ) from None
        if not isinstance(schema, dict):
            raise bedrock.refused("The schema of outputConfig.textFormat.structure.jsonSchema is not an object.")
        found["format"] = {"type": "json_schema", "schema": schema}
    return found
