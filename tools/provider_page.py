"""docs/reference/providers.md: every known provider, every quirk, from data/providers.toml and dialects/codec.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import asdict

from asbru.dialects import codec
from asbru.load.schema import docs_of_module, field_docs
from asbru.upstream.catalog import Family, KnownProvider, families, known_providers
from asbru.upstream.facts import table as models

Table = Callable[[list[str], list[list[str]]], str]

INTRODUCTION: Final = """
What Asbru knows of providers, so that a configuration need not say it: [how to use them](../how-to/providers.md). A
provider whose variable is marked ● is there as soon as that variable is set; every other one must be named in the
configuration (`groq: {}` is enough where its variable is set). Anything said there goes before what stands here, and
`like: groq` makes another provider of the same kind.
"""
KEYS: Final = """
**Without a key.** *AWS*: requests are signed (SigV4) with the credentials that AWS SDKs would find, or those under
`aws`. *Google*: access tokens of Application Default Credentials, or of `google.service_account_file`. *Entra*: access
tokens for an application or a managed identity, under `entra` or from `AZURE_CLIENT_ID` and its companions. The first
two need an extra: `pip install 'asbru[aws]'` (not for an access key that is given or stands in the environment),
`pip install 'asbru[google]'`.
"""
LISTS: Final = """
**Models.** *asked*: its own list, every hour. *known*: those in Asbru's table of models. *none*: only those that
`models` names; others are found by `provider/model` all the same.
"""
QUIRKS: Final = """
Where a provider differs from the reference of its dialect. `quirks` under a provider sets them, over what is known of
it. The last column names the known providers that differ, with their value where it is not simply the opposite.
"""
FACTS: Final = """
Limits and abilities of {count} models are known: {source}, as of {date}. They cut `max_tokens` to what a model gives,
choose between ways to say the same, fill `/v1/models`, and refuse what cannot work: tools for a model that is known to
call none, an image for one that is known to take none. A model is found by its name at its provider; by its name alone
only its abilities are taken over, since limits are the host's. `model_facts` under a provider says more, or otherwise.
"""

FAMILIES: Final = """
What holds for a family of models, at every provider or at those named. A later row goes before an earlier one, and the
configuration before all of them. What is in no table is not known, and then an effort, reasoning or `strict` is not
sent, but named in `x-asbru-loss`.
"""


def blocks(table: Table) -> list[str]:
    """The page's parts after its title."""
    known = models()
    count = sum(map(len, known.models.values()))
    return [
        INTRODUCTION,
        table(["provider", "", "speaks", "base URL", "key", "without a key", "models"], [row(p) for p in every()]),
        KEYS,
        LISTS,
        "## Where these facts are from",
        table(["provider", "looked up", "source", "uncertain"], [source(each) for each in every()]),
        "## Quirks",
        QUIRKS,
        table(["quirk", "by default", "meaning", "differs at"], quirks()),
        "## Models",
        FACTS.format(count=count, source=known.source.split(":")[0], date=known.date),
        table(["fact", "meaning"], facts()),
        "## Families of models",
        FAMILIES,
        table(["models", "at", "what holds", "looked up", "source"], [family(each) for each in families()]),
    ]


def every() -> list[KnownProvider]:
    return list(known_providers().values())


def code(text: object) -> str:
    return f"`{text}`"


def row(known: KnownProvider) -> list[str]:
    spoken = [code(known.dialect) + (f" in {known.envelope.title()}'s envelope" if known.envelope else "")]
    spoken += [f"or {code(dialect)}" for dialect in known.dialects]
    mark = " ●" if known.implicit and known.env else ""
    keys = " or ".join(map(code, known.env)) + mark
    signing = {"aws": "AWS", "google": "Google", "entra": "Entra", None: "not needed" if known.keyless else ""}
    return [
        code(known.name),
        known.title,
        ", ".join(spoken),
        code(known.base_url) + variables(known) if known.base_url else "started by Asbru",
        keys or ("built in" if known.key else ""),
        signing[known.signing],
        known.list_models,
    ]


def variables(known: KnownProvider) -> str:
    told = [
        f"{code(field)}: {' or '.join(map(code, names))}"
        + (f", otherwise {code(known.defaults[field])}" if field in known.defaults else "")
        for field, names in known.variables.items()
    ]
    if known.url_env:
        told.append(f"or all of it in {' or '.join(map(code, known.url_env))}")
    return f" ({'; '.join(told)})" if told else ""


def source(known: KnownProvider) -> list[str]:
    return [code(known.name), known.date, known.source, known.note or ""]


def family(row: Family) -> list[str]:
    told = {**row.quirks, **{name: value for name, value in asdict(row.facts).items() if value is not None}}
    holds = [f"{code(name)} {shown(value) or 'unset'}" for name, value in told.items()]
    cited = f"{row.source}. {row.note}" if row.note else row.source
    return [", ".join(map(code, row.models)), ", ".join(row.hosts) or "any", ", ".join(holds), row.date, cited]


def quirks() -> list[list[str]]:
    docs = docs_of_module(codec)["Quirks"]
    rows = []
    for field in msgspec.structs.fields(codec.Quirks):
        plain = isinstance(field.default, bool)
        differing = [
            code(known.name) + ("" if plain else f" {shown(known.quirks[field.name])}")
            for known in every()
            if field.name in known.quirks
        ]
        meaning = " ".join(docs[field.name].replace("``", "`").split())
        rows.append([code(field.name), shown(field.default), meaning, ", ".join(differing)])
    return rows


def facts() -> list[list[str]]:
    docs = field_docs()["ModelFacts"]
    return [[code(name), text.replace("``", "`")] for name, text in docs.items()]


def shown(value: object) -> str:
    return "" if value in (None, "") else code(msgspec.json.encode(value).decode().strip('"').replace("\\\\", "\\"))
