"""A Messages request as a Converse request, and as one that counts its tokens.

What Converse itself has no field for goes into ``additionalModelRequestFields``, which Bedrock merges into the body it
gives the model: there Claude takes its own fields, Nova ``reasoningConfig``, others an effort. Facts: botocore 1.44.5;
the Bedrock user guide; the Nova 2 user guide; what Converse took of each family in 2026 (LangChain, opencode, LiteLLM).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from asbru.dialects import bedrock, betas, schema_fit, stopping
from asbru.dialects.bedrock import Family
from asbru.dialects.bedrock_converse.conversation import Conversation, native, note_plain, without_blank
from asbru.dialects.by_url import Kind
from asbru.dialects.codec import Context, Sent
from asbru.dialects.losses import Losses, LossyError
from asbru.dialects.messages import Request, Tool, ToolChoice, ToolUse
from asbru.dialects.prepare import prepare, server_tool_field
from asbru.dialects.thinking_room import most_tokens, room

Json = dict[str, Any]

OUTPUT_NAME = "structured_output"

_MAX_STOP_SEQUENCES = 2500
_BUDGETS = ((4096, "high"), (2048, "medium"), (0, "low"))
_BETAS = frozenset(
    {
        "context-1m-2025-08-07",
        "effort-2025-11-24",
        "fine-grained-tool-streaming-2025-05-14",
        "output-128k-2025-02-19",
        "thinking-display-updates-2026-08-18",
        "token-efficient-tools-2025-02-19",
        betas.INTERLEAVED,
    }
)
"""Those of `betas.BEDROCK` that need no field of the Messages API that Converse lacks."""
_EFFORTS: dict[Family, dict[str, str]] = {
    # Nova takes no limit of tokens with its highest effort.
    "nova": {"minimal": "low", "high": "medium", "xhigh": "medium", "max": "medium"},
    "gpt-oss": {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"},
    "openai": {"minimal": "low"},
}
"""Efforts that a family lacks -> the nearest that it has. Claude's are its own affair, others have none."""
EFFORTS = ("low", "medium", "high", "xhigh", "max")
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{1,256}").fullmatch

_encode = msgspec.json.encode


def unfetched(context: Context) -> frozenset[Kind]:
    """See `Codec.unfetched`: Converse takes bytes, and objects in S3."""
    return frozenset({"document"}) if context.facts.images is False else frozenset({"image", "document"})


def encode(request: Request, context: Context, losses: Losses) -> Sent:
    """See `Codec.encode`."""
    work = _Work(request, context, losses)
    body = work.body()
    operation, accept = ("converse-stream", bedrock.EVENT_STREAM) if request.stream else ("converse", None)
    return Sent(bedrock.target(context.model, operation), _encode(body), accept=accept)


def encode_count(request: Request, context: Context, losses: Losses) -> Sent:
    """See `Codec.encode_count`: CountTokens takes what the prompt is made of."""
    body = _Work(request, context, losses).body()
    counted = ("messages", "system", "toolConfig", "additionalModelRequestFields")
    converse = {name: body[name] for name in counted if name in body}
    target = bedrock.target(bedrock.base_model(context.model), "count-tokens")
    return Sent(target, _encode({"input": {"converse": converse}}))


