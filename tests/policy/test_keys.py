"""Key pools: which key may serve what, and which one does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.config import Config, Provider, ProviderKey
from asbru.errors import GatewayError
from asbru.policy.auth import ANONYMOUS
from asbru.policy.health import Cooldowns
from asbru.policy.keys import KEYLESS, OWN_KEY
from asbru.policy.router import Table, Target
from asbru.secrets import Secret

NOW = 1000.0
NONE = Cooldowns()


def pool(*keys: ProviderKey) -> Table:
    return Table(
        Config(providers={"p": Provider(keys=keys), "q": Provider(keys=(stored("other"),)), "free": Provider()})
    )


def stored(
    name: str | None = None,
    weight: float = 1.0,
    models: Collection[str] = ("*",),
    exclude: Collection[str] = (),
    aliases: dict[str, str] | None = None,
) -> ProviderKey:
    return ProviderKey(
        value=Secret(f"secret-of-{name}"),
        name=name,
        weight=weight,
        models=tuple(models),
        exclude=tuple(exclude),
        aliases=aliases or {},
    )


def chosen(
    table: Table,
    model: str = "m",
    *,
    rand: float = 0.0,
    tried: Collection[str] = (),
    cooling: Cooldowns = NONE,
    pin: str | None = None,
    session: str | None = None,
    even_cooling: bool = False,
) -> str | None:
    key = table.choose_key(
        "p",
        model,
        now=NOW,
        rand=rand,
        tried=tried,
        cooling=cooling,
        pin=pin,
        session=session,
        even_cooling=even_cooling,
    )
    return None if key is None else key.name


def cooled(*names: str) -> Cooldowns:
    cooldowns = Cooldowns()
    for name in names:
        cooldowns.cool("p", name, "", NOW - 1, 10)
    return cooldowns


# Which key may serve a model


@pytest.mark.parametrize(
    ("key", "model", "serves", "sent"),
    [
        (stored(), "m", True, "m"),
        (stored(models=["claude-*"]), "claude-x", True, "claude-x"),
        (stored(models=["claude-*"]), "gpt", False, "gpt"),
        (stored(models=[]), "m", False, "m"),
        (stored(exclude=["claude-2*"]), "claude-2.1", False, "claude-2.1"),
        (stored(models=["claude-2.1"], exclude=["claude-2*"]), "claude-2.1", False, "claude-2.1"),
        (stored(aliases={"latest": "claude-x"}), "latest", True, "claude-x"),
        (stored(models=["claude-*"], aliases={"latest": "claude-x"}), "latest", True, "claude-x"),
        (stored(models=["latest"], aliases={"latest": "claude-x"}), "latest", True, "claude-x"),
        (stored(models=["gpt"], aliases={"latest": "claude-x"}), "latest", False, "claude-x"),
        (stored(exclude=["claude-x"], aliases={"latest": "claude-x"}), "latest", False, "claude-x"),
        (stored(exclude=["latest"], aliases={"latest": "claude-x"}), "latest", False, "claude-x"),
        (stored(models=["claude-*"]), "", True, ""),
    ],
)
def test_a_key_s_lists_and_aliases(key: ProviderKey, model: str, serves: bool, sent: str) -> None:
    (compiled,) = pool(key).keys("p")
    assert compiled.may_serve(model) is serves
    assert compiled.upstream_model(model) == sent
    assert chosen(pool(key), model) == ("key-1" if serves else None)


def test_names_ids_and_secrets() -> None:
    first, second, named = pool(stored(), stored(), stored("main")).keys("p")
    assert [first.name, second.name, named.name] == ["key-1", "key-2", "main"]
    assert len({first.id, second.id, named.id, pool(stored("main")).keys("q")[0].id}) == 4
    assert named.id == pool(stored("main", weight=5)).keys("p")[0].id
    assert named.secret is not None
    assert named.secret.reveal() == "secret-of-main"
    assert "secret-of" not in repr(named)


def test_an_id_tells_nothing_of_the_secret() -> None:
    keys = [ProviderKey(value=Secret(value), name="main") for value in ("one", "two")]
    assert pool(keys[0]).keys("p")[0].id == pool(keys[1]).keys("p")[0].id


def test_a_provider_without_keys_needs_none() -> None:
    table = pool(stored())
    assert table.providers["free"].keyless
    assert not table.providers["p"].keyless
    checks_none = Table(Config(providers={"p": Provider(keys=(stored(),)), "q": Provider(keys=(stored(),))}), {"p"})
    assert [policy.keyless for policy in checks_none.providers.values()] == [True, False]
    key = table.choose_key("free", "any", now=NOW, rand=0.5, tried=(), cooling=NONE)
    assert key is not None
    assert key.secret is None
    assert key.name == KEYLESS
    assert table.choose_key("free", "any", now=NOW, rand=0.5, tried={KEYLESS}, cooling=NONE) is None


@pytest.mark.parametrize("name", [KEYLESS, OWN_KEY])
def test_no_configured_key_has_the_name_of_one_that_is_none(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="name"):
        msgspec.convert({"value": Secret("s"), "name": name}, ProviderKey)
    assert msgspec.convert({"value": Secret("s"), "name": "main"}, ProviderKey).name == "main"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([stored("main"), stored("main")], r"providers.p.keys\[1\]: there are two keys named 'main'"),
        ([stored("key-2"), stored()], r"keys\[1\].*'key-2'"),
        ([stored(weight=float("inf"))], r"keys\[0\].weight"),
        ([ProviderKey(value=Secret("sk-line\n"))], r"keys\[0\].value"),
        ([ProviderKey(value=Secret("sk-a b"))], r"keys\[0\].value"),
        ([ProviderKey(value=Secret("sk-ü"))], r"keys\[0\].value"),
    ],
)
def test_what_cannot_work_is_said_at_start(keys: list[ProviderKey], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        pool(*keys)
    assert "sk-" not in str(caught.value)


# Which one does


THREE = pool(stored("a", 1), stored("b", 2), stored("c", 1, models=["claude-*"]), stored("off", 0))


@pytest.mark.parametrize(
    ("model", "tried", "cooling", "expected"),
    [
        ("claude-x", [], [], {"a": 25, "b": 50, "c": 25}),
        ("gpt", [], [], {"a": 33, "b": 67}),
        ("claude-x", ["b"], [], {"a": 50, "c": 50}),
        ("claude-x", [], ["b"], {"a": 50, "c": 50}),
        ("claude-x", ["a"], ["b"], {"c": 100}),
        ("gpt", ["a"], ["b"], {None: 100}),
        ("claude-x", ["a", "b", "c"], [], {None: 100}),
        ("claude-x", [], ["a", "b", "c"], {None: 100}),
    ],
)
def test_the_choice_is_weighted_among_the_keys_that_may_serve(
    model: str, tried: list[str], cooling: list[str], expected: dict[str | None, int]
) -> None:
    rests = cooled(*cooling)
    hits = Counter(chosen(THREE, model, rand=step / 100, tried=tried, cooling=rests) for step in range(100))
    assert hits.keys() == expected.keys()
    assert all(abs(hits[name] - share) <= 1 for name, share in expected.items())


def test_keys_without_weight_serve_a_model_that_no_key_with_weight_may_serve() -> None:
    table = pool(stored("main", models=["claude-*"]), stored("x", 0, models=["gpt-*"]), stored("y", 0))
    hits = Counter(chosen(table, "gpt-1", rand=step / 100) for step in range(100))
    assert hits == {"x": 50, "y": 50}
    assert chosen(table, "gpt-1", cooling=cooled("x")) == "y"
    assert {chosen(table, "gpt-1", session=f"s{number}") for number in range(20)} == {"x", "y"}
    assert {chosen(table, "claude-1", rand=step / 10) for step in range(10)} == {"main"}
    assert chosen(table, "claude-1", tried=["main"]) is None
    assert chosen(table, "claude-1", cooling=cooled("main")) is None
    assert chosen(pool(stored("only", 0))) == "only"


def test_a_conversation_stays_on_its_key_and_comes_back_to_it() -> None:
    homes = {}
    for number in range(30):
        session = f"session-{number}"
        found = {chosen(THREE, "claude-x", rand=step / 7, session=session) for step in range(7)}
        assert len(found) == 1
        home = homes[session] = found.pop()
        assert home is not None
        away = chosen(THREE, "claude-x", session=session, cooling=cooled(home))
        assert away not in (home, None)
        assert chosen(THREE, "claude-x", session=session, cooling=cooled(*{"a", "b", "c"} - {home, away})) == home
    assert set(homes.values()) == {"a", "b", "c"}


def test_a_rest_ends_with_time() -> None:
    one = pool(stored("a"))
    rests = cooled("a")
    assert chosen(one, cooling=rests) is None
    later = one.choose_key("p", "m", now=NOW + 9, rand=0.0, tried=(), cooling=rests)
    assert later is not None


def test_rather_a_key_at_rest_than_none_when_so_asked() -> None:
    one = pool(stored("a"))
    assert chosen(one, cooling=cooled("a"), even_cooling=True) == "a"
    assert chosen(one, cooling=cooled("a"), even_cooling=True, tried=["a"]) is None


def test_a_pool_without_weight_serves_all_the_same() -> None:
    off = pool(stored("off", 0))
    assert chosen(off) == "off"
    assert chosen(off, pin="off") == "off"
    targets = off.targets("p/m", (), ANONYMOUS, {}, rand=0.0)
    assert off.pinned(targets, "off") == targets


# Pins


def test_a_pin_is_a_name_or_an_id() -> None:
    key = THREE.keys("p")[1]
    assert chosen(THREE, rand=0.0, pin="b") == "b"
    assert chosen(THREE, rand=0.0, pin=key.id) == "b"
    assert chosen(THREE, rand=0.0, pin="b", session="s", cooling=cooled("b")) == "b"
    assert chosen(THREE, rand=0.0, pin="b", tried=["b"]) is None
    assert chosen(THREE, "gpt", pin="c") is None


@pytest.mark.parametrize("pin", ["gone", "other", "secret-of-a", "\n" * 2000])
def test_a_pin_that_is_no_key_of_the_provider(pin: str) -> None:
    with pytest.raises(GatewayError) as caught:
        chosen(THREE, pin=pin)
    assert caught.value.kind == "invalid_request"
    assert repr(pin[:10])[1:-1] in caught.value.message
    assert len(caught.value.message) < 300


def test_a_pin_keeps_the_targets_that_its_key_can_serve() -> None:
    targets = [Target("p", "claude-x"), Target("q", "m"), Target("p", "gpt"), Target("free", "m")]
    assert THREE.pinned(targets, "c") == [Target("p", "claude-x")]
    assert THREE.pinned(targets, "a") == [Target("p", "claude-x"), Target("p", "gpt")]
    assert THREE.pinned(targets, "other") == [Target("q", "m")]
    for wanted, pin, kind in [(targets, "gone", "invalid_request"), ([Target("p", "gpt")], "c", "model_blocked")]:
        with pytest.raises(GatewayError) as caught:
            THREE.pinned(wanted, pin)
        assert caught.value.kind == kind
        assert repr(pin) in caught.value.message


# The fast path equals the general case

_keys = st.lists(
    st.builds(
        stored,
        weight=st.sampled_from([0.0, 1.0, 3.0]),
        models=st.sampled_from([["*"], ["claude-*"], []]),
        exclude=st.sampled_from([[], ["claude-x"]]),
    ),
    max_size=3,
)


@given(
    _keys,
    st.sampled_from(["claude-x", "claude-y", "gpt"]),
    st.floats(0, 1, exclude_max=True),
    st.sets(st.sampled_from(["key-1", "key-2"])),
    st.sets(st.sampled_from(["key-1", "key-3"])),
)
def test_the_chosen_key_may_serve_and_none_means_that_none_may(
    keys: list[ProviderKey], model: str, rand: float, tried: set[str], resting: set[str]
) -> None:
    table = pool(*keys)
    able = [key for key in table.keys("p") if key.may_serve(model)]
    pool_of = [key for key in able if key.weight] or able
    usable = {key.name for key in pool_of if key.name not in tried and key.name not in resting}
    name = chosen(table, model, rand=rand, tried=tried, cooling=cooled(*resting))
    assert name in usable if usable else name is None
    elsewhere = Cooldowns()
    elsewhere.cool("q", "key-1", "", NOW, 10)  # takes the general case, and means nothing to this provider
    assert chosen(table, model, rand=rand, tried=tried, cooling=elsewhere) == chosen(
        table, model, rand=rand, tried=tried
    )
