"""Bedrock as botocore knows it: its service model judges requests and answers, and it shares no code with ours."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from typing import Any
from urllib.parse import unquote

from botocore.eventstream import EventStreamBuffer
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.parsers import EventStreamJSONParser, create_parser
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from asbru.dialects import eventstream
from asbru.dialects.codec import Sent

Json = dict[str, Any]

_OPERATIONS = {
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "count-tokens": "CountTokens",
    "invoke": "InvokeModel",
    "invoke-with-response-stream": "InvokeModelWithResponseStream",
}


@cache
def service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


def operation(name: str) -> OperationModel:
    return service().operation_model(name)


def check_request(sent: Sent) -> Json:
    """What botocore would have been called with for this request; fails for one that it would not send."""
    path = re.fullmatch(r"/model/([^/]+)/([a-z-]+)", sent.target.decode())
    assert path is not None, sent.target
    model = operation(_OPERATIONS[path[2]])
    body = {"body": sent.body} if path[2].startswith("invoke") else json.loads(sent.body)
    params = {"modelId": unquote(path[1]), **_typed(body, model.input_shape)}
    report = ParamValidator().validate(params, model.input_shape)
    assert not report.has_errors(), report.generate_report()
    _within(params, model.input_shape, "")
    made = create_serializer("rest-json").serialize_to_request(params, model)
    assert made["url_path"] == sent.target.decode()
    if path[2].startswith("invoke"):
        assert made["body"] == sent.body
    else:
        assert json.loads(made["body"]) == json.loads(sent.body)
    return params


def _typed(value: Any, shape: Shape) -> Any:
    """JSON with what is binary as bytes."""
    if shape.type_name == "blob" and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False) and isinstance(value, dict):
        return {
            name: _typed(part, shape.members[name]) if name in shape.members else part for name, part in value.items()
        }
    if shape.type_name == "list":
        return [_typed(part, shape.member) for part in value]
    return value


def _within(value: Any, shape: Shape, path: str) -> None:
    """Enums, patterns and greatest values, which botocore leaves to the service."""
    known = shape.metadata
    if shape.type_name == "string":
        assert not known.get("enum") or value in known["enum"], f"{path}: {value!r}"
        assert "pattern" not in known or re.fullmatch(known["pattern"], value), f"{path}: {value!r}"
    if "max" in known:
        size = value if isinstance(value, int | float) else len(value)
        assert size <= known["max"], f"{path}: {size} is more than {known['max']}"
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        for name, part in value.items():
            _within(part, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for index, part in enumerate(value):
            _within(part, shape.member, f"{path}[{index}]")
    elif shape.type_name == "map":
        for name, part in value.items():
            _within(name, shape.key, path)
            _within(part, shape.value, f"{path}.{name}")


def read_answer(name: str, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Json:
    """A whole answer as botocore's callers get it; for an error what they find in the exception."""
    response = {"status_code": status, "headers": headers or {}, "body": body}
    read: Json = create_parser("rest-json").parse(response, operation(name).output_shape)
    return read


def read_stream(name: str, body: bytes) -> list[Json]:
    """A stream's events as botocore's callers get them; fails for one that the service model does not have."""
    [(_, shape)] = [
        (member, shape)
        for member, shape in operation(name).output_shape.members.items()
        if getattr(shape, "is_eventstream", False) or shape.serialization.get("eventstream")
    ]
    buffer, parser = EventStreamBuffer(), EventStreamJSONParser()
    buffer.add_data(body)
    events: list[Json] = []
    for message in buffer:
        event = parser.parse(message.to_response_dict(), shape)
        known = message.headers.get(":event-type") or message.headers.get(":exception-type")
        assert known in shape.members, known
        events.append(event)
    return events


def frame(name: str, data: Json) -> bytes:
    """One frame of a stream as Bedrock makes it, with its padding; an exception by its name."""
    kind = "exception" if name.endswith("Exception") else "event"
    headers: dict[str, eventstream.Value] = {
        f":{kind}-type": name,
        ":content-type": "application/json",
        ":message-type": kind,
    }
    payload = data if kind == "exception" else {**data, "p": "abcdefghijklmnop"}
    return eventstream.encode(headers, json.dumps(payload).encode())


def frames(text: str) -> bytes:
    """A stream from its text: a line ``{name: data}`` for every frame."""
    return b"".join(frame(*item) for line in text.splitlines() for item in json.loads(line).items())
