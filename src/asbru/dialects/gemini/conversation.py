"""The conversation as ``contents``.

What the API insists on: roles ``user`` and ``model`` take turns and the user begins; the function responses to a model
turn stand together in the next user turn, one for each call, and name the function again; the first function call of
every model turn carries the thought signature it came with (state.py).

Ids of calls are sent to Gemini 3 and later only: earlier generations refuse the field with a 400, on the Gemini API and
on Vertex AI (opencode 50504, recorded at both hosts on 2026-09-22; LiteLLM 34603). They match responses to calls by
name and order, so that responses stand in the order of their calls.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from asbru.dialects import blobs
from asbru.dialects.codec import Context
from asbru.dialects.gemini import state
from asbru.dialects.gemini.family import is_gemini_3
from asbru.dialects.gemini.tools import Names
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import (
    Block,
    Document,
    Image,
    RedactedThinking,
    Request,
    Source,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)

Json = dict[str, Any]

_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
}
NO_IMAGE = "[An image, left out: the model takes none.]"
_NO_BEGINNING = "(The conversation began earlier.)"


def contents(request: Request, context: Context, names: Names, losses: Losses) -> list[Json]:
    """The turns of a prepared request."""
    work = _Work(context, names, losses)
    found: list[Json] = []
    for index, turn in enumerate(request.messages):
        path = f"messages.{index}"
        if turn.role == "assistant":
            found.append({"role": "model", "parts": work.model_turn(turn.content)})
        else:
            found.append({"role": "user", "parts": work.user_turn(turn.content, path)})
    found = [content for content in found if content["parts"]]
    if found and found[0]["role"] == "model":
        found.insert(0, {"role": "user", "parts": [{"text": _NO_BEGINNING}]})
    return found


class _Work:
    """One conversation being written."""

    def __init__(self, context: Context, names: Names, losses: Losses) -> None:
        self.context = context
        self.names = names
        self.losses = losses
        self.called: dict[str, str] = {}
        """Id of a call -> the function's name, in the order of the calls."""
        self.is_gemini_3 = is_gemini_3(context.model)

    # Model turns

    def model_turn(self, blocks: list[Block]) -> list[Json]:
        parts: list[Json] = []
        signature: str | None = None
        """Of the part that the next block makes."""
        told = ""
        """What the client saw of the parts just added: the text behind them says it again."""
        for block in blocks:
            part: Json
            match block:
                case Thinking() | RedactedThinking():
                    signature, told = self.thinking(block, parts, signature)
                    continue
                case Text():
                    if told and block.text == told:
                        told = ""
                        continue
                    part = {"text": block.text}
                case ToolUse():
                    name = self.called[block.id] = self.names.sent(block.name)
                    part = {"functionCall": {**self.id(block.id), "name": name, "args": block.input}}
                case _:
                    continue
            told = ""
            if signature is not None:
                part["thoughtSignature"], signature = signature, None
            parts.append(part)
        if signature is not None:
            parts.append({"text": "", "thoughtSignature": signature})
        if self.is_gemini_3:
            first = next((part for part in parts if "functionCall" in part), None)
            if first is not None:
                first.setdefault("thoughtSignature", state.SKIP_VALIDATION)
        return parts

    def thinking(
        self, block: Thinking | RedactedThinking, parts: list[Json], pending: str | None
    ) -> tuple[str | None, str]:
        """Put back what a block holds; the signature for the next part, and what the client was shown."""
        sealed = block.signature if isinstance(block, Thinking) else block.data
        found = blobs.unseal(sealed, self.context.provider, self.context.model) or {}
        before, after, whole = found.get("before"), found.get("after"), found.get("parts")
        if isinstance(after, str):
            if parts and "text" in parts[-1] and "thoughtSignature" not in parts[-1]:
                parts[-1]["thoughtSignature"] = after
            else:
                parts.append({"text": "", "thoughtSignature": after})
        if isinstance(whole, list):
            own = [part for part in whole if isinstance(part, dict)]
            parts += own
            return pending, "".join(state.shown(part) for part in own)
        if isinstance(before, str):
            if pending is not None:
                parts.append({"text": "", "thoughtSignature": pending})
            return before, ""
        return pending, ""

    # User turns

    def user_turn(self, blocks: list[Block], path: str) -> list[Json]:
        responses: dict[str, Json] = {}
        others: list[Json] = []
        for position, block in enumerate(blocks):
            where = f"{path}.content.{position}"
            if isinstance(block, ToolResult):
                responses[block.tool_use_id] = self.response(block, others, where)
            elif isinstance(block, Text):
                others.append({"text": block.text})
            elif isinstance(block, Image | Document):
                others += self.media(block, where)
        ordered = [responses[id] for id in self.called if id in responses] if len(responses) > 1 else responses.values()
        return [*ordered, *others]

    def id(self, id: str) -> Json:
        """The field ``id`` of a call or a response, where the model takes one."""
        return {"id": id} if self.is_gemini_3 else {}

    def response(self, block: ToolResult, others: list[Json], path: str) -> Json:
        """The function response to a call; media that the model takes only beside it go into ``others``."""
        texts = [part.text for part in block.content if isinstance(part, Text)]
        response: Json = {
            **self.id(block.tool_use_id),
            "name": self.called[block.tool_use_id],
            "response": {"error" if block.is_error else "output": "\n".join(texts)},
        }
        for position, part in enumerate(block.content):
            if isinstance(part, Image | Document):
                media = self.media(part, f"{path}.content.{position}")
                if self.is_gemini_3 and not (isinstance(part, Image) and self.context.facts.images is False):
                    response.setdefault("parts", []).extend(each for each in media if "text" not in each)
                else:
                    field = "tool_result.image" if isinstance(part, Image) else "tool_result.document"
                    self.losses.note("approximated", field, "stands behind the function responses", path)
                    others += [{"text": f"Belongs to the result of {response['name']}:"}, *media]
        return {"functionResponse": response}

    def media(self, block: Image | Document, path: str) -> list[Json]:
        """An image or a PDF; a title, which has no place of its own, goes before."""
        source = block.source
        if isinstance(block, Image) and self.context.facts.images is False:
            self.losses.note("dropped", f"image.{source.type}", "the model takes no images")
            return [{"text": NO_IMAGE}]
        part = self.inline(source, path) if source.type == "base64" else self.by_url(block, source, path)
        said = [text for text in (block.title, block.context) if text] if isinstance(block, Document) else []
        if not said:
            return [part]
        self.losses.note("approximated", f"document.{source.type}", "its title and context are text before it", path)
        return [{"text": "Document: " + "\n".join(said)}, part]

    def inline(self, source: Source, path: str) -> Json:
        if not source.data or not source.media_type:
            raise LossyError(f"{path}.source", "data and media_type: Field required")
        return {"inlineData": {"mimeType": source.media_type, "data": source.data}}

    def by_url(self, block: Image | Document, source: Source, path: str) -> Json:
        field = "image.url" if isinstance(block, Image) else "document.url"
        if not source.url:
            raise LossyError(f"{path}.source.url", "Field required")
        if not self.context.quirks.image_url:
            raise LossyError(f"{path}.source.url", "URLs are not fetched for this model; send base64")
        if isinstance(block, Document):
            return {"fileData": {"fileUri": source.url, "mimeType": "application/pdf"}}
        type = _TYPES.get(_path(source.url).rpartition(".")[2].lower())
        if type is None:
            self.losses.note("approximated", field, "its name does not say its type: image/jpeg assumed", path)
        return {"fileData": {"fileUri": source.url, "mimeType": type or "image/jpeg"}}


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # Google's to refuse
        return ""
