"""Asbru, an LLM gateway: unmodified Anthropic clients in, every model provider out.

The words, used the same everywhere (files, names, logs, metrics, docs):

Exchange    one client request and the response to it, as the server side sees it
Dialect     a wire format: ``anthropic`` and, later, those of other providers
Provider    somewhere requests go: base URL, dialect, credentials, quirks; data, not code
Candidate   one provider + model + key that could serve an exchange
Attempt     one try of one candidate, with its outcome
Record      everything known about one exchange; written exactly once, in ``finally``
Principal   who is asking: a virtual key, a direct provider key, the operator, or nobody

Read ``pipeline.handle`` first: the life of a request on one screen.
"""

__version__ = "0.1.0"
