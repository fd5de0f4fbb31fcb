"""Quirks as a configuration gives them, held against those that codecs know."""

from __future__ import annotations

import re

from asbru.config import Provider
from asbru.dialects.codec import Quirks
from asbru.load.decode import Decoder
from asbru.load.problems import Path, Value


def check_quirks(provider: Provider, path: Path, decoder: Decoder) -> None:
    """Note every quirk that is not one, or has a value that it cannot have."""
    said: dict[str, Value] = dict(provider.quirks)
    quirks = decoder.section(Quirks, said, (*path, "quirks"))
    if quirks is None:
        return
    try:
        re.compile(quirks.tool_id_pattern)
    except re.error as error:
        decoder.note((*path, "quirks", "tool_id_pattern"), f"is not a regular expression: {error.msg}")
    form = quirks.tool_id_form
    if form is not None and "{index}" not in form:
        decoder.note((*path, "quirks", "tool_id_form"), "must contain {index}, so that no two calls have the same id")
    if quirks.path is not None and not quirks.path.startswith("/"):
        decoder.note((*path, "quirks", "path"), "must begin with /")
