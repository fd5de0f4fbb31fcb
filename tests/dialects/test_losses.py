"""Losses: every dialect says what becomes of every field, and every loss of a request is named once."""

from __future__ import annotations

import re

import pytest

from asbru.dialects import registry
from asbru.dialects.losses import FIELDS, MAX_NAMED, Fidelity, Losses, LossyError, Row, Verdict

TABLES: dict[str, Fidelity] = {name: registry.codec(name).fidelity for name in registry.DIALECTS} | {
    name: registry.envelope(name).fidelity for name in registry.ENVELOPES
}


@pytest.mark.parametrize("dialect", TABLES)
def test_every_field_of_the_hub_has_its_row_and_there_are_no_others(dialect: str) -> None:
    assert set(TABLES[dialect]) == set(FIELDS)


@pytest.mark.parametrize("dialect", TABLES)
def test_every_row_says_how_or_why_not(dialect: str) -> None:
    for field, row in TABLES[dialect].items():
        assert row.note, field
        assert row.note == row.note.strip() and "\n" not in row.note and "|" not in row.note, field
        if row.verdict == "refused" and field != "thread":  # which has words of its own
            # The client reads it behind the field's path.
            assert row.note[0].isupper(), f"{field}: {row.note}"


@pytest.mark.parametrize("name", [*registry.DIALECTS, *registry.ENVELOPES])
def test_a_dialect_is_found_under_its_own_name(name: str) -> None:
    found = registry.codec(name) if name in registry.DIALECTS else registry.envelope(name)
    assert found.dialect == name
    assert isinstance(found.counts, bool)


def test_a_dialect_that_no_one_speaks() -> None:
    with pytest.raises(KeyError):
        registry.codec("anthropic")
    with pytest.raises(KeyError):
        registry.envelope("anthropic")


def test_fields_are_named_by_where_they_are() -> None:
    assert all(re.fullmatch(r"[a-z_0-9]+([.-][a-zA-Z_0-9]+)*", field) for field in FIELDS)
    assert all(meaning and "|" not in meaning for meaning in FIELDS.values())


def losses(**verdicts: Verdict) -> Losses:
    return Losses({field: Row(verdicts.get(field, "exact"), f"about {field}") for field in FIELDS})


def test_what_is_exact_is_no_loss() -> None:
    found = losses()
    assert found.meet("top_k").verdict == "exact"
    assert (found.header(), found.found) == ("none", {})


def test_losses_are_grouped_by_verdict_in_the_order_they_were_met() -> None:
    found = losses(top_k="dropped", speed="approximated", tags="dropped")
    found.meet("top_k")
    found.meet("speed", "a.path")
    found.meet("tags")
    found.note("emulated", "stop_sequences", "a reason")
    assert found.header() == "dropped: top_k, tags; approximated: a.path; emulated: stop_sequences"
    assert found.found["speed"] == ("approximated", "speed", "a.path", "about speed")


def test_a_field_is_named_once_with_its_first_place() -> None:
    found = losses(text="dropped")
    found.meet("text", "messages.0.content.0")
    found.meet("text", "messages.1.content.0")
    found.note("emulated", "text", "too late")
    assert found.header() == "dropped: messages.0.content.0"


def test_a_refused_field_is_an_error_that_names_it() -> None:
    found = losses(container="refused")
    with pytest.raises(LossyError) as caught:
        found.meet("container", "messages.0")
    assert (caught.value.path, caught.value.message) == ("messages.0", "messages.0: about container")
    assert caught.value.details is None
    with pytest.raises(LossyError, match=r"^container: "):
        found.meet("container")


def test_a_field_that_is_in_no_table_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        losses().meet("no_such_field")


def test_no_more_losses_are_named_than_a_header_can_hold() -> None:
    found = Losses({field: Row("dropped", "x") for field in FIELDS})
    for field in FIELDS:
        found.meet(field)
        found.note("dropped", f"{field}!", "x")
    assert len(found.found) == MAX_NAMED < len(FIELDS)
