"""A Converse request, field by field: ``ConverseRequest`` and ``CountTokensRequest`` of botocore 1.44.5.

Video, audio, guardrails and prompts of the prompt management are left out: the sandbox has none.
"""

from __future__ import annotations

from asbru.sandbox.shape import Shape, anything, flag, many, number, one_of, record, table, text
from asbru.sandbox.speeches.bedrock import blob, union

STRING = text()
_NOT_EMPTY = text(least=1)
_TOOL_NAME = text(least=1, most=64, pattern=r"^[a-zA-Z0-9_-]+$")
_TOOL_ID = text(least=1, most=64, pattern=r"^[a-zA-Z0-9_.:-]+$")
_EMPTY = record({})

_TTL = one_of("5m", "1h")
_POINT = record({"type": one_of("default")}, {"ttl": _TTL})
_S3 = record({"uri": text(least=1, most=1024, pattern=r"^s3://[a-z0-9].*$")}, {"bucketOwner": STRING})
_IMAGE = record(
    {
        "format": one_of("png", "jpeg", "gif", "webp"),
        "source": union("ImageSource", {"bytes": blob, "s3Location": _S3}),
    }
)
_CITES = record({"enabled": flag})
_DOCUMENT = record(
    {
        "name": text(least=1, most=200),
        "source": union(
            "DocumentSource",
            {
                "bytes": blob,
                "s3Location": _S3,
                "text": STRING,
                "content": many(union("DocumentContentBlock", {"text": STRING})),
            },
        ),
    },
    {
        "format": one_of("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
        "context": STRING,
        "citations": _CITES,
    },
)
_SEARCH_RESULT = record(
    {"source": STRING, "title": STRING, "content": many(record({"text": STRING}))}, {"citations": _CITES}
)
_TOOL_USE = record({"toolUseId": _TOOL_ID, "name": _TOOL_NAME, "input": anything}, {"type": one_of("server_tool_use")})
_TOOL_RESULT = record(
    {
        "toolUseId": _TOOL_ID,
        "content": many(
            union(
                "ToolResultContentBlock",
                {
                    "json": anything,
                    "text": STRING,
                    "image": _IMAGE,
                    "document": _DOCUMENT,
                    "searchResult": _SEARCH_RESULT,
                },
            )
        ),
    },
    {"status": one_of("success", "error"), "type": STRING},
)
_REASONING = union(
    "ReasoningContentBlock",
    {"reasoningText": record({"text": STRING}, {"signature": STRING}), "redactedContent": blob},
)
_LOCATION = union(
    "CitationLocation",
    dict.fromkeys(("web", "documentChar", "documentPage", "documentChunk", "searchResultLocation"), table(anything)),
)
_CITATIONS = record(
    {},
    {
        "content": many(union("CitationGeneratedContent", {"text": STRING})),
        "citations": many(
            record(
                {},
                {
                    "title": STRING,
                    "source": STRING,
                    "sourceContent": many(union("CitationSourceContent", {"text": STRING})),
                    "location": _LOCATION,
                },
            )
        ),
    },
)
_BLOCK = union(
    "ContentBlock",
    {
        "text": STRING,
        "image": _IMAGE,
        "document": _DOCUMENT,
        "toolUse": _TOOL_USE,
        "toolResult": _TOOL_RESULT,
        "cachePoint": _POINT,
        "reasoningContent": _REASONING,
        "citationsContent": _CITATIONS,
        "searchResult": _SEARCH_RESULT,
    },
)
_MESSAGES = many(record({"role": one_of("user", "assistant", "system"), "content": many(_BLOCK)}))
_SYSTEM = many(union("SystemContentBlock", {"text": _NOT_EMPTY, "cachePoint": _POINT}))

_TOOL = union(
    "Tool",
    {
        "toolSpec": record(
            {"name": _TOOL_NAME, "inputSchema": union("ToolInputSchema", {"json": table(anything)})},
            {"description": _NOT_EMPTY, "strict": flag},
        ),
        "systemTool": record({"name": _TOOL_NAME}),
        "cachePoint": _POINT,
    },
)
_CHOICE = union("ToolChoice", {"auto": _EMPTY, "any": _EMPTY, "tool": record({"name": _TOOL_NAME})})
_TOOLS = record({"tools": many(_TOOL, least=1)}, {"toolChoice": _CHOICE})
_SCHEMA = record({"schema": STRING}, {"name": STRING, "description": STRING})
_MORE: Shape = table(anything)


def _metadata(value: object, path: tuple[str | int, ...]) -> None:
    """1 to 16 texts of up to 256 characters by names of as many."""
    kept = r"^[a-zA-Z0-9\s:_@$#=/+,.-]*$"
    _MORE(value, path)
    assert isinstance(value, dict)
    many(anything, least=1, most=16)(list(value), path)
    for name, item in value.items():
        text(least=1, most=256, pattern=kept)(name, (*path, name))
        text(most=256, pattern=kept)(item, (*path, name))


CONVERSE = record(
    {},
    {
        "messages": _MESSAGES,
        "system": _SYSTEM,
        "inferenceConfig": record(
            {},
            {
                "maxTokens": number(whole=True, least=1),
                "temperature": number(least=0, most=1),
                "topP": number(least=0, most=1),
                "stopSequences": many(_NOT_EMPTY, most=2500),
            },
        ),
        "toolConfig": _TOOLS,
        "additionalModelRequestFields": _MORE,
        "additionalModelResponseFieldPaths": many(text(least=1, most=256), most=10),
        "requestMetadata": _metadata,
        "performanceConfig": record({}, {"latency": one_of("standard", "optimized")}),
        "serviceTier": record({"type": one_of("priority", "default", "flex", "reserved")}),
        "outputConfig": record(
            {},
            {
                "textFormat": record(
                    {
                        "type": one_of("json_schema"),
                        "structure": union("OutputFormatStructure", {"jsonSchema": _SCHEMA}),
                    }
                ),
                "effort": text(most=16),
            },
        ),
    },
)
COUNT = record(
    {
        "input": union(
            "CountTokensInput",
            {
                "converse": record(
                    {},
                    {
                        "messages": _MESSAGES,
                        "system": _SYSTEM,
                        "toolConfig": _TOOLS,
                        "additionalModelRequestFields": _MORE,
                    },
                ),
                "invokeModel": record({"body": blob}),
            },
        )
    }
)
