"""What no single field of a Converse request can break; Bedrock checks it before a model sees anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asbru.sandbox.server_tools import Json
from asbru.sandbox.speeches.bedrock import refused

_NAME = re.compile(r"[a-zA-Z0-9\-()\[\]]+(\s[a-zA-Z0-9\-()\[\]]+)*")
MAX_IMAGES = 20


def listed(value: object) -> list[Json]:
    return value if isinstance(value, list) else []


def table(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def check(body: Json) -> None:
    """Raises `ApiError` for what is wrong with the conversation or the tools."""
    messages = listed(body.get("messages"))
    if not messages or messages[0]["role"] != "user":
        raise refused(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    for index, message in enumerate(messages):
        _contents(listed(message["content"]), f"messages.{index}")
        if index and message["role"] == messages[index - 1]["role"]:
            raise refused(
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
                "between user and assistant roles and try again."
            )
    _documents(messages)
    _tools(table(body.get("toolConfig")))
    _pairs([message for message in messages if message["role"] != "system"], body)


def _contents(blocks: list[Json], at: str) -> None:
    if not blocks:
        text = f"The content field in the Message object at {at} is empty. Add a ContentBlock object to the content"
        raise refused(f"{text} field and try again.")
    if "cachePoint" in blocks[0]:
        raise refused(f"The cachePoint field at {at}.content.0 must come behind another ContentBlock object.")
    for index, block in enumerate(blocks):
        where = f"{at}.content.{index}"
        if "text" in block and not str(block["text"]).strip():
            text = f"The text field in the ContentBlock object at {where} is blank. Add text to the text field, and try"
            raise refused(f"{text} again.")
        if "toolUse" in block and not isinstance(table(block["toolUse"])["input"], dict):
            raise _no_object(f"{where}.toolUse.input")
        for position, part in enumerate(listed(table(block.get("toolResult")).get("content"))):
            if "json" in part and not isinstance(part["json"], dict):
                raise _no_object(f"{where}.toolResult.content.{position}.json")


def _no_object(at: str) -> Exception:
    text = f"The format of the value at {at} is invalid. Provide a json object for the field and try again."
    return refused(text)


def _inside(message: Json, kind: str) -> Iterator[Json]:
    for block in listed(message["content"]):
        parts = [block, *listed(table(block.get("toolResult")).get("content"))]
        yield from (table(part[kind]) for part in parts if kind in part)


def _documents(messages: list[Json]) -> None:
    names: list[object] = []
    for message in messages:
        found = list(_inside(message, "document"))
        own = [block for block in listed(message["content"]) if "document" in block]
        if own and not any("text" in block for block in listed(message["content"])):
            raise refused("A text block must be included when using documents.")
        for document in found:
            if not _NAME.fullmatch(str(document["name"])):
                raise refused(
                    "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
                    "parentheses, and square brackets. The name can't contain more than one consecutive whitespace "
                    "character."
                )
            if "bytes" in table(document["source"]) and "format" not in document:
                raise refused("The format field of a document with bytes is required.")
            names.append(document["name"])
        if len(list(_inside(message, "image"))) > MAX_IMAGES:
            raise refused(f"Too many images. A message may have at most {MAX_IMAGES}.")
    if len(set(map(str, names))) != len(names):
        raise refused("Duplicate document names were found. Give every document a name of its own and try again.")


def _tools(config: Json) -> None:
    tools = listed(config.get("tools"))
    names = [table(tool["toolSpec"])["name"] for tool in tools if "toolSpec" in tool]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise refused(f"The toolConfig.tools field has more than one tool with the name {twice}.")
    chosen = table(table(config.get("toolChoice")).get("tool")).get("name")
    if chosen is not None and chosen not in names:
        raise refused(f"The tool {chosen} of toolConfig.toolChoice is not in toolConfig.tools.")
    if tools and "cachePoint" in tools[0]:
        raise refused("The cachePoint field at toolConfig.tools.0 must come behind a tool.")


def _pairs(messages: list[Json], body: Json) -> None:
    """The results to a turn's calls stand in the next turn, each once."""
    calls: list[object] = []
    for index, message in enumerate(messages):
        blocks = listed(message["content"])
        results = [table(block["toolResult"])["toolUseId"] for block in blocks if "toolResult" in block]
        if len(results) > len(calls):
            text = (
                f"The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of"
            )
            raise refused(f"{text} previous turn.")
        missing = [str(call) for call in calls if call not in results]
        if missing:
            text = f"Expected toolResult blocks at messages.{index}.content for the following Ids: {', '.join(missing)}"
            raise refused(text)
        own = [table(block["toolUse"]) for block in blocks if "toolUse" in block]
        calls = [use["toolUseId"] for use in own if "type" not in use]
        if len(set(map(str, calls))) != len(calls):
            raise refused(f"The toolUse blocks at messages.{index}.content contain duplicate Ids.")
        if (calls or results) and "toolConfig" not in body:
            raise refused("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
