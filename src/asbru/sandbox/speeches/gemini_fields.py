"""A Gemini request, field by field: ``GenerateContentRequest`` and ``CountTokensRequest`` of ai.google.dev/api and of
Vertex AI, as the Python SDK ``google-genai`` 3.4 writes them (types.py, and models.py for what is only on one of them).

Audio, video and images as answers, live sessions, caches and tuned models are left out: the sandbox's models have none.
"""

from __future__ import annotations

from asbru.sandbox.speeches.proto import (
    Fields,
    Reading,
    anything,
    data,
    decimal,
    enum,
    flag,
    message,
    repeated,
    struct,
    text,
    whole,
)

_PACKAGE = "google.ai.generativelanguage.v1beta."
_EMPTY: Fields = {}


def _message(kind: str, fields: Fields, oneof: str = "", members: tuple[str, ...] = ()) -> Reading:
    return message(_PACKAGE + kind, fields, oneof, members)


# Contents

_BLOB = _message("Blob", {"mimeType": text, "data": data, "displayName": text})
_FILE = _message("FileData", {"mimeType": text, "fileUri": text, "displayName": text})
_LEVEL = enum(_PACKAGE + "MediaResolution.Level", *(f"MEDIA_RESOLUTION_{each}" for each in ("LOW", "MEDIUM", "HIGH")))
_RESPONSE_PART = _message("FunctionResponsePart", {"inlineData": _BLOB, "fileData": _FILE})
_TOOL_TYPES = enum(
    _PACKAGE + "ToolType", "GOOGLE_SEARCH_WEB", "GOOGLE_SEARCH_IMAGE", "URL_CONTEXT", "GOOGLE_MAPS", "FILE_SEARCH"
)
_DATA: Fields = {
    "text": text,
    "inlineData": _BLOB,
    "fileData": _FILE,
    "functionCall": _message("FunctionCall", {"id": text, "name": text, "args": struct}),
    "functionResponse": _message(
        "FunctionResponse",
        {
            "id": text,
            "name": text,
            "response": struct,
            "parts": repeated(_RESPONSE_PART),
            "willContinue": flag,
            "scheduling": enum(_PACKAGE + "FunctionResponse.Scheduling", "SILENT", "WHEN_IDLE", "INTERRUPT"),
        },
    ),
    "executableCode": _message(
        "ExecutableCode", {"id": text, "language": enum(_PACKAGE + "ExecutableCode.Language", "PYTHON"), "code": text}
    ),
    "codeExecutionResult": _message(
        "CodeExecutionResult",
        {
            "id": text,
            "outcome": enum(
                _PACKAGE + "CodeExecutionResult.Outcome",
                "OUTCOME_OK",
                "OUTCOME_FAILED",
                "OUTCOME_DEADLINE_EXCEEDED",
            ),
            "output": text,
        },
    ),
}
_OF_SERVER_TOOLS: Fields = {
    "toolCall": _message("ToolCall", {"id": text, "toolType": _TOOL_TYPES, "args": struct}),
    "toolResponse": _message("ToolResponse", {"id": text, "toolType": _TOOL_TYPES, "response": struct}),
}
_BESIDE: Fields = {
    "thought": flag,
    "thoughtSignature": data,
    "mediaResolution": _message("MediaResolution", {"level": _LEVEL, "numTokens": whole}),
    "videoMetadata": struct,
}


def _content(is_vertex: bool) -> Reading:
    fields = _DATA if is_vertex else {**_DATA, **_OF_SERVER_TOOLS, "partMetadata": struct}
    members = tuple(name for name in fields if name != "partMetadata")
    part = _message("Part", {**fields, **_BESIDE}, "data", members)
    return _message("Content", {"role": text, "parts": repeated(part)})


# Tools

_TYPES = enum(_PACKAGE + "Type", "string", "number", "integer", "boolean", "array", "object", "null")
"""In JSON Schema's own spelling."""


def _schema(value: object, path: str) -> object:
    """A `Schema`: a subset of OpenAPI's, which holds schemas."""
    return _SCHEMA(value, path)


def _schemas(value: object, path: str) -> object:
    found = struct(value, path)
    assert isinstance(found, dict)
    return {name: _schema(each, f"{path}[{index}].value") for index, (name, each) in enumerate(found.items())}


_SCHEMA = _message(
    "Schema",
    {
        "type": _TYPES,
        "items": _schema,
        "properties": _schemas,
        "anyOf": repeated(_schema),
        **dict.fromkeys(("enum", "required", "propertyOrdering"), repeated(text)),
        **dict.fromkeys(("format", "title", "description", "pattern"), text),
        **dict.fromkeys(
            ("maxItems", "minItems", "maxProperties", "minProperties", "maxLength", "minLength"),
            whole,
        ),
        **dict.fromkeys(("maximum", "minimum"), decimal),
        **dict.fromkeys(("example", "default"), anything),
        "nullable": flag,
    },
)
_FUNCTION = _message(
    "FunctionDeclaration",
    {
        "name": text,
        "description": text,
        "behavior": enum(_PACKAGE + "FunctionDeclaration.Behavior", "BLOCKING", "NON_BLOCKING"),
        "parameters": _schema,
        "parametersJsonSchema": anything,
        "response": _schema,
        "responseJsonSchema": anything,
    },
)
_MCP = _message(
    "McpServer",
    {
        "name": text,
        "streamableHttpTransport": _message(
            "StreamableHttpTransport",
            {
                "url": text,
                "headers": struct,
                "timeout": text,
                "sseReadTimeout": text,
                "terminateOnClose": flag,
            },
        ),
    },
)
_INTERVAL = _message("Interval", {"startTime": text, "endTime": text})


