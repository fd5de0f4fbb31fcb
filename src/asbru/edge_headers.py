"""Header fields that stop at this hop by default, as tables: they describe the network around it, not the exchange.

Requests: what proxies, CDNs, load balancers, identity proxies and other gateways in front of this one add for it to
read (addresses, traces of their own, the user they logged in, their keys). A provider has no use for them, and one
behind the same CDN refuses a request that seems to come from inside it.

Responses: what an upstream declares for its whole origin. Relayed, it would be declared for the gateway's own.

`FieldRules` are one provider's exceptions: more fields that stop, and fields that are kept all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

REQUEST_NAMES = frozenset(
    {
        # forwarding: RFC 7239, and what came before it
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-originating-ip",
        b"x-remote-ip",
        b"x-remote-addr",
        b"x-proxyuser-ip",
        b"x-host",
        b"x-scheme",
        b"x-url-scheme",
        b"x-original-forwarded-for",
        b"x-original-host",
        b"x-original-method",
        b"x-original-proto",
        b"x-original-uri",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-request-start",
        b"x-queue-start",
        b"x-varnish",
        b"client-ip",
        b"true-client-ip",
        b"wl-proxy-client-ip",
        b"incap-client-ip",
        b"do-connecting-ip",
        b"max-forwards",
        b"front-end-https",
        b"surrogate-capability",
        b"x-https",
        b"x-tls-version",
        b"x-tls-cipher",
        # CDNs and platforms
        b"cdn-loop",
        b"cloudfront-forwarded-proto",
        b"x-amzn-trace-id",
        b"x-cloud-trace-context",
        b"x-serverless-authorization",
        b"x-appservice-proto",
        b"x-site-deployment-id",
        b"x-waws-unencoded-url",
        b"disguised-host",
        b"was-default-hostname",
        b"x-client-port",
        b"x-fd-healthprobe",
        b"x-istio-attributes",
        # TLS clients and users that something in front has recognised
        b"client-cert",
        b"client-cert-chain",
        b"x-client-verify",
        b"x-client-dn",
        b"remote-user",
        b"remote-email",
        b"remote-groups",
        b"remote-name",
        b"x-remote-user",
        b"x-access-token",
        b"x-auth-token",
        b"x-csrf-token",
        b"x-xsrf-token",
        # keys of other gateways
        b"apikey",
        b"helicone-auth",
        b"x-functions-key",
        b"x-rapidapi-key",
        b"x-kong-api-key",
    }
)
REQUEST_PREFIXES = (
    b"cf-",  # Cloudflare, its Access and its AI Gateway
    b"fastly-",
    b"x-fastly-",
    b"akamai-",
    b"x-akamai-",
    b"cloudfront-",
    b"x-amz-",  # CloudFront, and signatures for somebody else; Bedrock's own fields begin with x-amzn-
    b"x-amzn-oidc-",
    b"x-amzn-mtls-",
    b"x-amzn-apigateway-",
    b"x-amzn-tls-",
    b"x-goog-iap-",
    b"x-goog-authenticated-user-",
    b"x-appengine-",
    b"x-azure-",
    b"x-arr-",
    b"x-ms-client-principal",
    b"x-ms-token-",
    b"ocp-apim-",
    b"x-vercel-",
    b"x-nf-",
    b"x-railway-",
    b"fly-",
    b"render-",
    b"x-sucuri-",
    b"x-envoy-",
    b"x-kong-",
    b"x-consumer-",
    b"x-credential-",
    b"x-anonymous-consumer",
    b"x-auth-request-",
    b"x-authentik-",
    b"x-pomerium-",
    b"x-webauth-",
    b"x-client-cert",
    b"x-ssl-",
    b"ssl-client-",
    b"tailscale-",
    b"x-forwarded",  # x-forwarded-for, -user, -access-token, and x-forwarded itself
    b"x-litellm-",
    b"x-portkey-",
    b"x-tfy-",
)
RESPONSE_NAMES = frozenset(
    {
        b"strict-transport-security",
        b"alt-svc",
        b"nel",
        b"report-to",
        b"reporting-endpoints",
        b"expect-ct",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"clear-site-data",
        b"set-cookie",  # the client's cookies do not go upstream either
        b"set-cookie2",
        b"accept-ch",
        b"critical-ch",
        b"origin-agent-cluster",
        b"origin-trial",
        b"service-worker-allowed",
        b"speculation-rules",
    }
)


class FieldRules:
    """What one provider's configuration says of fields in one direction; ``*`` stands for any run of characters."""

    __slots__ = ("_dropped", "_kept")

    def __init__(self, drop: Iterable[str], keep: Iterable[str]) -> None:
        self._dropped = _patterns(drop)
        self._kept = _patterns(keep)

    def drops(self, name: bytes) -> bool:
        return self._dropped.fullmatch(name) is not None

    def keeps(self, name: bytes) -> bool:
        """Whether a field is kept that would stop here by default."""
        return self._kept.fullmatch(name) is not None


def _patterns(texts: Iterable[str]) -> re.Pattern[bytes]:
    """The expression for any of these names, in lower case; for nothing when there are none."""
    choices = [re.escape(text.lower().encode("ascii")).replace(rb"\*", b".*") for text in texts]
    return re.compile(b"|".join(choices) if choices else rb"(?!)")
