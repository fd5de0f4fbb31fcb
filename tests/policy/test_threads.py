from __future__ import annotations

import pytest

from asbru.config import Config, Provider, ProviderKey
from asbru.errors import GatewayError, body
from asbru.policy.health import Affinity, Place
from asbru.policy.keys import KEYLESS, OWN_KEY
from asbru.policy.router import Table, Target
from asbru.policy.threads import begin, resume
from asbru.secrets import Secret


def provider(*names: str) -> Provider:
    return Provider(
        keys=tuple(
            ProviderKey(value=Secret("s"), name=name, models=("*",) if name != "haiku" else ("*haiku*",))
            for name in names
        )
    )


TABLE = Table(
    Config(
        providers={
            "one": provider("main"),
            "two": provider("a", "b", "haiku"),
            "free": Provider(),
            "gpt": provider("g"),
        }
    )
)
RELAYING = {"one", "two", "free"}  # all but gpt
ONE, TWO, FREE, GPT = (Target(name, "claude-x") for name in ("one", "two", "free", "gpt"))


def test_a_thread_begins_where_requests_are_relayed_as_they_are() -> None:
    assert begin([ONE, GPT, TWO], RELAYING) == [ONE, TWO]


def test_a_thread_does_not_begin_elsewhere() -> None:
    with pytest.raises(GatewayError) as caught:
        begin([GPT, ONE], RELAYING)
    assert b'"error_code":"thread_unsupported_request"' in body(caught.value, "req_1")
    assert caught.value.row.status == 400


@pytest.mark.parametrize(
    ("targets", "place", "own_key", "expected"),
    [
        # where it began
        ([TWO], Place("two", "claude-x", "b"), False, (TWO, "b")),
        ([ONE, TWO], Place("two", "claude-x", "a"), False, (TWO, "a")),
        ([FREE], Place("free", "claude-x", KEYLESS), False, (FREE, KEYLESS)),
        # with another model, as long as that key may serve it
        ([Target("two", "haiku-5")], Place("two", "claude-x", "haiku"), False, (Target("two", "haiku-5"), "haiku")),
        ([TWO], Place("two", "haiku-5", "haiku"), False, None),
        # gone
        ([ONE], Place("two", "claude-x", "a"), False, None),
        ([TWO], Place("two", "claude-x", "removed"), False, None),
        ([GPT], Place("gpt", "claude-x", "g"), False, None),
        # forgotten: plain with one key, not with several
        ([ONE, TWO], None, False, (ONE, "main")),
        ([FREE], None, False, (FREE, KEYLESS)),
        ([TWO, ONE], None, False, None),
        ([GPT, ONE], None, False, None),
        # the caller's own key
        ([TWO], None, True, (TWO, OWN_KEY)),
        ([TWO], Place("two", "claude-x", OWN_KEY), True, (TWO, OWN_KEY)),
        ([TWO], Place("two", "claude-x", OWN_KEY), False, None),
        ([TWO], Place("two", "claude-x", "a"), True, None),
        ([ONE, TWO], Place("two", "claude-x", OWN_KEY), True, None),
        ([ONE, TWO], Place("two", "claude-x", "a"), True, (TWO, "a")),
    ],
)
def test_a_thread_goes_on_where_it_began_or_is_refused(
    targets: list[Target], place: Place | None, own_key: bool, expected: tuple[Target, str] | None
) -> None:
    if expected is not None:
        assert resume(targets, place, TABLE, RELAYING, own_key=own_key) == expected
        return
    with pytest.raises(GatewayError) as caught:
        resume(targets, place, TABLE, RELAYING, own_key=own_key)
    assert caught.value.details == {"error_code": "thread_unsupported_request"}


def test_what_affinity_remembers_is_where_a_thread_resumes() -> None:
    affinity = Affinity()
    affinity.put("msg_1", "two", "claude-x", "b")
    assert resume([TWO], affinity.get("msg_1"), TABLE, RELAYING, own_key=False) == (TWO, "b")
    with pytest.raises(GatewayError):
        resume([TWO], affinity.get("msg_2"), TABLE, RELAYING, own_key=False)
