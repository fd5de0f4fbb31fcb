"""A candidate's request as it is sent: its head, its body, and what finds its credential in the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from asbru.call import Call
from asbru.policy.keys import Key
from asbru.policy.router import Target
from asbru.redaction import NOTHING, Redactor, redactor_of
from asbru.translate import Translation
from asbru.upstream.providers import Upstream

if TYPE_CHECKING:
    from asbru.attempt import Request


def outgoing(
    call: Call,
    request: Request,
    upstream: Upstream,
    model: str,
    key: Key,
    translation: Translation | None,
    method: bytes,
) -> tuple[bytes, bytes | AsyncIterator[bytes] | None, Redactor]:
    """The request's head and body for one candidate, and what finds its credential in the answer."""
    body: bytes | AsyncIterator[bytes] | None
    if translation is None:
        body, target = request.body(Target(upstream.name, model), key), request.target
        forwarded = call.head.forwarded
        betas = (*call.required_betas, *upstream.betas.get(key.name, ()))
        if betas:
            forwarded = call.head.forwarded_with(betas)
        if request.extra:
            forwarded = request.extra + forwarded
    else:
        body, target = translation.sent.body, translation.sent.target
        forwarded = call.head.forwarded_to_any
    if upstream.request_rules is not None:
        forwarded = call.head.forwarded_by(upstream.request_rules, forwarded)
    forwarded = call.gateway.auth.without_master_key(forwarded)
    if translation is not None:
        forwarded = translation.headers + forwarded
    length = len(body) if isinstance(body, bytes) else -1 if body is None else request.length
    if key is call.own_key:
        credential = upstream.direct_line(key.secret, call.principal.direct_header)
        redactor = NOTHING if key.secret is None else redactor_of(key.secret.reveal())
    else:
        signed = body if isinstance(body, bytes) else b""
        credential = upstream.authorization(key.name, method, target, signed)
        redactor = upstream.redactor(key.name, credential)
    return upstream.head(method, target, credential, forwarded, length), body, redactor
