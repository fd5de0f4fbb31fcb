"""Keys of more than one kind: what is missing, what contradicts, what is not installed, and that nothing shows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asbru.config import Config
from asbru.load import describe, redacted

Loads = Callable[..., Config]
Complaints = Callable[..., dict[str, str]]

BEDROCK = "providers: {bedrock: {region: us-east-1, keys: [%s]}}"
AZURE = "providers: {azure-openai: {resource: r, keys: [%s]}}"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("{}", {"": "needs a `value`, `aws`, `google` or `entra`"}),
        ("{name: x}", {"": "needs a `value`, `aws`, `google` or `entra`"}),
        ("{value: k, aws: {}}", {"": "has both `value` and `aws`; give one of them"}),
        ("{aws: {access_key_id: AKIA}}", {".aws": "`access_key_id` and `secret_access_key` go together"}),
        ("{aws: {secret_access_key: s}}", {".aws": "`access_key_id` and `secret_access_key` go together"}),
        ("{aws: {session_token: t}}", {".aws.session_token": "is of no use without `access_key_id`"}),
        (
            "{aws: {access_key_id: A, secret_access_key: s, profile: p}}",
            {".aws.profile": "is of no use beside `access_key_id`"},
        ),
        ("{aws: {external_id: e}}", {".aws.external_id": "is of no use without `role_arn`"}),
        ("{aws: {profil: p}}", {".aws.profil": "unknown key `profil`; did you mean `profile`?"}),
        (
            "{google: {service_account_file: /no/such}}",
            {".google.service_account_file": "there is no file `/no/such`"},
        ),
        ("{entra: {}}", {".entra": "needs `scope`, such as https://cognitiveservices.azure.com/.default"}),
    ],
)
def test_a_key_that_cannot_be_used(complaints: Complaints, key: str, says: dict[str, str]) -> None:
    expected = {f"providers.bedrock.keys[0]{place}": text for place, text in says.items()}
    assert complaints(BEDROCK % key) == expected


@pytest.mark.parametrize(
    ("entra", "says"),
    [
        ("client_secret: s, client_id: c", {"": "needs `tenant_id`, or set AZURE_TENANT_ID"}),
        ("client_secret: s, tenant_id: t", {"": "needs `client_id`, or set AZURE_CLIENT_ID"}),
        (
            "federated_token_file: /no/such, tenant_id: t, client_id: c",
            {".federated_token_file": "there is no file `/no/such`"},
        ),
    ],
)
def test_an_application_that_cannot_prove_itself(complaints: Complaints, entra: str, says: dict[str, str]) -> None:
    expected = {f"providers.azure-openai.keys[0].entra{place}": text for place, text in says.items()}
    assert complaints(AZURE % f"{{entra: {{{entra}}}}}") == expected


def test_a_managed_identity_needs_nothing(loads: Loads) -> None:
    (key,) = loads(AZURE % "{entra: {}}").providers["azure-openai"].keys
    assert key.entra is not None


def test_signatures_name_a_region(complaints: Complaints) -> None:
    text = "providers: {x: {dialect: anthropic, base_url: 'https://x.example', keys: [{aws: {}}]}}"
    assert complaints(text) == {"providers.x": "needs `region`: signatures name it"}


@pytest.mark.parametrize(
    ("key", "package", "extra", "place"),
    [("{aws: {profile: p}}", "botocore", "aws", "aws"), ("{google: {}}", "google", "google", "google")],
)
def test_a_package_that_is_not_installed(
    complaints: Complaints, monkeypatch: pytest.MonkeyPatch, key: str, package: str, extra: str, place: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself takes for not importable
    says = f"needs a package that is not installed: pip install 'asbru[{extra}]', or make run EXTRAS={extra} in a clone"
    assert complaints(BEDROCK % key) == {f"providers.bedrock.keys[0].{place}": says}


def test_keys_that_are_at_hand_need_no_package(loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    loads(BEDROCK % "{aws: {access_key_id: A, secret_access_key: s}}")


def test_checking_imports_none_of_them(loads: Loads) -> None:
    for name in ("botocore", "google.auth"):
        for module in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
            del sys.modules[module]
    loads(BEDROCK % "{aws: {}}, {google: {}}, {entra: {scope: s}}")
    assert not {"botocore", "google.auth"} & sys.modules.keys()


def test_credentials_do_not_show(loads: Loads, tmp_path: Path) -> None:
    config = loads(
        "providers:\n"
        "  bedrock:\n"
        "    region: us-east-1\n"
        "    keys:\n"
        "      - aws: {access_key_id: hunter2a, secret_access_key: hunter2b, session_token: hunter2c}\n"
        "      - aws: {profile: prod}\n"
        "      - aws: {}\n"
        "      - google: {}\n"
        "      - entra: {scope: s, tenant_id: t, client_id: c, client_secret: hunter2d}\n"
    )
    shown = json.dumps(redacted(config)) + repr(config) + "\n".join(describe(config))
    assert "hunter2" not in shown
    assert describe(config)[1].endswith(
        "keys: key-1 (AWS, ***), key-2 (AWS, profile prod), key-3 (AWS, found at the start), key-4 (Google Cloud), "
        "key-5 (Microsoft Entra)"
    )