def _tool(is_vertex: bool) -> Reading:
    if is_vertex:
        search: Fields = {"searchTypes": struct, "excludeDomains": repeated(text), "blockingConfidence": text}
    else:
        search = {"searchTypes": struct, "timeRangeFilter": _INTERVAL}
    return _message(
        "Tool",
        {
            "functionDeclarations": repeated(_FUNCTION),
            "googleSearch": _message("GoogleSearch", search),
            "urlContext": _message("UrlContext", _EMPTY),
            "codeExecution": _message("CodeExecution", _EMPTY),
            "mcpServers": repeated(_MCP),
        },
    )


_CALLING = _message(
    "FunctionCallingConfig",
    {
        "mode": enum(_PACKAGE + "FunctionCallingConfig.Mode", "MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"),
        "allowedFunctionNames": repeated(text),
    },
)


def _tool_config(is_vertex: bool) -> Reading:
    fields: Fields = {"functionCallingConfig": _CALLING, "retrievalConfig": struct}
    return _message("ToolConfig", fields if is_vertex else {**fields, "includeServerSideToolInvocations": flag})


# The top level

_THINKING = _message(
    "ThinkingConfig",
    {
        "includeThoughts": flag,
        "thinkingBudget": whole,
        "thinkingLevel": enum(
            _PACKAGE + "ThinkingConfig.ThinkingLevel",
            "THINKING_LEVEL_UNSPECIFIED",
            "MINIMAL",
            "LOW",
            "MEDIUM",
            "HIGH",
            "XHIGH",
        ),
    },
)
_GENERATION = _message(
    "GenerationConfig",
    {
        **dict.fromkeys(("temperature", "topP", "topK", "presencePenalty", "frequencyPenalty"), decimal),
        **dict.fromkeys(("maxOutputTokens", "candidateCount", "seed", "logprobs"), whole),
        "stopSequences": repeated(text),
        "responseMimeType": text,
        "responseSchema": _schema,
        "responseJsonSchema": anything,
        "responseLogprobs": flag,
        "responseModalities": repeated(enum(_PACKAGE + "GenerationConfig.Modality", "TEXT", "IMAGE", "AUDIO")),
        "mediaResolution": enum(
            _PACKAGE + "GenerationConfig.MediaResolution",
            *(f"MEDIA_RESOLUTION_{each}" for each in ("UNSPECIFIED", "LOW", "MEDIUM", "HIGH")),
        ),
        "thinkingConfig": _THINKING,
        "enableEnhancedCivicAnswers": flag,
        "speechConfig": struct,
    },
)
_HARM = enum(
    _PACKAGE + "HarmCategory",
    *(
        f"HARM_CATEGORY_{each}"
        for each in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY")
    ),
)
_THRESHOLD = enum(
    _PACKAGE + "SafetySetting.HarmBlockThreshold",
    "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
    "BLOCK_LOW_AND_ABOVE",
    "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_ONLY_HIGH",
    "BLOCK_NONE",
    "OFF",
)


def _generate(is_vertex: bool) -> Fields:
    content = _content(is_vertex)
    fields: Fields = {
        "model": text,
        "contents": repeated(content),
        "systemInstruction": content,
        "tools": repeated(_tool(is_vertex)),
        "toolConfig": _tool_config(is_vertex),
        "generationConfig": _GENERATION,
        "safetySettings": repeated(_message("SafetySetting", {"category": _HARM, "threshold": _THRESHOLD})),
        "cachedContent": text,
    }
    if is_vertex:
        return {**fields, "labels": struct}
    return {
        **fields,
        "serviceTier": enum(_PACKAGE + "ServiceTier", "unspecified", "flex", "standard", "priority"),
        "store": flag,
    }


GENERATE = _message("GenerateContentRequest", _generate(False))
GENERATE_ON_VERTEX = message("google.cloud.aiplatform.v1beta1.GenerateContentRequest", _generate(True))
COUNT = _message("CountTokensRequest", {"contents": repeated(_content(False)), "generateContentRequest": GENERATE})
COUNT_ON_VERTEX = message(
    "google.cloud.aiplatform.v1beta1.CountTokensRequest",
    {
        name: each
        for name, each in _generate(True).items()
        if name in ("model", "contents", "systemInstruction", "tools", "generationConfig")
    },
)
