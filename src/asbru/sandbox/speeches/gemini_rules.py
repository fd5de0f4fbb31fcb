"""What no single field of a Gemini request can break: what the models take, and the order of a conversation.

Known models behave as theirs do (ai.google.dev/gemini-api/docs/thinking, thought-signatures, function-calling); all
other names take everything. The wording is that of answers of the real API that users have reported.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from asbru.sandbox.answers import ApiError
from asbru.sandbox.models import parse
from asbru.sandbox.server_tools import Json
from asbru.sandbox.thinking import is_genuine

MAX_OUTPUT_TOKENS = 65_536
MAX_STOP_SEQUENCES = 5
MAX_FUNCTIONS = 512
SIGNATURE = "thoughtSignature"
STAND_INS = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
"""In place of the signature of a call that no Gemini made; as bytes or, as most send them, taken for base64."""
BUILT_IN = ("googleSearch", "urlContext", "codeExecution")

_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_FUNCTION = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}\Z")
_BUDGETS = (("flash-lite", 512, 24_576), ("flash", 1, 24_576), ("pro", 128, 32_768))
_ONLY_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif")
_OTHERS = ("application/pdf", "text/", "audio/", "video/", "application/json")


class Rules(NamedTuple):
    """What a model takes."""

    model: str
    generation: float | None
    """None for what is not one of Gemini's: it takes everything."""

    @property
    def is_3(self) -> bool:
        return self.generation is not None and self.generation >= 3

    @property
    def has_ids(self) -> bool:
        """Whether its function calls have ids."""
        return self.generation is None or self.is_3

    def thinks(self, config: Json) -> bool:
        """Whether it thinks when told this."""
        if self.generation is None:
            return bool(config) and config.get("thinkingBudget") != 0
        if self.generation < 2.5:
            return False
        default = 0 if "flash-lite" in self.model and not self.is_3 else -1
        return self.is_3 or config.get("thinkingBudget", default) != 0


def rules_of(model: str) -> Rules:
    """What the model of this name takes, options and label left out."""
    name = parse(model).model
    found = _GENERATION.match(name)
    return Rules(name, float(f"{found[1]}.{found[2] or 0}") if found else None)


def invalid(message: str) -> ApiError:
    return ApiError(400, message)


def field(path: str, message: str) -> ApiError:
    """As the API lists what is wrong with fields, one a line."""
    return ApiError(400, f"* GenerateContentRequest.{path}: {message}\n")


def listed(value: object) -> list[Json]:
    """A list of messages that may be missing."""
    return value if isinstance(value, list) else []


def table(value: object) -> Json:
    """A message that may be missing."""
    return value if isinstance(value, dict) else {}


# Settings


def check_settings(body: Json, rules: Rules) -> None:
    config = table(body.get("generationConfig"))
    if body.get("cachedContent") is not None:
        raise ApiError(403, "CachedContent not found (or permission denied)")
    for name, low, high in (("temperature", 0, 2), ("topP", 0, 1)):
        value = config.get(name)
        if isinstance(value, int | float) and not low <= value <= high:
            text = f"Unable to submit request because it has a {name} value of {value} but the supported range is from"
            raise invalid(f"{text} {low} (inclusive) to {high} (inclusive). Update the value and try again.")
    most = config.get("maxOutputTokens")
    if isinstance(most, int) and (most < 1 or (most > MAX_OUTPUT_TOKENS and rules.generation is not None)):
        text = f"Unable to submit request because it has a maxOutputTokens value of {most} but the supported range is"
        raise invalid(
            f"{text} from 1 (inclusive) to {MAX_OUTPUT_TOKENS + 1} (exclusive). Update the value and try again."
        )
    stops = config.get("stopSequences")
    if isinstance(stops, list) and len(stops) > MAX_STOP_SEQUENCES:
        raise field("generation_config.stop_sequences", f"Only up to {MAX_STOP_SEQUENCES} stop sequences are allowed.")
    if isinstance(stops, list) and "" in stops:
        raise field("generation_config.stop_sequences", "stop sequences must not be empty.")
    if config.get("candidateCount") not in (None, 1):
        raise invalid("Multiple candidates is not enabled for this model")
    if config.get("responseModalities") not in (None, ["TEXT"]):
        raise invalid("The requested combination of response modalities is not supported by the model.")
    _check_format(config, body, rules)
    _check_thinking(table(config.get("thinkingConfig")), rules)


def _check_format(config: Json, body: Json, rules: Rules) -> None:
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if config.get(name) is not None]
    kind = config.get("responseMimeType")
    if not isinstance(config.get("responseJsonSchema", {}), dict):
        raise field("generation_config.response_json_schema", "schema must be an object.")
    if len(schemas) > 1:
        raise field("generation_config", "response_schema and response_json_schema are mutually exclusive.")
    if kind not in (None, "text/plain", "application/json", "text/x.enum"):
        allowed = "`text/plain`, `application/json`, `application/xml`, `application/yaml` and `text/x.enum`"
        raise field("generation_config.response_mime_type", f"allowed mimetypes are {allowed}.")
    if schemas and kind not in ("application/json", "text/x.enum"):
        text = "when response schema is set, response mime type must be `application/json` or `text/x.enum`."
        raise field("generation_config.response_mime_type", text)
    old = rules.generation is not None and not rules.is_3
    if kind == "application/json" and old and _functions(body):
        raise invalid("Function calling with a response mime type: 'application/json' is unsupported")