class _Work:
    """One request being written."""

    __slots__ = ("_context", "_conversation", "_family", "_losses", "_more", "_request")

    def __init__(self, request: Request, context: Context, losses: Losses) -> None:
        self._family: Family = bedrock.family(context)
        without_blank(request)
        if self._family != "claude":
            note_plain(request, losses)
        kept = native(self._family)
        if context.facts.system_turns:
            kept |= {"messages.system"}
        elif any(turn.role == "system" and turn.content for turn in request.messages):
            losses.note("approximated", "messages.system", "a reminder in the user's turn")
        self._request = prepare(request, context, losses, native=kept, maker=bedrock.maker(context))
        self._context = context
        self._losses = losses
        self._conversation = Conversation(context, self._family, losses)
        self._more: Json = {}
        """``additionalModelRequestFields``."""

    def body(self) -> Json:
        request = self._request
        body: Json = {"messages": self._conversation.messages(request)}
        instruction, output = self._output()
        system = self._system(instruction)
        if system:
            body["system"] = system
        body["inferenceConfig"] = self._inference()
        tools = self._tools()
        if tools:
            body["toolConfig"] = tools
        self._thinking(output)
        self._rest()
        if output:
            body["outputConfig"] = output
        if self._more:
            body["additionalModelRequestFields"] = self._more
        if request.stop_sequences and self._family == "claude":
            body["additionalModelResponseFieldPaths"] = ["/stop_sequence"]
        if request.user_id:
            body["requestMetadata"] = self._metadata(request.user_id)
        return body

    def _system(self, instruction: str) -> list[Json]:
        system: list[Json] = []
        for block in self._request.system:
            system.append({"text": block.text})
            system += self._conversation.cache_point(block.cache_control)
        return [*system, {"text": instruction}] if instruction else system

    def _most_tokens(self) -> int:
        """The limit, with room for thinking that nobody asked for, of a model that thinks all the same."""
        context = self._context
        thinks = self._family not in ("claude", "nova") and context.facts.reasoning is True
        unasked = thinks and not context.wants_thinking and "none" not in context.facts.efforts
        return most_tokens(self._request, context, room(self._request) if unasked else 0, self._losses)

    def _inference(self) -> Json:
        request, facts = self._request, self._context.facts
        inference: Json = {"maxTokens": max(1, self._most_tokens())}
        for name, field, value in (
            ("temperature", "temperature", request.temperature),
            ("top_p", "topP", request.top_p),
        ):
            if value is not None and facts.sampling is False:
                self._losses.note("dropped", name, "this model takes none")
            elif value is not None:
                inference[field] = value
        most = _MAX_STOP_SEQUENCES if self._family == "claude" else self._context.quirks.max_stop_sequences
        sequences, self._context.stop_sequences = stopping.divide(request.stop_sequences, most, self._losses)
        if sequences:
            inference["stopSequences"] = sequences
        return inference

    # Tools

    def _tools(self) -> Json:
        request, choice = self._request, self._request.tool_choice
        called = {block.name: None for turn in request.messages for block in turn.content if isinstance(block, ToolUse)}
        if self._context.structured_tool is not None:
            assert request.output_config is not None
            assert request.output_config.format is not None
            spec = {"name": OUTPUT_NAME, "inputSchema": {"json": request.output_config.format.schema}}
            named = self._context.quirks.tool_choice_named
            forced: Json = {"tool": {"name": OUTPUT_NAME}} if named else {"any": {}}
            return {"tools": [{"toolSpec": spec}], "toolChoice": forced}
        tools = [made for index, tool in enumerate(request.tools) for made in self._tool(tool, f"tools.{index}")]
        if called and not tools:
            # Converse wants to know the tools of a conversation that has used some.
            self._losses.note("approximated", "tool_use", "its tool is sent along, as far as it is known")
            tools = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
        if not tools:
            return {}
        config: Json = {"tools": tools}
        if choice is None:
            return config
        if choice.type == "none":
            return self._no_choice(config, bool(called))
        if choice.type != "auto":
            self._force(choice, config)
        if choice.disable_parallel_tool_use:
            if self._family == "claude":
                # Merged with `toolChoice`, which brings the type; both saying it is refused.
                kind = {} if "toolChoice" in config else {"type": "auto"}
                self._more["tool_choice"] = {**kind, "disable_parallel_tool_use": True}
            else:
                self._losses.note("dropped", "tool_choice.disable_parallel_tool_use", "not in the dialect")
        return config

    def _force(self, choice: ToolChoice, config: Json) -> None:
        """``any`` and ``tool``, as far as the model takes them."""
        quirks = self._context.quirks
        if not quirks.tool_choice_required:
            self._losses.note("dropped", "tool_choice", "this model is not known to take a forced tool")
        elif choice.type == "any" or not quirks.tool_choice_named:
            config["toolChoice"] = {"any": {}}
            if choice.type != "any":
                config["tools"] = self._only(config["tools"], choice.name)
                self._losses.note("approximated", "tool_choice", "any tool, and this is the only one")
        else:
            config["toolChoice"] = {"tool": {"name": choice.name or ""}}

    @staticmethod
    def _only(tools: list[Json], name: str | None) -> list[Json]:
        """The tool of this name alone; all of them where there is none."""
        return [tool for tool in tools if tool.get("toolSpec", {}).get("name") == name] or tools

    def _no_choice(self, config: Json, called: bool) -> Json:
        if self._family == "claude":
            self._more["tool_choice"] = {"type": "none"}
            return config
        if not called:
            return {}
        self._losses.note("approximated", "tool_choice", "the tools stay, because the conversation has used some")
        return config

    def _tool(self, tool: Tool, path: str) -> list[Json]:
        if server_tool_field(tool) is not None:
            if self._family != "nova":
                raise LossyError(path, "Web search is not supported for this model")
            return [{"systemTool": {"name": "nova_grounding"}}]
        fitted = schema_fit.fit(tool.input_schema)
        if fitted.lost is not None:
            self._losses.note("approximated", "tools.custom", fitted.lost, path)
        schema = fitted.schema
        if not schema["properties"] and "properties" not in (tool.input_schema or {}):
            schema = {name: value for name, value in schema.items() if name != "properties"}
        spec: Json = {"name": tool.name, "inputSchema": {"json": schema}}
        if tool.description and not tool.description.isspace():
            spec["description"] = tool.description
        if tool.strict and self._holds_to_schemas():
            spec["strict"] = True
        elif tool.strict:
            self._losses.note("dropped", "tools.strict", "this model is not known to take it")
        return [{"toolSpec": spec}, *self._conversation.cache_point(tool.cache_control, tools=True)]

    # Output and thinking

    def _holds_to_schemas(self) -> bool:
        """Whether the model takes a schema that its output, or the input of a strict tool, is held to."""
        known = self._context.facts.structured_output
        if not self._context.quirks.json_schema:
            return False
        return known or (known is None and self._family not in ("nova", "other"))

    def _output(self) -> tuple[str, Json]:
        """An instruction for the system prompt, and ``outputConfig``; may set ``context.structured_tool``."""
        request, context = self._request, self._context
        wanted = request.output_config.format if request.output_config is not None else None
        if wanted is None:
            return "", {}
        if self._holds_to_schemas():
            schema = {"schema": _encode(wanted.schema).decode(), "name": OUTPUT_NAME}
            return "", {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        thinks = request.thinking is not None and request.thinking.type != "disabled"  # then Claude cannot be forced
        forced = not request.tools and context.quirks.tool_choice_required and context.facts.tools is not False
        if forced and wanted.schema.get("type") == "object" and not (thinks and self._family == "claude"):
            self._losses.note("emulated", "output_config.format", "by a tool that the model must call")
            context.structured_tool = OUTPUT_NAME
            return "", {}
        self._losses.note("emulated", "output_config.format", "by an instruction; it is not enforced")
        return (
            "Answer with JSON that is valid against this JSON Schema, and with nothing else: no prose, no code fence.\n"
            + _encode(wanted.schema).decode(),
            {},
        )

    def _thinking(self, output: Json) -> None:
        """Thinking and effort, into ``output`` or the additional fields."""
        request = self._request
        thinking = request.thinking
        effort = request.output_config.effort if request.output_config is not None else None
        if self._family == "claude":
            if thinking is not None:
                fields = (("type", thinking.type), ("budget_tokens", thinking.budget_tokens))
                self._more["thinking"] = {
                    name: value for name, value in (*fields, ("display", thinking.display)) if value is not None
                }
            if effort is not None:
                self._claude_effort(effort, output)
            return
        field = "output_config.effort"
        if thinking is not None and thinking.type in ("disabled", "between_tools"):
            field, effort = "thinking.disabled", "none"
        elif thinking is not None and thinking.type == "enabled" and effort is None:
            field, budget = "thinking.budget_tokens", thinking.budget_tokens or 0
            effort = next((name for least, name in _BUDGETS if budget >= least), "low")
        if effort is not None:
            self._effort(effort, field)

    def _claude_effort(self, wanted: str, output: Json) -> None:
        """The effort where the model is known to take efforts, the nearest below it where it lacks this one."""
        known = self._context.facts.efforts
        below = EFFORTS[: EFFORTS.index(wanted) + 1] if wanted in EFFORTS else ()
        sent = next((effort for effort in reversed(below) if effort in known), None)
        if sent is None:
            self._losses.note("dropped", "output_config.effort", "the model is not known to take it")
            return
        output["effort"] = sent
        if sent != wanted:
            self._losses.note("approximated", "output_config.effort", f"{sent} is the nearest that this model has")

    def _effort(self, wanted: str, field: str) -> None:
        """An effort for a model that is not Claude, in its family's words."""
        family = self._family
        efforts = _EFFORTS.get(family)
        if efforts is None or self._context.facts.reasoning is False or _is_nova_1(family, self._context.model):
            if wanted != "none":
                self._losses.note("dropped", field, "the model does not think, or not by effort")
            return
        sent = efforts.get(wanted, wanted)
        if family == "nova":
            self._more["reasoningConfig"] = (
                {"type": "disabled"} if sent == "none" else {"type": "enabled", "maxReasoningEffort": sent}
            )
        elif family == "gpt-oss":
            self._more["reasoning_effort"] = sent
        else:
            self._more["reasoning"] = {"effort": sent}
        if sent != wanted:
            self._losses.note("approximated", field, f"{sent} is the nearest that this model has")
        elif field == "thinking.budget_tokens":
            self._losses.note("approximated", field, f"the effort {sent}")

    def _rest(self) -> None:
        request = self._request
        if request.top_k is not None:
            if self._family == "claude" and self._context.facts.sampling is not False:
                self._more["top_k"] = request.top_k
            elif self._family == "nova":
                self._more["inferenceConfig"] = {"topK": request.top_k}
            else:
                self._losses.note("dropped", "top_k", "this model takes none")
        if self._family == "claude":
            sent, _ = betas.BEDROCK.divide(self._context.betas, self._context.model)
            sent = [beta for beta in sent if beta in _BETAS]
            if sent:
                self._more["anthropic_beta"] = sent

    def _metadata(self, user_id: str) -> dict[str, str]:
        self._losses.meet("metadata.user_id")
        found = {"user_id": _digest(user_id)}
        session = self._context.session_id
        if session and _METADATA(session):
            found["session_id"] = session
        return found


def _is_nova_1(family: Family, model: str) -> bool:
    """Nova thinks from its second generation on."""
    return family == "nova" and "nova-2" not in model


def _digest(user_id: str) -> str:
    """A stable, meaningless name for the end user; Claude Code's, which is an object, without its session."""
    try:
        named = msgspec.json.decode(user_id, type=Json)
    except (msgspec.DecodeError, UnicodeError):
        return hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()
    named.pop("session_id", None)
    return hashlib.sha256(msgspec.json.encode(named, order="sorted")).hexdigest()
