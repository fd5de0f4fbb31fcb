"""The pytest plugin: the fixture `asbru_sandbox`. pytest loads it by itself wherever asbru is installed.

Only a test that asks for the fixture pays for importing the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from asbru.sandbox import RunningSandbox


@pytest.fixture
def asbru_sandbox() -> Iterator[RunningSandbox]:
    """A sandbox of this test's own, as `asbru.sandbox.running` gives it."""
    from asbru.sandbox import running

    with running() as sandbox:
        yield sandbox
