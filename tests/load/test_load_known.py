"""Known providers in a configuration: where they are, what stands in their URLs, their usual keys, their quirks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asbru.config import Config
from asbru.load import load

Loads = Callable[..., Config]
Complaints = Callable[..., dict[str, str]]

VERTEX = "https://aiplatform.googleapis.com/v1beta1/projects/p-1/locations/global/publishers/google"


# Where it is


@pytest.mark.parametrize(
    ("text", "environ", "url"),
    [
        ("groq: {keys: [{value: k}]}", {}, "https://api.groq.com/openai/v1"),
        (
            "bedrock: {region: eu-west-1, keys: [{value: k}]}",
            {"AWS_REGION": "us-east-1"},
            "https://bedrock-runtime.eu-west-1.amazonaws.com",
        ),
        (
            "bedrock: {keys: [{value: k}]}",
            {"AWS_DEFAULT_REGION": "us-east-1"},
            "https://bedrock-runtime.us-east-1.amazonaws.com",
        ),
        ("vertex: {project: p-1, keys: [{google: {}}]}", {}, VERTEX),
        (
            "vertex: {keys: [{google: {}}]}",
            {"GOOGLE_CLOUD_PROJECT": "p-1", "GOOGLE_CLOUD_LOCATION": "europe-west4"},
            "https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/p-1/locations/europe-west4/publishers/google",
        ),
        (
            "vertex-anthropic: {project: p-1, region: eu, keys: [{google: {}}]}",
            {},
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/p-1/locations/eu/publishers/anthropic",
        ),
        ("azure-openai: {resource: r1, keys: [{value: k}]}", {}, "https://r1.openai.azure.com/openai/v1"),
        (
            "azure-openai: {keys: [{value: k}]}",
            {"AZURE_OPENAI_ENDPOINT": "https://r2.openai.azure.com/"},
            "https://r2.openai.azure.com/openai/v1",
        ),
        (
            "azure-openai: {resource: r1, keys: [{value: k}]}",
            {"AZURE_OPENAI_ENDPOINT": "https://r2.openai.azure.com/"},
            "https://r1.openai.azure.com/openai/v1",
        ),
        # An operator's own address: the path is the usual one unless it is said.
        ("openai: {base_url: 'https://proxy.example', keys: [{value: k}]}", {}, "https://proxy.example/v1"),
        ("openai: {base_url: 'https://proxy.example/', keys: [{value: k}]}", {}, "https://proxy.example/v1"),
        ("openai: {base_url: 'https://proxy.example/x', keys: [{value: k}]}", {}, "https://proxy.example/x"),
        ("ollama: {base_url: 'http://gpu-1:11434'}", {}, "http://gpu-1:11434/v1"),
        (
            "vertex: {base_url: 'https://proxy.example', project: p-1, keys: [{google: {}}]}",
            {},
            "https://proxy.example/v1beta1/projects/p-1/locations/global/publishers/google",
        ),
        (
            "vertex: {base_url: 'https://proxy.example', keys: [{google: {}}]}",
            {},
            "https://proxy.example",
        ),
        (
            "bedrock: {base_url: 'https://vpce-1.example', region: us-east-1, keys: [{value: k}]}",
            {},
            "https://vpce-1.example",
        ),
        ("deepseek: {keys: [{value: k}]}", {}, "https://api.deepseek.com"),
    ],
)
def test_where_a_known_provider_is(loads: Loads, text: str, environ: dict[str, str], url: str) -> None:
    (provider,) = loads(f"server: {{port: 8099}}\nproviders: {{{text}}}", environ).providers.values()
    assert provider.base_url == url


def test_what_stands_in_the_url_is_shown_as_it_was_understood(loads: Loads) -> None:
    config = loads("providers: {vertex: {keys: [{google: {}}]}}", {"GOOGLE_CLOUD_PROJECT": "p-1"})
    assert (config.providers["vertex"].region, config.providers["vertex"].project) == ("global", "p-1")


@pytest.mark.parametrize(
    ("text", "environ", "complaint"),
    [
        (
            "bedrock: {keys: [{value: k}]}",
            {},
            {"providers.bedrock": "needs `region`, or set AWS_REGION or AWS_DEFAULT_REGION"},
        ),
        (
            "bedrock: {base_url: 'https://vpce-1.example', keys: [{aws: {}}]}",
            {},
            {"providers.bedrock": "needs `region`, or set AWS_REGION or AWS_DEFAULT_REGION"},
        ),
        (
            "vertex: {keys: [{google: {}}]}",
            {},
            {"providers.vertex": "needs `project`, or set GOOGLE_CLOUD_PROJECT"},
        ),
        (
            "azure-openai: {keys: [{value: k}]}",
            {},
            {"providers.azure-openai": "needs `resource`, or set AZURE_RESOURCE_NAME"},
        ),
        (
            "bedrock: {region: 'us-east-1.evil.example/', keys: [{value: k}]}",
            {},
            {"providers.bedrock.region": "expected a region, such as `eu-central-1`, got other text"},
        ),
        (
            "bedrock: {keys: [{value: k}]}",
            {"AWS_REGION": "evil.example/"},
            {
                "providers.bedrock.region": "expected a region, such as `eu-central-1`, got other text",
                "providers.bedrock": "needs `region`, or set AWS_REGION or AWS_DEFAULT_REGION",
            },
        ),
        (
            "groq: {region: eu-west-1, keys: [{value: k}]}",
            {},
            {"providers.groq.region": "is of no use for this provider"},
        ),
        (
            "eu: {dialect: openai-chat, base_url: 'https://eu.example/v1', resource: r1}",
            {},
            {"providers.eu.resource": "is of no use for this provider"},
        ),
    ],
)
def test_a_url_that_cannot_be_made(
    complaints: Complaints, text: str, environ: dict[str, str], complaint: dict[str, str]
) -> None:
    assert complaints(f"providers: {{{text}}}", environ) == complaint


# What it speaks


def test_another_of_its_dialects_may_be_chosen(loads: Loads) -> None:
    openai = loads("providers: {openai: {dialect: openai-chat, keys: [{value: k}]}}").providers["openai"]
    assert (openai.dialect, openai.base_url) == ("openai-chat", "https://api.openai.com/v1")


def test_a_dialect_that_it_does_not_speak(complaints: Complaints, loads: Loads) -> None:
    text = "providers: {deepseek: {dialect: anthropic, %s keys: [{value: k}]}}"
    says = "deepseek speaks `openai-chat`; for another, give a `base_url` where it is"
    assert complaints(text % "") == {"providers.deepseek.dialect": says}
    there = loads(text % "base_url: 'https://api.deepseek.com/anthropic',").providers["deepseek"]
    assert (there.dialect, there.base_url) == ("anthropic", "https://api.deepseek.com/anthropic")


def test_an_unknown_dialect_is_told_the_nearest(complaints: Complaints) -> None:
    says = (
        "expected one of `anthropic`, `openai-chat`, `openai-responses`, `gemini`, `bedrock-converse`, got other text; "
        "did you mean `openai-chat`?"
    )
    assert complaints("providers: {openai: {dialect: openai_chat}}") == {"providers.openai.dialect": says}


def test_claude_in_a_cloud_is_the_own_dialect_in_an_envelope(loads: Loads, complaints: Complaints) -> None:
    claude = loads("providers: {bedrock-anthropic: {region: us-east-1, keys: [{value: k}]}}")
    assert claude.providers["bedrock-anthropic"].envelope == "bedrock"
    says = {"providers.x.envelope": "goes with the dialect `anthropic` only"}
    text = "providers: {x: {dialect: gemini, envelope: vertex, base_url: 'https://x.example', keys: [{value: k}]}}"
    assert complaints(text) == says


# Another one like it


def test_a_second_one_like_a_known_provider(loads: Loads) -> None:
    config = loads(
        "providers:\n"
        "  bedrock-us: {like: bedrock, region: us-east-1, keys: [{value: k}]}\n"
        "  bedrock-eu: {like: bedrock, region: eu-west-1}\n",
        {"AWS_BEARER_TOKEN_BEDROCK": "b"},
    )
    us, eu = config.providers["bedrock-us"], config.providers["bedrock-eu"]
    assert (us.dialect, us.base_url) == ("bedrock-converse", "https://bedrock-runtime.us-east-1.amazonaws.com")
    assert eu.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert [key.value.origin for key in eu.keys if key.value] == ["env.AWS_BEARER_TOKEN_BEDROCK"]
    assert "bedrock" not in config.providers  # nothing says in which region it would be


def test_like_nothing_known(complaints: Complaints) -> None:
    says = "`bedrok` is not a known provider; did you mean `bedrock`?"
    assert complaints("providers: {b: {like: bedrok}}") == {"providers.b.like": says}


# Keys


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OPENAI_API_KEY": "k"}, ["openai"]),
        ({"GEMINI_API_KEY": "k", "GROQ_API_KEY": "k"}, ["gemini", "groq"]),
        ({"GOOGLE_API_KEY": "k"}, ["gemini"]),
        ({"HF_TOKEN": "k"}, ["sandbox"]),
        ({"OLLAMA_API_KEY": "k"}, ["sandbox"]),
        ({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}, ["sandbox"]),
        ({"AWS_BEARER_TOKEN_BEDROCK": "k"}, ["sandbox"]),
        ({"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": "us-east-1"}, ["bedrock"]),
        ({"AZURE_OPENAI_API_KEY": "k"}, ["sandbox"]),
        ({"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com"}, ["azure-openai"]),
        ({"AZURE_OPENAI_API_KEY": "k", "AZURE_RESOURCE_NAME": "r"}, ["azure-openai"]),
    ],
)
def test_an_environment_configures_what_it_says_all_about(environ: dict[str, str], expected: list[str]) -> None:
    assert list(load(None, environ).providers) == expected


def test_of_several_providers_the_preferred_one_is_the_default() -> None:
    environ = {"OPENAI_API_KEY": "k", "GROQ_API_KEY": "k"}
    assert load(None, environ).routing.default_provider is None
    assert load(None, environ | {"ANTHROPIC_API_KEY": "k"}).routing.default_provider == "anthropic"
    assert load(None, {"OPENAI_API_KEY": "k"}).routing.default_provider == "openai"


def test_a_server_of_ones_own_needs_no_key(loads: Loads) -> None:
    config = loads("providers: {ollama: {}, vllm: {}}", {"VLLM_API_KEY": "k"})
    assert config.providers["ollama"].keys == ()
    assert [key.name for key in config.providers["vllm"].keys] == ["key-1"]


def test_a_cloud_is_called_with_what_its_sdk_would_find(loads: Loads) -> None:
    config = loads("providers: {bedrock: {region: us-east-1}, vertex: {project: p-1}}")
    (aws,) = config.providers["bedrock"].keys
    (google,) = config.providers["vertex"].keys
    assert aws.aws is not None
    assert (aws.name, aws.value, aws.aws.service) == ("key-1", None, "bedrock")
    assert google.google is not None


def test_keys_of_the_environment_are_taken_as_they_are(loads: Loads) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    (key,) = loads("providers: {bedrock-mantle: {region: us-east-1}}", environ).providers["bedrock-mantle"].keys
    assert key.aws is not None
    assert key.aws.access_key_id is not None
    assert key.aws.session_token is not None
    assert key.aws.access_key_id.origin == "env.AWS_ACCESS_KEY_ID"
    assert key.aws.session_token.reveal() == "t"
    assert key.aws.service == "bedrock-mantle"


def test_a_profile_that_is_named_goes_before_the_environment(loads: Loads) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}
    text = "providers: {bedrock: {region: us-east-1, keys: [{aws: {profile: prod}}]}}"
    (key,) = loads(text, environ).providers["bedrock"].keys
    assert key.aws is not None
    assert key.aws.access_key_id is None


def test_entra_is_used_when_the_environment_has_an_application(loads: Loads, complaints: Complaints) -> None:
    text = "providers: {azure-openai: {resource: r}, azure-anthropic: {resource: r}}"
    environ = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}
    config = loads(text, environ)
    (key,) = config.providers["azure-openai"].keys
    assert key.entra is not None
    assert key.entra.client_secret is not None
    assert (key.entra.tenant_id, key.entra.client_id, key.entra.client_secret.reveal()) == ("t", "c", "s")
    assert key.entra.scope == "https://cognitiveservices.azure.com/.default"
    (claude,) = config.providers["azure-anthropic"].keys
    assert claude.entra is not None
    assert claude.entra.scope == "https://ai.azure.com/.default"
    says = "has no key: give it `keys`, or set AZURE_OPENAI_API_KEY or AZURE_API_KEY"
    assert complaints("providers: {azure-openai: {resource: r}}") == {"providers.azure-openai": says}


def test_a_token_does_not_go_to_an_unusual_place_unasked(complaints: Complaints) -> None:
    text = "providers: {vertex: {project: p, base_url: 'https://elsewhere.example/x'}}"
    says = "has no key: with a `base_url` of its own it needs `keys`, such as [{google: {}}]"
    assert complaints(text) == {"providers.vertex": says}


# Azure's dated API


def test_a_dated_api(loads: Loads) -> None:
    text = "providers: {azure-openai: {resource: r1, api_version: 2025-04-01-preview, dialect: %s, keys: [{value: k}]}}"
    chat = loads(text % "openai-chat").providers["azure-openai"]
    assert chat.base_url == "https://r1.openai.azure.com/openai"
    assert chat.quirks["path"] == "/deployments/{model}/chat/completions"
    assert chat.quirks["query"] == "api-version=2025-04-01-preview"
    responses = loads(text % "openai-responses").providers["azure-openai"]
    assert responses.quirks["path"] == "/responses"


def test_a_dated_api_elsewhere(complaints: Complaints) -> None:
    says = {"providers.groq.api_version": "is of no use for groq with the dialect `openai-chat`"}
    assert complaints("providers: {groq: {api_version: 2025-04-01, keys: [{value: k}]}}") == says
    assert complaints("providers: {x: {dialect: openai-chat, base_url: 'https://x.example', api_version: v1}}") == {
        "providers.x.api_version": "is of use only for azure-openai; say `like: azure-openai`, or `quirks`"
    }


# Quirks and facts


def test_quirks_are_said_over_what_is_known(loads: Loads) -> None:
    text = "providers: {mistral: {quirks: {stream_usage: true, max_stop_sequences: 2}, keys: [{value: k}]}}"
    quirks = loads(text).providers["mistral"].quirks
    assert quirks["max_tokens_field"] == "max_tokens"
    assert (quirks["stream_usage"], quirks["max_stop_sequences"]) == (True, 2)


@pytest.mark.parametrize(
    ("quirks", "place", "says"),
    [
        ("{stream_usge: true}", "stream_usge", "unknown key `stream_usge`; did you mean `stream_usage`?"),
        ("{stream_usage: 1}", "stream_usage", "expected true or false, got a number"),
        ("{max_stop_sequences: many}", "max_stop_sequences", "expected a whole number, got text"),
        (
            "{tool_id_pattern: '['}",
            "tool_id_pattern",
            "is not a regular expression: unterminated character set",
        ),
        ("{path: chat}", "path", "must begin with /"),
        (
            "{tool_id_form: 'call_{name}'}",
            "tool_id_form",
            "must contain {index}, so that no two calls have the same id",
        ),
        ("{path: [a]}", "path", "expected true, false, a whole number or text, got a list"),
    ],
)
def test_a_quirk_that_is_none(complaints: Complaints, quirks: str, place: str, says: str) -> None:
    text = f"providers: {{groq: {{quirks: {quirks}, keys: [{{value: k}}]}}}}"
    assert complaints(text) == {f"providers.groq.quirks.{place}": says}


def test_what_is_known_of_a_model_may_be_said(loads: Loads, complaints: Complaints) -> None:
    text = "providers: {vllm: {model_facts: {my-model: {context_tokens: 8192, efforts: [low, high]}}}}"
    facts = loads(text).providers["vllm"].model_facts["my-model"]
    assert (facts.context_tokens, facts.efforts, facts.images) == (8192, ("low", "high"), None)
    wrong = "providers: {vllm: {model_facts: {my-model: {contxt_tokens: 8192, images: maybe}}}}"
    assert complaints(wrong) == {
        "providers.vllm.model_facts.my-model.contxt_tokens": (
            "unknown key `contxt_tokens`; did you mean `context_tokens`?"
        ),
        "providers.vllm.model_facts.my-model.images": "expected true or false, got text",
    }
