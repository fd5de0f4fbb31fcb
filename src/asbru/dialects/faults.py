"""Providers' errors in the terms of the Messages API: what every codec needs, whatever shape an error comes in.

Statuses and types are contract/translation.md §8.1; the wording for a prompt that does not fit is contract/anthropic.md
§5.1, because Claude Code reads the numbers in it and makes its conversation shorter. A provider's own words are kept,
bounded, and without anything that may be a credential: OpenAI and DeepSeek quote parts of a key that they refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from asbru.dialects.codec import Fault

MAX_MESSAGE_CHARS = 2000
MAX_RETRY_AFTER_S = 86_400.0

_BY_STATUS: dict[int, tuple[int, str]] = {
    401: (401, "authentication_error"),
    402: (402, "billing_error"),
    403: (403, "permission_error"),
    404: (404, "not_found_error"),
    408: (504, "timeout_error"),
    409: (409, "conflict_error"),
    413: (413, "request_too_large"),
    429: (429, "rate_limit_error"),
    498: (529, "overloaded_error"),  # Groq: no capacity in this tier
    503: (529, "overloaded_error"),
    504: (504, "timeout_error"),
    524: (504, "timeout_error"),  # Cloudflare in front of a provider
    529: (529, "overloaded_error"),
}

_CREDENTIALS = re.compile(
    r"""
      \bBearer\s+[^\s"',;]+                            # a header, whatever its value
    | \b(?:sk|pk|rk|gsk|xai|nvapi|csk|pplx|tgp|fw|hf|AIza|AKIA|ASIA|ya29|eyJ)[-_.A-Za-z0-9]{8,}[-_.*A-Za-z0-9]*
    | [-_A-Za-z0-9]*\*{3,}[-_A-Za-z0-9]*               # one that is masked already: the ends are still its own
    | \b(?=[A-Za-z0-9]*[0-9])(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{32,}\b
    """,
    re.VERBOSE,
)

_ACCOUNT = re.compile(
    r"credit balance is too low|reached your specified (?:API )?usage limits?"
    r"|(?:organization|workspace|account)(?: \S+)? (?:has been|is|was)"
    r" (?:disabled|suspended|deactivated|restricted|not active|terminated)"
    r"|insufficient[_ ](?:quota|balance|credits?|funds)|billing_(?:hard_limit_reached|not_active)"
    r"|used all available credits|spend(?:ing)? limit (?:has been )?(?:reached|exceeded)|account_deactivated"
    r"|API key (?:not valid|expired)|API_KEY_INVALID",
    re.IGNORECASE,
)
# Not "exceeded your current quota": Gemini says so of a rate limit, OpenAI beside the code insufficient_quota.
_ACCOUNT_CHARS = 500

_FOREIGN_THINKING = re.compile(
    r"invalid.{0,3}signature.{0,12}thinking|thinking.{0,40}signature.{0,20}invalid|bound to a different conversation",
    re.IGNORECASE,
)

_NUMBER = r"(\d[\d,]{0,14})"
# Pattern, and what its numbers (#) are: most, asked (in all), prompt, output.
_TOO_LONG_SAYINGS = (
    (r"prompt is too long: # tokens > # maximum", "asked most"),
    (r"context length is # tokens.*requested (?:about )?# tokens \(# (?:in|of)\D*#", "most asked prompt output"),
    (r"context length is # tokens.*requested # output tokens and your prompt contains\D*#", "most output prompt"),
    (r"too large: #\. .*context length is # tokens and your request has # input", "output most prompt"),
    (r"context length is # tokens.*(?:resulted in|requested about|requested|contains) # ", "most asked"),
    (r"configured limit of # tokens.*resulted in # tokens", "most asked"),
    (r"maximum prompt length is # but the request contains # tokens", "most asked"),
    (r"prompt contains # tokens.*too large for model with # maximum context length", "asked most"),
    (r"prompt is too long: #, model maximum context length: #", "asked most"),
    (r"current length is # while limit is #", "asked most"),
    (r"must be <= #\. given: # `inputs` tokens and # `max_new_tokens`", "most prompt output"),
    (r"request \(# tokens\) exceeds the available context size \(# tokens\)", "asked most"),
    (r"exceeded model token limit: # \(requested: #\)", "most asked"),
    (
        r"passed # input tokens and requested # output tokens.*context length is (?:only )?# tokens",
        "prompt output most",
    ),
    (r"context length of # tokens.*a total of # tokens: # tokens from the input\D*#", "most asked prompt output"),
    (r"input \(# tokens\) is longer than the model'?s context length \(# tokens\)", "asked most"),
    (r"first # tokens when context the overflows.*context length of only # tokens", "asked most"),
    (r"tokens in the prompt cannot exceed #\W+received #", "most asked"),
    (r"range of input length should be \[\d+, #\]", "most"),
    (r"input token count \(#\) exceeds the maximum number of tokens allowed \(#\)", "asked most"),
)
_TOO_LONG = tuple(
    (re.compile(pattern.replace("#", _NUMBER), re.IGNORECASE | re.DOTALL), tuple(names.split()))
    for pattern, names in _TOO_LONG_SAYINGS
)
_TOO_LONG_WORDS = re.compile(
    r"context[_ ]length[_ ]exceeded|exceeds? (?:the )?(?:available |model'?s? |maximum )?context|context window exceeds"
    r"|maximum context length|prompt (?:is )?too long|greater than the context length|input is too long"
    r"|prompt exceeds (?:the )?max|reduce the length of the messages|exceeds the maximum number of (?:input )?tokens"
    r"|too many tokens:|`max_new_tokens` must be <=",
    re.IGNORECASE,
)


_SIZE = re.compile(r"\btokens?\b|\bcontext\b|\b(?:input|prompt) length\b", re.IGNORECASE)
_LIMIT = re.compile(
    r"maximum|\bmax\b|limit|longer than|exceed|less than|at most|\bonly\b|up to|greater than|larger than|should be"
    r"|too (?:long|large|many)",
    re.IGNORECASE,
)
_OTHER_LIMIT = re.compile(
    r"max_(?:completion_|output_|new_)?tokens|maxOutputTokens|output tokens|per (?:minute|hour|day|second)"
    r"|\b[tr]p[md]\b|rate.?limit|quota|budget|images?\b|stop.?sequence|tools?\b",
    re.IGNORECASE,
)
_ANY_NUMBER = re.compile(r"(?<![\w.])\d[\d,]{2,14}(?![\w.]*\d)")
_LEAST_CONTEXT_TOKENS = 512


def by_status(status: int) -> tuple[int, str]:
    """The status and ``error.type`` that stand for a provider's status."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return (400, "invalid_request_error") if 400 <= status < 500 else (500, "api_error")


def fault(status: int, message: str, headers: Mapping[bytes, bytes]) -> Fault:
    """An error of this status with the provider's words, when nothing more is known of it."""
    status, type = by_status(status)
    words = clean(message) or f"The provider answered with status {status} and no reason"
    return Fault(status, type, words, retry_after_s(headers), False if type == "billing_error" else None)


def billing(message: str) -> Fault:
    """The provider's account has no money left: not to be tried again, whatever status said so."""
    return Fault(402, "billing_error", clean(message) or "The provider's account has no credit", None, False)


def of_model(message: str) -> Fault:
    """What the model wrote could not be used: not the client's fault, and the next try may do better."""
    return Fault(500, "api_error", clean(message) or "The model's answer is broken", None, True, of_model=True)


def too_long(message: str, asked_tokens: int | None = None, most_tokens: int | None = None) -> Fault:
    """The prompt does not fit the model: in Anthropic's words with the numbers, where they are known or can be read."""
    if asked_tokens is not None and most_tokens is not None:
        counts = {"asked": asked_tokens, "most": most_tokens}
    else:
        counts = _counts(message)
    words = _too_long_words(counts) if counts else f"prompt is too long: {clean(message)}".rstrip(": ")
    return Fault(400, "invalid_request_error", words)


def says_too_long(message: str) -> bool:
    """Whether these words say that the prompt does not fit."""
    return bool(_counts(message)) or _TOO_LONG_WORDS.search(message, 0, 2 * MAX_MESSAGE_CHARS) is not None


def says_account(message: str) -> bool:
    """Whether these words are about the account behind the key (no credit, a limit reached, disabled).

    Such an error is not the client's, whatever its status: another key may serve the same request.
    """
    return _ACCOUNT.search(message, 0, _ACCOUNT_CHARS) is not None


def says_foreign_thinking(message: str) -> bool:
    """Whether these words refuse a thinking block because its signature is of another provider or conversation."""
    return _FOREIGN_THINKING.search(message, 0, _ACCOUNT_CHARS) is not None


def shaped_too_long(message: str) -> tuple[int, int] | None:
    """How many tokens were asked for and how many there may be, in words that no pattern knows.

    Two numbers, a word for a length and a word for a limit, and nothing of any other limit. For statuses that mean
    that the request is at fault: 400, 413, 422.
    """
    text = message[: 2 * MAX_MESSAGE_CHARS]
    if _SIZE.search(text) is None or _LIMIT.search(text) is None or _OTHER_LIMIT.search(text) is not None:
        return None
    numbers = {int(number.replace(",", "")) for number in _ANY_NUMBER.findall(text)}
    if len(numbers) != 2:
        return None
    most, asked = sorted(numbers)
    return (asked, most) if most >= _LEAST_CONTEXT_TOKENS else None


def _counts(message: str) -> dict[str, int]:
    for pattern, names in _TOO_LONG:
        match = pattern.search(message, 0, 2 * MAX_MESSAGE_CHARS)
        if match is not None:
            return {name: int(text.replace(",", "")) for name, text in zip(names, match.groups(), strict=True)}
    return {}


def _too_long_words(counts: Mapping[str, int]) -> str:
    most, prompt, output = counts["most"], counts.get("prompt"), counts.get("output")
    if prompt is not None and output is not None and prompt <= most:
        # The prompt fits, but not together with the output that was asked for.
        return (
            f"input length and `max_tokens` exceed context limit: {prompt} + {output} > {most}, "
            "decrease input length or `max_tokens` and try again"
        )
    # A host that names only its limit has counted one token more at least.
    return f"prompt is too long: {prompt or counts.get('asked', most + 1)} tokens > {most} maximum"


def clean(message: str) -> str:
    """A provider's words without what may be a credential, bounded; nothing of a page meant for a browser."""
    text = message[: 2 * MAX_MESSAGE_CHARS].strip()
    if _PAGE.match(text) is not None:
        return ""
    text = _CREDENTIALS.sub("[redacted]", text)
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


_PAGE = re.compile(r"<(?:!doctype|!--|\?xml|html|head|body|title|h\d|center|div|p|pre)\b", re.IGNORECASE)


def retry_after_s(headers: Mapping[bytes, bytes]) -> float | None:
    """The wait that a response's headers (names in lower case) ask for; a date is left to who has a clock."""
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        digits = headers.get(name, b"").strip()
        if digits.replace(b".", b"", 1).isdigit():
            return min(float(digits) * unit_s, MAX_RETRY_AFTER_S)
    return None
