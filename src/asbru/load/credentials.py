"""Whether a provider's keys can ever be used: one kind each, complete, and with the packages that they need at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath

from asbru.config import Aws, Entra, Google, Provider, ProviderKey
from asbru.load.problems import Path, quoted

Note = Callable[[Path, str], object]

_KINDS = ("value", "aws", "google", "entra")
_EXTRAS = {"aws": "botocore", "google": "google.auth"}


def check_credentials(provider: Provider, path: Path, note: Note) -> None:
    """Note every key that cannot be used."""
    for index, key in enumerate(provider.keys):
        here = (*path, "keys", index)
        given = [kind for kind in _KINDS if getattr(key, kind) is not None]
        if len(given) != 1:
            which = " and ".join(quoted(kind) for kind in given)
            one = "`value`, `aws`, `google` or `entra`"
            note(here, f"has both {which}; give one of them" if given else f"needs a {one}")
            continue
        _check_kind(provider, key, here, note)


def _check_kind(provider: Provider, key: ProviderKey, path: Path, note: Note) -> None:
    if key.aws is not None:
        if provider.region is None:
            note(path[:2], "needs `region`: signatures name it")
        _check_aws(key.aws, (*path, "aws"), note)
    if key.google is not None:
        _check_google(key.google, (*path, "google"), note)
    if key.entra is not None:
        _check_entra(key.entra, (*path, "entra"), note)


def _check_aws(aws: Aws, path: Path, note: Note) -> None:
    if (aws.access_key_id is None) != (aws.secret_access_key is None):
        note(path, "`access_key_id` and `secret_access_key` go together")
    elif aws.session_token is not None and aws.access_key_id is None:
        note((*path, "session_token"), "is of no use without `access_key_id`")
    elif aws.access_key_id is not None and aws.profile is not None:
        note((*path, "profile"), "is of no use beside `access_key_id`")
    if aws.external_id is not None and aws.role_arn is None:
        note((*path, "external_id"), "is of no use without `role_arn`")
    from asbru.upstream.aws import needs_botocore  # only a provider that signs pays for it

    if needs_botocore(aws):
        _check_extra("aws", path, note)


def _check_google(google: Google, path: Path, note: Note) -> None:
    file = google.service_account_file
    if file is not None and not FilePath(file).is_file():
        note((*path, "service_account_file"), f"there is no file {quoted(file)}")
    _check_extra("google", path, note)


def _check_entra(entra: Entra, path: Path, note: Note) -> None:
    if entra.scope is None:
        note(path, "needs `scope`, such as https://cognitiveservices.azure.com/.default")
    file = entra.federated_token_file
    if entra.client_secret is not None or file is not None:
        for field in ("tenant_id", "client_id"):
            if getattr(entra, field) is None:
                note(path, f"needs `{field}`, or set AZURE_{field.upper()}")
    if file is not None and entra.client_secret is None and not FilePath(file).is_file():
        note((*path, "federated_token_file"), f"there is no file {quoted(file)}")


def _check_extra(extra: str, path: Path, note: Note) -> None:
    """Looked for, not imported: that costs a start too much."""
    from importlib.util import find_spec

    package = _EXTRAS[extra]
    top = package.partition(".")[0]
    if find_spec(top) is None or find_spec(package) is None:
        remedy = f"pip install 'asbru[{extra}]', or make run EXTRAS={extra} in a clone"
        note(path, f"needs a package that is not installed: {remedy}")
