"""Whether a configuration file lets others read the secrets that it holds itself."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from asbru.config import Config
from asbru.load.problems import quoted
from asbru.secrets import HIDDEN, Secret

_OTHERS = stat.S_IRGRP | stat.S_IROTH


def exposed_secrets(config: Config, file: Path | None) -> str | None:
    """A warning when a configuration file holds secrets themselves and others than its owner may read it."""
    if file is None:
        return None
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return None
    if not mode & _OTHERS or not any(_is_literal(secret) for secret in _secrets(config)):
        return None
    return (
        f"{quoted(str(file))} holds secrets, and its mode {mode:04o} lets group or others read them: "
        "run chmod 600 on it, or give the secrets as env.NAME"
    )


def _is_literal(secret: Secret) -> bool:
    """Whether the text of a secret is in the file; a proxy's URL without a password is no secret."""
    text = secret.reveal()
    return secret.origin == HIDDEN and bool(text) and not ("://" in text and "@" not in text)


def _secrets(value: object) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from _secrets(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _secrets(each)
