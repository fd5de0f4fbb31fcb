"""Images and documents by URL where the target fetches none: which, and what stands there instead."""

from __future__ import annotations

import copy
import json

import pytest

from asbru.dialects import by_url, messages, registry
from asbru.dialects.by_url import Fetched, Kind, Media, Refused, Wanted
from asbru.dialects.codec import Context, Model, Quirks
from asbru.dialects.losses import Loss, Losses, LossyError
from asbru.dialects.messages import Json, Request

BOTH: frozenset[Kind] = frozenset({"image", "document"})
NONE: frozenset[Kind] = frozenset()
JPEG = Media("image/jpeg", "/9j/")
PDF = Media("application/pdf", "JVBERi0x")


def linked(kind: str, url: object = "https://a.example/x") -> Json:
    return {"type": kind, "source": {"type": "url", "url": url}}


IMAGE, DOCUMENT = linked("image"), linked("document", "https://a.example/d.pdf")
CONTENT: Json = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "t"}, IMAGE]}}
ASKED: list[Json] = [
    {"role": "user", "content": [{"type": "text", "text": "see"}, IMAGE, IMAGE]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "n", "input": {}}]},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [DOCUMENT, IMAGE]}, CONTENT],
    },
]
THERE: Fetched = {Wanted("image", "https://a.example/x"): JPEG, Wanted("document", "https://a.example/d.pdf"): PDF}


def read(turns: list[Json]) -> Request:
    body = {"model": "m", "max_tokens": 9, "messages": copy.deepcopy(turns)}
    return messages.parse(json.dumps(body).encode())


def no_losses() -> Losses:
    return Losses(registry.codec("bedrock-converse").fidelity)


def test_every_place_is_filled_and_named() -> None:
    request, losses = read(ASKED), no_losses()
    assert by_url.carry(request, BOTH, THERE, losses) == []
    image, document = JPEG._asdict() | {"type": "base64"}, PDF._asdict() | {"type": "base64"}
    filled = json.dumps(ASKED).replace(json.dumps(IMAGE["source"]), json.dumps(image))
    filled = filled.replace(json.dumps(DOCUMENT["source"]), json.dumps(document))
    assert request == read(json.loads(filled))
    assert list(losses.found.values()) == [
        Loss("emulated", "image.url", "messages.0.content.1", "fetched by the gateway"),
        Loss("emulated", "document.url", "messages.2.content.0.content.0", "fetched by the gateway"),
    ]


def test_what_is_not_there_yet_is_asked_for_once_and_stood_in_for() -> None:
    request = read(ASKED)
    assert by_url.carry(request, BOTH, {}, no_losses()) == list(THERE)
    assert by_url.carry(request, BOTH, {}, no_losses()) == []  # no URL is left
    request = read(ASKED)
    assert by_url.carry(request, {"document"}, {}, no_losses()) == [Wanted("document", "https://a.example/d.pdf")]
    assert by_url.carry(request, {"image"}, {}, no_losses()) == [Wanted("image", "https://a.example/x")]


def test_the_same_url_as_an_image_and_as_a_document_are_two() -> None:
    request = read([{"role": "user", "content": [linked("image"), linked("document")]}])
    url = "https://a.example/x"
    assert by_url.carry(request, BOTH, {}, no_losses()) == [Wanted("image", url), Wanted("document", url)]


def test_nothing_is_changed_where_nothing_is_wanted() -> None:
    request, losses = read(ASKED), no_losses()
    assert by_url.carry(request, NONE, THERE, losses) == []
    assert (request, losses.found) == (read(ASKED), {})


@pytest.mark.parametrize(
    ("turns", "path"),
    [
        (ASKED, "messages.0.content.1.image.source.url"),
        (ASKED[1:], "messages.1.content.0.content.1.image.source.url"),
        ([{"role": "user", "content": [CONTENT]}], "messages.0.content.0.source.content.1.image.source.url"),
    ],
)
def test_a_url_that_led_to_nothing_is_refused_with_its_place(turns: list[Json], path: str) -> None:
    fetched = {**THERE, Wanted("image", "https://a.example/x"): Refused("is not there")}
    with pytest.raises(LossyError) as caught:
        by_url.carry(read(turns), BOTH, fetched, no_losses())
    assert (caught.value.message, caught.value.path) == (f"{path}: is not there", path)


@pytest.mark.parametrize("url", [None, ""])
def test_a_url_must_be_there(url: object) -> None:
    with pytest.raises(LossyError, match=r"^messages\.0\.content\.0\.image\.source\.url: Field required$"):
        by_url.carry(read([{"role": "user", "content": [linked("image", url)]}]), BOTH, {}, no_losses())


@pytest.mark.parametrize(
    ("dialect", "quirks", "facts", "kinds"),
    [
        ("openai-chat", Quirks(), Model(), NONE),
        ("openai-chat", Quirks(image_url=False), Model(), {"image"}),
        ("openai-chat", Quirks(image_url=False), Model(images=False), NONE),
        ("openai-chat", Quirks(files=True), Model(), {"document"}),
        ("openai-chat", Quirks(files=True), Model(documents=False), NONE),
        ("openai-responses", Quirks(files=True), Model(), NONE),
        ("openai-responses", Quirks(files=True, image_url=False), Model(), {"image"}),
        ("gemini", Quirks(), Model(), NONE),
        ("gemini", Quirks(image_url=False), Model(), BOTH),
        ("bedrock-converse", Quirks(), Model(), BOTH),
        ("bedrock-converse", Quirks(), Model(images=False), {"document"}),
    ],
)
def test_what_each_target_leaves_to_the_gateway_it_takes_when_it_was_fetched(
    dialect: str, quirks: Quirks, facts: Model, kinds: frozenset[Kind]
) -> None:
    codec = registry.codec(dialect)

    def context() -> Context:
        return Context(
            provider="p", model="anthropic.m", shown_model="m", message_id="msg_1", quirks=quirks, facts=facts
        )

    assert codec.unfetched(context()) == kinds
    for kind, there in (("image", JPEG), ("document", PDF)):
        if kind not in kinds:
            continue
        turns: list[Json] = [{"role": "user", "content": [{"type": "text", "text": "see"}, linked(kind)]}]
        with pytest.raises(LossyError, match=r"not supported|not fetched"):
            codec.encode(read(turns), context(), Losses(codec.fidelity))
        for fetched in ({}, {Wanted(kind, "https://a.example/x"): there}):
            request, losses = read(turns), Losses(codec.fidelity)
            by_url.carry(request, kinds, fetched, losses)
            body = codec.encode(request, context(), losses).body
            assert b"a.example" not in body
            assert bool(fetched) == (there.data.encode() in body)
            assert losses.found[f"{kind}.url"].verdict == "emulated"
