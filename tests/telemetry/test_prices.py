"""Prices: the same sums as genai-prices makes, from rates that are resolved once; the configuration's win."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider
from hypothesis import given
from hypothesis import strategies as st

from asbru.config import Price
from asbru.record import Usage
from asbru.telemetry import price_table
from asbru.telemetry.price_table import Clause, Level, Period
from asbru.telemetry.prices import Prices, cost_usd, is_same_model

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TOKEN_PRICES = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"}
BY_SIZE_OF_PROMPT = ("claude-sonnet-4-5", "claude-haiku-5-5")


def at(moment: datetime) -> Prices:
    prices = Prices({}, clock=moment.timestamp)
    prices.load()
    return prices


def theirs(usage: Usage, model: str, provider: str, moment: datetime) -> Decimal:
    """The oracle: what genai-prices says, given the counts in its own terms."""
    counts = genai_prices.Usage(
        input_tokens=usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens,
        cache_read_tokens=usage.cache_read_input_tokens,
        cache_write_tokens=usage.cache_creation_input_tokens,
        cache_write_5m_tokens=usage.cache_creation_5m_tokens,
        cache_write_1h_tokens=usage.cache_creation_1h_tokens,
        output_tokens=usage.output_tokens,
    )
    return genai_prices.calc_price(counts, model, provider_id=provider, genai_request_timestamp=moment).total_price


CLAUDE = [model.id for provider in get_snapshot().providers if provider.id == "anthropic" for model in provider.models]
tokens = st.sampled_from([0, 1, 99_999, 100_000, 100_001, 199_999, 200_000, 200_001]) | st.integers(0, 2_000_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    five_minutes, one_hour = draw(st.just(0) | tokens), draw(st.just(0) | tokens)
    return Usage(
        input_tokens=draw(tokens),
        output_tokens=draw(tokens),
        cache_read_input_tokens=draw(st.just(0) | tokens),
        cache_creation_input_tokens=five_minutes + one_hour,
        cache_creation_5m_tokens=five_minutes,
        cache_creation_1h_tokens=one_hour,
    )


@given(usages(), st.sampled_from(CLAUDE), st.sampled_from([NOW, datetime(2026, 3, 1, tzinfo=UTC)]))
def test_claude_costs_what_the_table_says(usage: Usage, model: str, moment: datetime) -> None:
    rates = at(moment).rates("anthropic", model)
    assert rates is not None
    assert cost_usd(rates, usage) == pytest.approx(float(theirs(usage, model, "anthropic", moment)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("model", BY_SIZE_OF_PROMPT)
def test_the_whole_prompt_decides_the_level(model: str) -> None:
    rates = at(NOW).rates("anthropic", model)
    assert rates is not None
    base, long = rates
    cached = Usage(input_tokens=1, output_tokens=10, cache_read_input_tokens=long.above_tokens - 1)
    assert cost_usd(rates, cached) == pytest.approx(
        base.input + 10 * base.output + (long.above_tokens - 1) * base.cache_read
    )
    cached.input_tokens = 2
    assert cost_usd(rates, cached) == pytest.approx(
        2 * long.input + 10 * long.output + (long.above_tokens - 1) * long.cache_read
    )
    assert long.output > base.output


def test_a_sum_by_hand() -> None:
    rates = at(NOW).rates("anthropic", "claude-haiku-4-5-20251001")
    assert rates is not None
    usage = Usage(
        input_tokens=1000,  # 1 USD a million
        output_tokens=200,  # 5
        cache_read_input_tokens=50_000,  # 0.1
        cache_creation_input_tokens=3000,
        cache_creation_5m_tokens=2000,  # 1.25
        cache_creation_1h_tokens=1000,  # 2
    )
    assert cost_usd(rates, usage) == pytest.approx(0.001 + 0.001 + 0.005 + 0.0025 + 0.002)
    # Without the split by time to live, all of it is taken as of five minutes; a split without its sum counts too.
    usage.cache_creation_5m_tokens = usage.cache_creation_1h_tokens = 0
    assert cost_usd(rates, usage) == pytest.approx(0.001 + 0.001 + 0.005 + 0.00375)
    assert cost_usd(rates, Usage(cache_creation_1h_tokens=1_000_000)) == pytest.approx(2.0)
    assert cost_usd(rates, Usage()) == 0


# --- the whole table


def all_models() -> Iterator[tuple[Provider, ModelInfo]]:
    for provider in get_snapshot().providers:
        for model in provider.models:
            yield provider, model


def test_every_model_is_found_as_genai_prices_finds_it() -> None:
    table = price_table.load()
    providers = get_snapshot().providers
    assert [provider.id for provider in table.providers] == [provider.id for provider in providers]
    compared = 0
    for provider, model in all_models():
        ours = table.named(provider.id)
        assert ours is not None
        for reference in {model.id.lower(), f"{model.id.lower()}-20260101", f"x/{model.id.lower()}"}:
            expected = provider.find_model(reference, all_providers=providers)
            found = table.find(ours, reference)
            assert (found is None) == (expected is None)
            if found is not None and expected is not None:
                assert found.rates(NOW.timestamp()) == price_table._rates(expected.get_prices(NOW))
                compared += 1
    assert compared > 2000


def test_every_price_by_tokens_gives_the_same_sum() -> None:
    prices = at(NOW)
    usage = Usage(input_tokens=150_000, output_tokens=4321, cache_read_input_tokens=60_000)
    usage.cache_creation_input_tokens = usage.cache_creation_1h_tokens = 777
    compared = 0
    for provider, model in all_models():
        # By its own id a model may be taken for an earlier one in the list: ask for what is found.
        if provider.find_model(model.id) is not model or not vars(model.get_prices(NOW)).keys() <= TOKEN_PRICES:
            continue
        rates = prices.rates(provider.id, model.id)
        if rates is not None:
            expected = float(theirs(usage, model.id, provider.id, NOW))
            assert cost_usd(rates, usage) == pytest.approx(expected, rel=1e-9)
            compared += 1
    assert compared > 1000


@pytest.mark.parametrize("name", ["anthropic", "my-anthropic", "vertex-eu", "azure", "bedrock-us", "x", "aws"])
@pytest.mark.parametrize("model", ["claude-opus-5-5", "gpt-4o-20240806", "gemini-2.5-pro", "nothing"])
def test_providers_are_told_by_their_names(name: str, model: str) -> None:
    table, providers = price_table.load(), get_snapshot()
    named, maker = table.named(name), table.maker(model)
    by_name = (None, model, name) if named is None else (named.id, None, None)
    by_maker = (None, model) if maker is None else (maker.id, None)
    for expected, arguments in ((by_name, (None, name, None)), (by_maker, (model, None, None))):
        try:
            assert providers.find_provider(*arguments).id == expected[0]
        except LookupError:
            assert expected[0] is None


def test_prices_by_the_time_of_day() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    now = [NOW.replace(hour=0).timestamp()]
    prices = Prices({}, clock=lambda: now[0])
    prices.load()
    seen = set()
    for _ in range(2 * 96):  # two days, each quarter of an hour and just before the next
        for moment_s in (now[0], now[0] + 899):
            now[0] = moment_s
            rates = prices.rates("deepseek", "deepseek-v4-flash")
            assert rates is not None
            moment = datetime.fromtimestamp(moment_s, UTC)
            assert cost_usd(rates, usage) == pytest.approx(
                float(theirs(usage, "deepseek-v4-flash", "deepseek", moment))
            )
            seen.add(rates)
        now[0] += 1
    assert len(seen) == 2


def test_a_period_over_midnight() -> None:
    night = Period((), day_from_s=22 * 3600, day_to_s=6 * 3600)
    held = [hour for hour in range(24) if night.holds(NOW.replace(hour=hour).timestamp())]
    assert held == [0, 1, 2, 3, 4, 5, 22, 23]


def test_clauses() -> None:
    both = Clause(
        "and", (Clause("starts_with", "cl"), Clause("or", (Clause("ends_with", "e"), Clause("equals", "cl"))))
    )
    assert [name for name in ("claude", "cl", "clau", "a claude") if both.matches(name)] == ["claude", "cl"]
    assert Clause("contains", "lau").matches("claude")
    assert Clause("regex", r"^c.+\d$").matches("claude-5")
    assert not Clause("regex", r"^c.+\d$").matches("claude")


# --- Prices


def test_a_provider_of_ones_own_charges_what_the_maker_does() -> None:
    prices = at(NOW)
    for provider, model in (("eu-proxy", "claude-opus-5-5"), ("EU", "Claude-Opus-5-5"), ("sandbox", "claude-opus-5-5")):
        assert prices.rates(provider, model) == prices.rates("anthropic", "claude-opus-5-5") is not None
    assert prices.rates("eu-proxy", "claude-of-next-year") is None
    assert prices.rates("anthropic", "") is None


def test_the_configuration_wins() -> None:
    overrides = {
        "eu-proxy/claude-opus-5-5": Price(input=1, output=5, cache_read=0.1, cache_write_5m=1.25, cache_write_1h=2),
        "eu-proxy/own": Price(input=1, output=5),
        "eu-proxy/meta/llama": Price(input=0, output=0, cache_write_5m=3),
    }
    prices = Prices(overrides)
    usage = Usage(input_tokens=10, output_tokens=10, cache_read_input_tokens=10)
    for loaded in (False, True):
        if loaded:
            prices.load()
        rates = prices.rates("eu-proxy", "claude-opus-5-5")
        assert rates is not None
        assert [pytest.approx(level) for level in rates] == [(0, 1e-6, 5e-6, 1e-7, 1.25e-6, 2e-6)]
        assert cost_usd(rates, usage) == pytest.approx(61e-6)
        assert prices.rates("eu-proxy", "own") == (Level(0, 1e-6, 5e-6, 1e-6, 1e-6, 1e-6),)
        assert prices.rates("eu-proxy", "meta/llama") == (Level(0, 0, 0, 0, 3e-6, 3e-6),)
        assert prices.rates("other", "own") is None


def test_there_are_no_rates_until_the_table_is_read() -> None:
    prices = Prices({}, clock=NOW.timestamp)
    assert prices.rates("anthropic", "claude-opus-5-5") is None
    prices.load()
    assert prices.rates("anthropic", "claude-opus-5-5") is not None


def test_rates_are_resolved_once() -> None:
    prices = at(NOW)
    assert prices.rates("anthropic", "claude-opus-5-5") is prices.rates("anthropic", "claude-opus-5-5")


def test_what_is_kept_is_bounded() -> None:
    prices = at(NOW)
    for number in range(1500):
        assert prices.rates("anthropic", f"unknown-{number}") is None
        assert len(prices._cache) <= 1000
    kept = len(prices._cache)
    assert prices.rates("anthropic", "claude-" + "x" * 200) is None
    assert len(prices._cache) == kept


@pytest.fixture
def unread_table() -> Iterator[Callable[[], None]]:
    price_table.load.cache_clear()
    yield price_table.load.cache_clear
    price_table.load.cache_clear()


@pytest.mark.parametrize("interpreter", ["/nonexistent/python", "/bin/false", "/bin/echo"])
def test_without_the_table_the_configuration_remains(
    interpreter: str,
    unread_table: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter)
    prices = Prices({"a/b": Price(input=1, output=1)})
    prices.load()
    assert prices.rates("anthropic", "claude-opus-5-5") is None
    assert prices.rates("a", "b") is not None
    assert "no prices but those of the configuration" in caplog.text


# --- the model that answered


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", True),
        ("claude-x-latest", "claude-x-20251001", True),
        ("gpt-5.1", "gpt-5.1-2025-11-13", True),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5-20251001", True),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5-20251001", True),
        ("anthropic/claude-x", "Claude-X", True),
        ("claude-opus-4", "claude-opus-4-5", False),
        ("claude-opus-4-20250514", "claude-opus-4-1-20250805", False),
        ("gpt-5.1", "gpt-5", False),
        ("deepseek-v2", "deepseek-v3", False),
        ("fast", "claude-x", False),
    ],
)
def test_names_of_one_model(one: str, other: str, same: bool) -> None:
    assert is_same_model(one, other) is is_same_model(other, one) is same


OWN = Price(input=1, output=2)
OTHER = Price(input=3, output=4)


@pytest.mark.parametrize(
    ("overrides", "asked", "answered", "expected"),
    [
        # a snapshot costs what its model costs, the operator's price before the table's
        ({"p/claude-haiku-4-5": OWN}, "claude-haiku-4-5", "claude-haiku-4-5-20251001", "OWN"),
        ({}, "claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ({"p/claude-x-latest": OWN}, "claude-x-latest", "claude-x-20990101", "OWN"),
        # another model has its own price
        ({}, "claude-haiku-4-5", "claude-opus-4-5-20251101", "claude-opus-4-5"),
        ({"p/claude-haiku-4-5": OWN}, "claude-haiku-4-5", "claude-opus-4-5", "claude-opus-4-5"),
        ({"p/claude-haiku-4-5": OWN, "p/n": OTHER}, "claude-haiku-4-5", "n", "OTHER"),
        # a name of the operator's own, such as a deployment's
        ({"p/ours": OWN}, "ours", "claude-opus-4-5", "OWN"),
        ({"p/ours": OWN, "p/claude-opus-4-5": OTHER}, "ours", "claude-opus-4-5", "OTHER"),
        # what nobody knows is taken for what was asked for
        ({}, "claude-haiku-4-5", "who knows", "claude-haiku-4-5"),
        ({}, "claude-haiku-4-5", "x" * 5000, "claude-haiku-4-5"),
        ({}, "who knows", "nor this", None),
    ],
)
def test_rates_of_the_model_that_answered(
    overrides: dict[str, Price], asked: str, answered: str, expected: str | None
) -> None:
    prices = Prices(overrides, clock=NOW.timestamp)
    prices.load()
    rates = prices.rates_of_answer("p", asked, answered)
    if expected is None:
        assert rates is None
    elif expected in ("OWN", "OTHER"):
        assert rates is not None
        assert rates[0].input == pytest.approx({"OWN": 1e-6, "OTHER": 3e-6}[expected])
    else:
        assert rates == prices.rates("p", expected)
        assert rates is not None


def test_each_part_of_an_answer_costs_what_its_model_does() -> None:
    prices = Prices({"p/m-1": OWN, "p/m-2": OTHER}, clock=NOW.timestamp)
    parts = [("m-1", Usage(input_tokens=1_000_000)), ("m-2", Usage(output_tokens=1_000_000))]
    assert prices.cost_usd("p", "m-1", parts) == pytest.approx(1 + 4)
    assert prices.cost_usd("p", "unknown", [*parts, ("not known", Usage(input_tokens=1))]) is None


def test_names_that_a_provider_makes_up_are_not_kept_for_ever() -> None:
    prices = at(NOW)
    for number in range(2500):
        prices.rates_of_answer("anthropic", "claude-haiku-4-5", f"made-up-{number}")
        prices.rates_of_answer("anthropic", "claude-haiku-4-5", f"{number}" * 300)
    assert len(prices._cache) <= 1000
    assert prices._own_names == {}