def _check_thinking(config: Json, rules: Rules) -> None:
    budget, level, known = config.get("thinkingBudget"), config.get("thinkingLevel"), rules.generation
    if budget is not None and level is not None:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if known is None or not config:
        return
    if known < 2.5:
        raise invalid("Thinking is not enabled for this model.")
    if level is not None and not rules.is_3:
        raise invalid("Thinking level is not supported for this model.")
    if level == "MINIMAL" and "pro" in rules.model:
        raise invalid("Thinking level MINIMAL is not supported for this model. Please retry with other thinking level.")
    if not isinstance(budget, int) or budget == -1:
        return
    if budget == 0 and (rules.is_3 or "pro" in rules.model):
        raise invalid("Budget 0 is invalid. This model only works in thinking mode.")
    low, high = next(((low, high) for name, low, high in _BUDGETS if name in rules.model), (0, 32_768))
    if budget and not low <= budget <= high:
        raise invalid(f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}.")


# Tools


def _functions(body: Json) -> list[Json]:
    return [each for tool in listed(body.get("tools")) for each in listed(tool.get("functionDeclarations"))]


def check_tools(body: Json, rules: Rules, *, is_vertex: bool) -> None:
    functions = _functions(body)
    names: list[object] = []
    for index, function in enumerate(functions):
        path, name = f"tools[0].function_declarations[{index}]", function.get("name")
        if not isinstance(name, str) or not _FUNCTION.match(name):
            text = "Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z,"
            raise field(
                f"{path}.name",
                f"{text} 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.",
            )
        if name in names:
            raise invalid(f"Duplicate function declaration found: {name}")
        if function.get("parameters") is not None and function.get("parametersJsonSchema") is not None:
            raise field(path, "parameters and parameters_json_schema are mutually exclusive.")
        _check_schema(function.get("parameters") or function.get("parametersJsonSchema"), f"{path}.parameters")
        names.append(name)
    if len(functions) > MAX_FUNCTIONS:
        raise invalid(f"The number of function declarations must be at most {MAX_FUNCTIONS}.")
    config = table(body.get("toolConfig"))
    own = [name for tool in listed(body.get("tools")) for name in (*BUILT_IN, "mcpServers") if name in tool]
    if functions and own and rules.generation is not None and not rules.is_3:
        raise invalid("Tool use with function calling is unsupported")
    if functions and own and not is_vertex and not config.get("includeServerSideToolInvocations"):
        text = "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function"
        raise invalid(f"{text} calling.")
    _check_calling(table(config.get("functionCallingConfig")), names)


def _check_calling(calling: Json, names: list[object]) -> None:
    mode, allowed = calling.get("mode", "AUTO"), calling.get("allowedFunctionNames")
    if calling and not names and mode != "NONE":
        raise invalid("Function calling config is set without function_declarations.")
    if not isinstance(allowed, list) or not allowed:
        return
    if mode not in ("ANY", "VALIDATED"):
        raise invalid("Please set allowed_function_names only when function calling mode is ANY.")
    if not set(allowed) <= set(names):
        raise invalid("Please ensure that allowed_function_names is a subset of function_declarations.name.")


def _check_schema(schema: object, path: str) -> None:
    if schema is None:
        return
    if not isinstance(schema, dict):
        raise field(path, "schema must be an object.")
    required, properties = schema.get("required"), table(schema.get("properties"))
    missing = [each for each in required if each not in properties] if isinstance(required, list) else []
    if missing:
        index = required.index(missing[0]) if isinstance(required, list) else 0
        raise field(f"{path}.required[{index}]", "property is not defined")


# Conversation


class Turn(NamedTuple):
    """Neighbouring contents of one role."""

    role: str
    parts: list[Json]
    number: int
    """Of its first content, from 0."""


def turns(contents: list[Json]) -> Iterator[Turn]:
    """The turns of a conversation; who says a first content without a role is the user."""
    numbered = enumerate(contents)
    for role, group in groupby(numbered, key=lambda each: str(each[1].get("role") or "user")):
        taken = list(group)
        yield Turn(role, [part for _, content in taken for part in listed(content.get("parts"))], taken[0][0])


def check_conversation(body: Json, rules: Rules) -> list[Turn]:
    contents = listed(body.get("contents"))
    if not contents:
        raise field("contents", "contents is not specified")
    for index, content in enumerate(contents):
        if content.get("role") not in (None, "", "user", "model", "function"):
            raise invalid("Please use a valid role: user, model.")
        _check_parts(content, f"contents[{index}]", rules)
    system = body.get("systemInstruction")
    if isinstance(system, dict):
        _check_parts(system, "system_instruction", rules)
        if any("text" not in part for part in listed(system["parts"])):
            raise invalid("System instruction only supports text parts.")
    found = [turn._replace(role="user" if turn.role == "function" else turn.role) for turn in turns(contents)]
    _check_order(found)
    _check_signatures(found, rules)
    return found


