"""The rules about messages that no single field can break: roles, order, tools and their results, signatures.

Each function checks one rule over the whole conversation and raises `ApiError` with the real API's text, as far as it
is known. Indexes in the texts count messages as the caller sent them. `RULES` is the order they are checked in.
"""

from __future__ import annotations

from collections.abc import Iterator

from asbru.sandbox.answers import invalid
from asbru.sandbox.models import Profile
from asbru.sandbox.request import Block, Message, Request
from asbru.sandbox.thinking import is_genuine

ONLY_IN = {
    "tool_result": "user",
    "tool_use": "assistant",
    "server_tool_use": "assistant",
    "mcp_tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
}
DIRECTIVE = "the directive-only form (content: [] with output_config) is accepted at any position"


def beginning(request: Request, profile: Profile) -> None:
    if request.messages[0].role == "system" and not request.messages[0].is_directive:
        raise invalid(f"messages.0: use the top-level 'system' parameter for the initial system prompt; {DIRECTIVE}")
    spoken = [message for message in request.messages if message.role != "system"]
    if not spoken or spoken[0].role != "user":
        raise invalid('messages: first message must use the "user" role')


def _ends_in_server_tool(message: Message) -> bool:
    last = message.content[-1].type if message.content else ""
    return last.endswith("_tool_result") or last == "server_tool_use"


def system_messages(request: Request, profile: Profile) -> None:
    if not profile.system_role and any(message.role == "system" for message in request.messages):
        raise invalid("role 'system' is not supported on this model")
    for index, message in enumerate(request.messages):
        if message.role != "system" or message.is_directive:
            continue
        others = [other for other in request.messages[:index] if not other.is_directive]
        if others[-1].role != "user" and not _ends_in_server_tool(others[-1]):
            raise invalid(
                f"messages.{index}: role 'system' must follow a 'user' message or an 'assistant' message "
                f"ending in a server tool result; {DIRECTIVE}"
            )
        following = [other for other in request.messages[index + 1 :] if not other.is_directive]
        if following and following[0].role != "assistant":
            raise invalid(f"messages.{index}: role 'system' must precede an 'assistant' message or end the array")


def contents(request: Request, profile: Profile) -> None:
    last = len(request.messages) - 1
    for index, message in enumerate(request.messages):
        if message.content or message.is_directive or (index == last and message.role == "assistant"):
            continue
        raise invalid(
            f"messages.{index}: all messages must have non-empty content except for the optional final "
            "assistant message"
        )


def texts(request: Request, profile: Profile) -> None:
    for index, message in enumerate(request.messages):
        for position, block in enumerate(message.content):
            if block.type == "text" and not block.text and block.cache_control:
                raise invalid(
                    f"messages.{index}.content.{position}.text: cache_control cannot be set for empty text blocks"
                )
    if any(block.type == "text" and not block.text for block in request.blocks()):
        raise invalid("messages: text content blocks must be non-empty")
    for message in request.messages:
        if any(block.type == "text" and not block.text.strip() for block in message.content):
            raise invalid("messages: text content blocks must contain non-whitespace text")
    if any(not block.text for block in request.system):
        raise invalid("system: text content blocks must be non-empty")


def places(request: Request, profile: Profile) -> None:
    for index, message in enumerate(request.messages):
        for position, block in enumerate(message.content):
            role = ONLY_IN.get(block.type, message.role)
            if role != message.role:
                raise invalid(
                    f"messages.{index}.content.{position}: `{block.type}` blocks can only be in `{role}` messages"
                )


def ending(request: Request, profile: Profile) -> None:
    if not request.prefill:
        return
    if not profile.prefill:
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    last = request.messages[-1].content
    if last and last[-1].text != last[-1].text.rstrip():
        raise invalid("messages: final assistant content cannot end with trailing whitespace")


Turn = list[tuple[int, int, Block]]
"""The blocks of neighbouring messages with the same role, each with its message's and its own index."""


def turns(request: Request) -> Iterator[tuple[str, Turn]]:
    role = ""
    turn: Turn = []
    for index, message in enumerate(request.messages):
        if message.role == "system":
            continue
        if message.role != role and turn:
            yield role, turn
            turn = []
        role = message.role
        turn += [(index, position, block) for position, block in enumerate(message.content)]
    if turn:
        yield role, turn


def _leading_results(turn: Turn) -> Turn:
    """The tool results a turn begins with; those after anything else do not count as answers."""
    count = next((index for index, (_, _, block) in enumerate(turn) if block.type != "tool_result"), len(turn))
    return turn[:count]


def tool_pairs(request: Request, profile: Profile) -> None:
    """Every ``tool_use`` has its one ``tool_result`` right after it, and every ``tool_result`` its ``tool_use``."""
    seen: set[str] = set()
    open_calls: dict[str, int] = {}
    for role, turn in turns(request):
        if role == "user":
            _results(turn, open_calls)
        else:
            open_calls = {block.id: index for index, _, block in turn if block.type == "tool_use"}
            calls = [block.id for _, _, block in turn if block.type == "tool_use"]
            if len(set(calls)) != len(calls) or seen & set(calls):
                raise invalid("messages: `tool_use` ids must be unique")
            seen |= set(calls)
    _unanswered(open_calls)


def _results(turn: Turn, open_calls: dict[str, int]) -> None:
    """Take the results of a user turn off ``open_calls``; none may be left over on either side."""
    known = set(open_calls)
    for index, position, block in _leading_results(turn):
        if block.tool_use_id in open_calls:
            del open_calls[block.tool_use_id]
        elif block.tool_use_id in known:
            raise invalid(
                f"messages.{index}.content.{position}: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {block.tool_use_id}"
            )
    _unanswered(open_calls)
    for index, position, block in turn:
        if block.type == "tool_result" and block.tool_use_id not in known:
            raise invalid(
                f"messages.{index}.content.{position}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{block.tool_use_id}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                "previous message."
            )


def _unanswered(open_calls: dict[str, int]) -> None:
    if open_calls:
        index = next(iter(open_calls.values()))
        raise invalid(
            f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(open_calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
            "next message."
        )


def signatures(request: Request, profile: Profile) -> None:
    for index, message in enumerate(request.messages):
        for position, block in enumerate(message.content):
            if block.type == "thinking" and not is_genuine("thinking", block.signature, block.thinking):
                raise invalid(f"messages.{index}.content.{position}: Invalid `signature` in `thinking` block")
            if block.type == "redacted_thinking" and not is_genuine("redacted_thinking", block.data, ""):
                raise invalid(f"messages.{index}.content.{position}: Invalid `data` in `redacted_thinking` block")


def thinking_first(request: Request, profile: Profile) -> None:
    """With a thinking budget, the turn that called the tools whose results now come must begin with thinking."""
    if request.thinking is None or request.thinking.type != "enabled" or not request.tool_results():
        return
    answers = [turn for role, turn in turns(request) if role == "assistant"]
    if not answers:
        return
    index, position, first = answers[-1][0]
    if first.type not in ("thinking", "redacted_thinking"):
        raise invalid(
            f"messages.{index}.content.{position}.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{first.type}`. When `thinking` is enabled, a final `assistant` message must start with a thinking "
            "block (preceeding the lastmost set of `tool_use` and `tool_result` blocks). To avoid this requirement, "
            "disable `thinking`."
        )


RULES = (
    beginning,
    system_messages,
    contents,
    texts,
    places,
    ending,
    tool_pairs,
    signatures,
    thinking_first,
)
