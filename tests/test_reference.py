"""docs/reference says what the source says: every page is as its generator makes it, and nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asbru import errors, headers
from asbru.server import routes
from tools import gen_reference, reference_texts

ROOT = Path(__file__).resolve().parent.parent
PAGES = gen_reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_new_as_its_source(name: str) -> None:
    written = (gen_reference.REFERENCE / name).read_text("utf-8")
    assert written == PAGES[name], "run .venv/bin/python tools/gen_reference.py"


def test_there_are_no_other_pages() -> None:
    assert {path.name for path in gen_reference.REFERENCE.iterdir()} == set(PAGES)


def test_every_route_has_its_row() -> None:
    described = {found.route.name for _, path, _ in reference_texts.ROUTES if (found := routes.find(path.encode()))}
    known = {each.name for each in vars(routes).values() if isinstance(each, routes.Route)}
    known |= {each.route.name for each in routes._FIXED.values()}
    assert described == known


def test_every_error_kind_has_its_row_and_no_other() -> None:
    assert set(reference_texts.ERRORS) == set(errors.KINDS)


def test_every_header_of_our_own_has_its_row() -> None:
    written: set[str] = set()
    for path in (ROOT / "src" / "asbru").rglob("*.py"):
        written.update(re.findall(r'b"(x-(?:asbru|bf|bifrost)-[a-z-]*[a-z])(?:"|: %)', path.read_text("utf-8")))
    described = reference_texts.REQUEST_HEADERS.keys() | reference_texts.RESPONSE_HEADERS.keys()
    assert {header.decode() for header in headers.CREDENTIALS if header.startswith(b"x-bf")} <= described
    assert written <= described
    ours = {name for name in described if re.match("x-(asbru|bf|bifrost)-", name) and "<" not in name}
    assert ours <= written, "described, but nowhere in the source"