def _check_parts(content: Json, path: str, rules: Rules) -> None:
    parts = listed(content.get("parts"))
    if not parts:
        raise field(f"{path}.parts", "contents.parts must not be empty.")
    for index, part in enumerate(parts):
        at = f"{path}.parts[{index}]"
        if not part.keys() - {"thought", SIGNATURE, "mediaResolution", "videoMetadata", "partMetadata"}:
            raise field(f"{at}.data", "required oneof field 'data' must have one initialized field")
        for kind in ("functionCall", "functionResponse"):
            if kind in part and not table(part[kind]).get("name"):
                snake = "function_call" if kind == "functionCall" else "function_response"
                raise field(f"{at}.{snake}.name", "Name cannot be empty.")
        for media in _media(part):
            _check_media(media, at)
        response = table(part.get("functionResponse"))
        if "functionResponse" in part and "response" not in response:
            raise field(f"{at}.function_response.response", "Response cannot be empty.")
        if response.get("parts") and rules.generation is not None and not rules.is_3:
            raise invalid("Multimodal function responses are not supported by this model.")


def _media(part: Json) -> Iterator[Json]:
    for holder in (part, *listed(table(part.get("functionResponse")).get("parts"))):
        yield from (table(holder[name]) for name in ("inlineData", "fileData") if name in holder)


def _check_media(media: Json, at: str) -> None:
    kind = str(media.get("mimeType") or "")
    if not kind and "fileUri" not in media:
        raise invalid(f"Unable to submit request because it has an empty mimeType parameter at {at}.")
    if kind and kind not in _ONLY_IMAGES and not kind.startswith(_OTHERS):
        raise invalid(f"Unsupported MIME type: {kind}")
    if not media.get("data") and not media.get("fileUri"):
        name = "file_data.file_uri" if "fileUri" in media else "inline_data.data"
        raise field(f"{at}.{name}", "must not be empty.")


def _check_order(found: list[Turn]) -> None:
    """Calls come after the user or after responses; as many responses as calls come right after them."""
    calls: list[Json] = []
    for index, turn in enumerate(found):
        made = [part for part in turn.parts if "functionCall" in part]
        responses = [table(part["functionResponse"]) for part in turn.parts if "functionResponse" in part]
        if made and (turn.role != "model" or index == 0):
            text = "Please ensure that function call turn comes immediately after a user turn or after a function"
            raise invalid(f"{text} response turn.")
        if len(responses) != len(calls) or (responses and turn.role == "model"):
            text = "Please ensure that the number of function response parts is equal to the number of function call"
            raise invalid(f"{text} parts of the function call turn.")
        answered(calls, responses)
        calls = [table(part["functionCall"]) for part in made]
    if calls:
        raise invalid(
            "Please ensure that single turn requests end with a user role or the last turn is a function response."
        )


def answered(calls: list[Json], responses: list[Json]) -> list[int]:
    """Which call each response answers: that with its id, or else the next one of its name."""
    left = list(range(len(calls)))
    found: list[int] = []
    for response in responses:
        ids = [index for index in left if response.get("id") and calls[index].get("id") == response["id"]]
        named = [index for index in left if calls[index]["name"] == response["name"]]
        fits = ids or ([] if response.get("id") and all(calls[index].get("id") for index in left) else named)
        if not fits or calls[fits[0]]["name"] != response["name"]:
            raise invalid(
                f"Function response `{response['name']}` does not match any function call of the preceding turn."
            )
        left.remove(fits[0])
        found.append(fits[0])
    return found


# Signatures


def signed(part: Json) -> str:
    """What a signature on this part holds for: a call's name, or nothing."""
    return str(table(part.get("functionCall")).get("name", ""))


def _check_signatures(found: list[Turn], rules: Rules) -> None:
    """Signatures are genuine where they are; on the first call of every step of the current turn they must be."""
    begins = [index for index, turn in enumerate(found) if turn.role == "user" and _speaks(turn)]
    current = begins[-1] if begins else 0
    for index, turn in enumerate(found):
        for part in turn.parts:
            signature = part.get(SIGNATURE)
            if isinstance(signature, str) and not _is_good(signature, signed(part)):
                raise invalid("Corrupted thought signature.")
        first = next((part for part in turn.parts if "functionCall" in part), None)
        if first is not None and rules.is_3 and index > current and SIGNATURE not in first:
            text = (
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `default_api:{signed(first)}` , position {turn.number + 1}. Please refer to "
                "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            )
            raise invalid(text)


def _speaks(turn: Turn) -> bool:
    return any("functionResponse" not in part for part in turn.parts)


def _is_good(signature: str, what: str) -> bool:
    plain = signature.replace("+", "-").replace("/", "_").rstrip("=")
    return plain in _STAND_INS or is_genuine("thought_signature", signature, what)


_STAND_INS = frozenset(
    spelt.rstrip("=") for each in STAND_INS for spelt in (each, base64.urlsafe_b64encode(each.encode()).decode())
)
