"""Configuration files for the tests of `asbru.load`: written, loaded, and the complaints by place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from asbru.config import Config
from asbru.load import ConfigError, load
from asbru.load.problems import dotted

Loads = Callable[..., Config]
Complaints = Callable[..., dict[str, str]]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """Load a text as a configuration file."""

    def load_text(text: str, environ: Mapping[str, str] | None = None, name: str = "asbru.yaml") -> Config:
        file = tmp_path / name
        file.write_text(text)
        return load(file, environ or {})

    return load_text


@pytest.fixture
def complaints(loads: Loads) -> Complaints:
    """What is said about a wrong configuration: dotted path -> message."""

    def of(text: str, environ: Mapping[str, str] | None = None, name: str = "asbru.yaml") -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            loads(text, environ, name)
        return {dotted(problem.path): problem.message for problem in caught.value.problems}

    return of
