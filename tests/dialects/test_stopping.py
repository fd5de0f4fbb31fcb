"""Stop sequences that the gateway watches for: cut at the right place, wherever the text was cut before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.dialects.losses import FIELDS, Losses, LossyError, Row
from asbru.dialects.stopping import MAX_CHARS, Watch, divide

SEQUENCES = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4)


def cut(text: str, sequences: list[str]) -> tuple[str, str | None]:
    """What is let through in all, and what matched: the plain way, character by character."""
    for end in range(1, len(text) + 1):
        matched = [each for each in sequences if text[:end].endswith(each)]
        if matched:
            longest = max(matched, key=len)
            return text[: end - len(longest)], longest
    return text, None


def watched(pieces: list[str], sequences: list[str]) -> tuple[str, str | None]:
    watch = Watch(sequences)
    through = "".join(watch.feed(piece) for piece in pieces)
    return through + watch.end(), watch.matched


@given(st.text("abc", max_size=20), SEQUENCES)
def test_the_sequence_that_is_complete_first_cuts(text: str, sequences: list[str]) -> None:
    assert watched([text], sequences) == cut(text, sequences)


@given(st.lists(st.text("abc", max_size=5), max_size=6), SEQUENCES)
def test_pieces_make_no_difference(pieces: list[str], sequences: list[str]) -> None:
    assert watched(pieces, sequences) == cut("".join(pieces), sequences)


@given(st.text("abc", max_size=12), SEQUENCES)
def test_no_more_is_held_back_than_may_begin_a_sequence(text: str, sequences: list[str]) -> None:
    watch = Watch(sequences)
    through = watch.feed(text)
    held = watch.end()
    assert watch.matched is not None or through + held == text
    assert not held or any(sequence.startswith(held) and sequence != held for sequence in sequences)


def test_text_goes_on_as_it_comes() -> None:
    watch = Watch(["STOP"])
    assert [watch.feed(piece) for piece in ("a", "bS", "x", "ST", "O", "!")] == ["a", "b", "Sx", "", "", "STO!"]


def test_after_a_match_nothing_comes() -> None:
    watch = Watch(["x"])
    assert (watch.feed("axb"), watch.feed("c"), watch.end(), watch.matched) == ("a", "", "", "x")


def test_a_watch_serves_one_block_after_another() -> None:
    watch = Watch(["END"])
    assert (watch.feed("aE"), watch.end()) == ("a", "E")
    assert (watch.feed("ND"), watch.end(), watch.matched) == ("ND", "", None)


def losses() -> Losses:
    return Losses({field: Row("exact", "x") for field in FIELDS})


@pytest.mark.parametrize(
    ("sequences", "most", "native", "left", "header"),
    [
        (["a", "b"], 4, ["a", "b"], [], "none"),
        (["a", "b", "c"], 2, ["a", "b"], ["c"], "emulated: stop_sequences"),
        (["a"], 0, [], ["a"], "emulated: stop_sequences"),
        (["", "a", ""], 1, ["a"], [], "none"),
        ([], 0, [], [], "none"),
    ],
)
def test_what_the_provider_takes_goes_there_and_the_rest_stays(
    sequences: list[str], most: int, native: list[str], left: list[str], header: str
) -> None:
    found = losses()
    assert divide(sequences, most, found) == (native, left)
    assert found.header() == header


def test_a_sequence_too_long_to_watch_for_is_refused() -> None:
    assert divide(["x" * MAX_CHARS], 0, losses())[1]
    assert divide(["x" * (MAX_CHARS + 1)], 1, losses())[0]
    with pytest.raises(LossyError, match=r"^stop_sequences: "):
        divide(["x" * (MAX_CHARS + 1)], 0, losses())
