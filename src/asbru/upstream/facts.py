"""What is known of models: limits and abilities, from ``data/models.json`` (made by ``tools/gen_models.py``).

A name is looked up in the tables of the provider that is asked, whole and then without region, date and variant. What
no table of its provider has is taken to be able to do what the model of that name can do elsewhere; its limits are not
taken over, since they are the host's. The file is read when the first question is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec
from msgspec.structs import replace

from asbru.dialects.codec import Model

_FILE = Path(__file__).resolve().parent.parent / "data" / "models.json"

_REGION = re.compile(r"^(?:us-gov|us|eu|apac|global|au|jp|ca|sa|me|af|uk|in|kr|mx)\.(?=[a-z0-9-]+\.)")
_VENDOR = re.compile(
    r"^(?:anthropic|amazon|meta|mistral|cohere|deepseek|openai|qwen|google|minimax|moonshotai|moonshot|ai21|writer|zai"
    r"|nvidia)\.(?=[a-z])"
)
_VARIANT = re.compile(
    r"(?::[a-z0-9.-]*|@(?:\d{8}|default|latest)|-v\d+(?::\d+)?(?::\d+k)?|-latest|-20\d{6}|-20\d\d-\d\d-\d\d)$"
)

_SIZE_TAG = re.compile(r":(\d+(?:\.\d+)?[bm])\b")
"""Ollama's tags: ``gpt-oss:20b`` is ``gpt-oss-20b``."""

Value = bool | int | tuple[str, ...] | None
Entry = tuple[Value, ...]
"""The values of a `Model` in the order of `Table.fields`; what is not known at the end is left out."""


class Table(msgspec.Struct, frozen=True):
    """All that is known, and since when. Names are lower case; the numbers are positions in ``entries``."""

    source: str
    date: str
    fields: tuple[str, ...]
    """The fields of `Model` that the entries hold."""
    entries: tuple[Entry, ...]
    models: dict[str, dict[str, int]]
    """Table -> model -> entry."""
    names: dict[str, int]
    """`canonical` name -> entry, whoever hosts it."""

    def find(self, tables: Sequence[str], name: str) -> Model:
        """What is known of a model by its name at a provider with these tables."""
        for simpler in simplified(name.lower()):
            for table in tables:
                found = self.models.get(table, {}).get(simpler)
                if found is not None:
                    return self._model(found)
        found = self.names.get(canonical(name))
        if found is None:
            return Model()
        return replace(self._model(found), context_tokens=None, max_output_tokens=None)

    def _model(self, position: int) -> Model:
        return msgspec.convert(dict(zip(self.fields, self.entries[position], strict=False)), Model)


@cache
def table() -> Table:
    """The table; takes some milliseconds once."""
    return msgspec.json.decode(_FILE.read_bytes(), type=Table)


def simplified(name: str) -> Iterator[str]:
    """The name and plainer forms of it: without what an ARN puts before it, region, variant, date."""
    if name.startswith("arn:"):
        name = name.rpartition("/")[2]
    yield name
    plain = _REGION.sub("", name)
    if plain != name:
        yield plain
    while (shorter := _VARIANT.sub("", plain)) != plain:
        plain = shorter
        yield plain


def canonical(name: str) -> str:
    """A name without host, maker, region, variant and date, so that it is the same at every host."""
    *_, plain = simplified(_SIZE_TAG.sub(r"-\1", name.lower().rpartition("/")[2]))
    return _VENDOR.sub("", plain).replace(".", "-").replace("_", "-")
