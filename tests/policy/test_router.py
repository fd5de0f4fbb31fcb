"""Model names to targets (contract/gateway.md §3). Keys are in test_keys.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asbru.config import Auth, Config, KeyProvider, Provider, ProviderKey, Routing, VirtualKey
from asbru.errors import GatewayError
from asbru.policy.auth import ANONYMOUS, OPERATOR, Authenticator, Principal
from asbru.policy.router import Catalog, Table, Target
from asbru.secrets import Secret

PROVIDERS = {
    "sandbox": Provider(),
    "eu-proxy": Provider(keys=(ProviderKey(value=Secret("eu")),), models=("qwen-3",)),
    "anthropic": Provider(keys=(ProviderKey(value=Secret("a"), aliases={"claude-latest": "claude-sonnet-4-5"}),)),
    "narrow": Provider(keys=(ProviderKey(value=Secret("n"), models=("only-this", "llama-*"), exclude=("*-bad",)),)),
}
ALIASES = {
    "fast": ["anthropic/claude-haiku", "eu-proxy/claude-haiku"],
    "team/fast": ["eu-proxy/qwen-3"],
    "anthropic/old": ["anthropic/new", "sandbox/new"],
    "bare": ["claude-haiku"],
    "claude-aliased": ["eu-proxy/claude-aliased", "anthropic/claude-aliased"],
}
CONFIG = Config(providers=PROVIDERS, models=ALIASES)
TABLE = Table(CONFIG)
CATALOG: Catalog = {
    "claude-haiku": ("eu-proxy", "anthropic"),
    "gemma": ("sandbox", "eu-proxy"),
    "elsewhere": ("gone",),
    "org/model": ("eu-proxy",),
}
NO_DEFAULT = Table(
    Config(
        providers={name: PROVIDERS[name] for name in ("eu-proxy", "narrow", "sandbox")}, models={"quick": ["sandbox/q"]}
    )
)


def key(*providers: KeyProvider, direct: bool = False) -> Principal:
    """A virtual key that may use these; none: all."""
    virtual_keys = (VirtualKey(name="team", value=Secret("sk-bf-team"), providers=providers),)
    gate = Authenticator(Config(auth=Auth(allow_direct_keys=True), virtual_keys=virtual_keys))
    own = [(b"authorization", b"Bearer own")] if direct else []
    return gate.identify([(b"x-bf-vk", b"sk-bf-team"), *own], 0.0)


def allow(name: str, *models: str, weight: float = 1.0) -> KeyProvider:
    return KeyProvider(name=name, weight=weight, models=models or ("*",))


DIRECT_OPEN = Principal("direct", "direct", direct=Secret("own"))
DIRECT_ONLY = Principal("direct", "direct", direct=Secret("own"), gateway_keys=False)


def names(
    model: str,
    *fallbacks: str,
    principal: Principal = ANONYMOUS,
    catalog: Catalog = CATALOG,
    table: Table = TABLE,
    rand: float = 0.0,
    session: str | None = None,
) -> list[str]:
    targets = table.plan(model, fallbacks, principal, catalog, rand=rand, session=session).targets
    for _ in range(2):  # the fast path, before and after it knows the answer
        assert table.targets(model, fallbacks, principal, catalog, rand=rand, session=session) == targets
    return [f"{target.provider} {target.model}" for target in targets]


def refusal(model: str, *fallbacks: str, principal: Principal = ANONYMOUS, table: Table = TABLE) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        table.targets(model, fallbacks, principal, CATALOG, rand=0.0)
    return caught.value


# Which rule places a name


@pytest.mark.parametrize(
    ("model", "rule", "expected"),
    [
        ("anthropic/claude-x", "named", ["anthropic claude-x"]),
        ("eu-proxy/org/model", "named", ["eu-proxy org/model"]),
        ("meta-llama/Llama-3", "default", ["anthropic meta-llama/Llama-3"]),
        ("Anthropic/claude-x", "default", ["anthropic Anthropic/claude-x"]),
        ("/claude-x", "default", ["anthropic /claude-x"]),
        ("fast", "alias", ["anthropic claude-haiku", "eu-proxy claude-haiku"]),
        ("team/fast", "alias", ["eu-proxy qwen-3"]),
        ("anthropic/old", "alias", ["anthropic new", "sandbox new"]),
        ("bare", "alias", ["anthropic claude-haiku"]),
        ("claude-haiku", "catalog", ["anthropic claude-haiku"]),
        ("gemma", "catalog", ["sandbox gemma"]),
        ("org/model", "catalog", ["eu-proxy org/model"]),
        ("qwen-3", "catalog", ["eu-proxy qwen-3"]),
        ("only-this", "catalog", ["narrow only-this"]),
        ("claude-latest", "catalog", ["anthropic claude-latest"]),
        ("elsewhere", "default", ["anthropic elsewhere"]),
        ("as-new-as-today", "default", ["anthropic as-new-as-today"]),
    ],
)
def test_a_name_is_placed_by_the_first_rule_that_applies(model: str, rule: str, expected: list[str]) -> None:
    plan = TABLE.plan(model, (), ANONYMOUS, CATALOG, rand=0.0)
    assert plan.rule == rule
    assert [f"{target.provider} {target.model}" for target in plan.targets] == expected
    assert plan.left_out == []
    assert names(model, principal=OPERATOR) == expected
    assert names(model, principal=key()) == expected


@pytest.mark.parametrize(
    ("providers", "routing", "default"),
    [
        (["sandbox", "anthropic"], None, "anthropic"),
        (["sandbox"], None, "sandbox"),
        (["sandbox", "eu-proxy"], None, None),
        (["sandbox", "anthropic"], "sandbox", "sandbox"),
        ([], None, None),
    ],
)
def test_the_default_provider(providers: list[str], routing: str | None, default: str | None) -> None:
    config = Config(providers={name: PROVIDERS[name] for name in providers}, routing=Routing(default_provider=routing))
    table = Table(config)
    assert table.default_provider == default
    if default is None:
        assert refusal("claude-x", table=table).kind == "not_found"
    else:
        assert names("claude-x", table=table, catalog={}) == [f"{default} claude-x"]


@pytest.mark.parametrize(
    ("model", "nearest"), [("quik", "quick"), ("qwen3", "qwen-3"), ("only-thiss", "only-this"), ("gema", "gemma")]
)
def test_a_name_that_nothing_places_is_answered_with_the_nearest(model: str, nearest: str) -> None:
    error = refusal(model, table=NO_DEFAULT)
    assert error.kind == "not_found"
    assert repr(model) in error.message
    assert nearest in error.message


def test_what_the_caller_may_not_use_is_not_suggested() -> None:
    error = refusal("quik", table=NO_DEFAULT, principal=key(allow("eu-proxy", weight=0)))
    assert error.kind == "not_found"
    assert "quick" not in error.message


@pytest.mark.parametrize("model", ["zzz", "z" * 512, "\n\x1b[31m"])
def test_a_name_near_nothing_is_shown_short_and_printable(model: str) -> None:
    message = refusal(model, table=NO_DEFAULT).message
    assert len(message) < 250
    assert message.isprintable()


@pytest.mark.parametrize("bad", ["", "x" * 513])
def test_names_that_cannot_be(bad: str) -> None:
    assert refusal(bad).kind == "invalid_request"
    assert refusal("fast", "anthropic/x", bad).message.startswith("fallbacks.1: ")


def test_a_provider_without_a_model() -> None:
    assert refusal("anthropic/").kind == "invalid_request"
    assert refusal("fast", "anthropic/").kind == "invalid_request"


# Fallbacks


@pytest.mark.parametrize(
    ("model", "fallbacks", "expected"),
    [
        ("anthropic/a", ["eu-proxy/b", "sandbox/c"], ["anthropic a", "eu-proxy b", "sandbox c"]),
        ("eu-proxy/a", ["b", "meta/c"], ["eu-proxy a", "eu-proxy b", "eu-proxy meta/c"]),
        ("gemma", ["b"], ["sandbox gemma", "sandbox b"]),
        ("fast", ["c"], ["anthropic claude-haiku", "eu-proxy claude-haiku", "anthropic c"]),
        ("sandbox/a", ["fast"], ["sandbox a", "anthropic claude-haiku", "eu-proxy claude-haiku"]),
        ("sandbox/a", ["sandbox/a", "a", "eu-proxy/b", "eu-proxy/b"], ["sandbox a", "eu-proxy b"]),
        ("fast", ["eu-proxy/claude-haiku"], ["anthropic claude-haiku", "eu-proxy claude-haiku"]),
    ],
)
def test_fallbacks(model: str, fallbacks: list[str], expected: list[str]) -> None:
    assert names(model, *fallbacks) == expected


# Virtual keys with providers


BOTH = key(allow("anthropic"), allow("eu-proxy", weight=3))


def test_a_bare_name_goes_to_the_key_s_providers_by_weight() -> None:
    firsts = [names("claude-new", principal=BOTH, rand=step / 8)[0] for step in range(8)]
    assert firsts == ["anthropic claude-new"] * 2 + ["eu-proxy claude-new"] * 6


def test_the_others_follow_unless_the_request_has_fallbacks() -> None:
    three = key(allow("sandbox"), allow("anthropic", weight=2), allow("eu-proxy", weight=3))
    assert names("new", principal=three, rand=0.1) == ["sandbox new", "eu-proxy new", "anthropic new"]
    assert names("new", "eu-proxy/b", principal=three, rand=0.1) == ["sandbox new", "eu-proxy b"]


def test_a_conversation_stays_with_its_provider() -> None:
    firsts = {}
    for number in range(40):
        found = {names("new", principal=BOTH, rand=step / 5, session=f"s{number}")[0] for step in range(5)}
        assert len(found) == 1
        firsts[number] = found.pop()
    assert 20 < list(firsts.values()).count("eu-proxy new") < 40


@pytest.mark.parametrize(
    ("providers", "model", "expected"),
    [
        # weight 0 is used when named, never chosen
        ([allow("anthropic"), allow("eu-proxy", weight=0)], "new", ["anthropic new"]),
        ([allow("anthropic"), allow("eu-proxy", weight=0)], "eu-proxy/new", ["eu-proxy new"]),
        # only what is allowed, and only where it can be served
        ([allow("anthropic", "claude-*"), allow("eu-proxy", "qwen-*")], "qwen-x", ["eu-proxy qwen-x"]),
        ([allow("anthropic"), allow("narrow")], "new", ["anthropic new"]),
        ([allow("anthropic"), allow("narrow"), allow("gone")], "llama-x", ["anthropic llama-x", "narrow llama-x"]),
        # who is known to have it goes before who is not; an unknown name excludes nobody
        ([allow("anthropic"), allow("eu-proxy"), allow("sandbox")], "org/model", ["eu-proxy org/model"]),
        ([allow("anthropic")], "gemma", ["anthropic gemma"]),
        # an alias stays an alias, unless the key's list has that very name as a model
        ([allow("anthropic"), allow("eu-proxy")], "fast", ["anthropic claude-haiku", "eu-proxy claude-haiku"]),
        ([allow("anthropic", "claude-*")], "claude-aliased", ["anthropic claude-aliased"]),
        (
            [allow("anthropic", "claude-*"), allow("eu-proxy")],
            "claude-aliased",
            ["eu-proxy claude-aliased", "anthropic claude-aliased"],
        ),
        ([allow("anthropic", "claude-aliased"), allow("eu-proxy")], "claude-aliased", ["anthropic claude-aliased"]),
        # an alias keeps the candidates that are allowed
        ([allow("eu-proxy")], "fast", ["eu-proxy claude-haiku"]),
        ([allow("sandbox")], "anthropic/old", ["sandbox new"]),
        # the catalog's choice is one of the key's own
        ([allow("eu-proxy", weight=0)], "claude-haiku", ["eu-proxy claude-haiku"]),
    ],
)
def test_a_key_with_providers(providers: list[KeyProvider], model: str, expected: list[str]) -> None:
    assert names(model, principal=key(*providers)) == expected


@pytest.mark.parametrize(
    ("providers", "model", "kind"),
    [
        ([allow("anthropic", "claude-*")], "anthropic/gpt", "model_blocked"),
        ([allow("anthropic", "claude-*")], "gpt", "model_blocked"),
        ([allow("anthropic", "claude-*")], "eu-proxy/claude-x", "provider_blocked"),
        ([allow("eu-proxy", "qwen-*")], "claude-x", "provider_blocked"),
        ([allow("sandbox")], "fast", "provider_blocked"),
        ([allow("gone")], "claude-x", "provider_blocked"),
        ([allow("anthropic", "claude-haiku")], "anthropic/claude-haiku-2", "model_blocked"),
        ([], "narrow/other", "model_blocked"),
        ([], "narrow/llama-bad", "model_blocked"),
    ],
)
def test_a_blocked_primary_is_refused(providers: list[KeyProvider], model: str, kind: str) -> None:
    error = refusal(model, "sandbox/x", principal=key(*providers))
    assert error.kind == kind
    assert error.row.status == 403
    assert "sk-bf-" not in error.message


def test_a_blocked_fallback_is_left_out_and_said_in_the_plan() -> None:
    principal = key(allow("anthropic", "claude-*"), allow("eu-proxy"))
    fallbacks = ["sandbox/x", "anthropic/gpt", "eu-proxy/y", "narrow/other"]
    plan = TABLE.plan("anthropic/claude-x", fallbacks, principal, {}, rand=0.0)
    assert plan.targets == [Target("anthropic", "claude-x"), Target("eu-proxy", "y")]
    assert [(target.provider, error.kind) for target, error in plan.left_out] == [
        ("sandbox", "provider_blocked"),
        ("anthropic", "model_blocked"),
        ("narrow", "provider_blocked"),
    ]


# Callers' own keys


def test_an_own_key_serves_the_first_target_whatever_the_stored_keys_may_do() -> None:
    assert names("narrow/other", principal=DIRECT_OPEN) == ["narrow other"]
    assert names("narrow/other", principal=key(direct=True)) == ["narrow other"]
    assert refusal("narrow/other").kind == "model_blocked"
    assert names("anthropic/a", "narrow/other", "eu-proxy/b", principal=DIRECT_OPEN) == ["anthropic a", "eu-proxy b"]


def test_an_own_key_does_not_widen_a_virtual_key() -> None:
    principal = key(allow("anthropic", "claude-*"), direct=True)
    assert refusal("anthropic/gpt", principal=principal).kind == "model_blocked"
    assert refusal("eu-proxy/claude-x", principal=principal).kind == "provider_blocked"


@pytest.mark.parametrize("model", ["anthropic/a", "fast", "claude-haiku"])
def test_who_proved_nothing_spends_nothing_of_the_gateway_s(model: str) -> None:
    found = names(model, "eu-proxy/b", "sandbox/c", "fast", principal=DIRECT_ONLY)
    assert len(found) == 1
    assert found[0].startswith("anthropic ")


def test_who_proved_nothing_gets_no_provider_that_needs_no_key() -> None:
    assert refusal("sandbox/x", principal=DIRECT_ONLY).kind == "virtual_key_required"
    assert names("sandbox/x", principal=DIRECT_OPEN) == ["sandbox x"]


# Permission for one thing


def test_may() -> None:
    principal = key(allow("anthropic", "claude-*"))
    TABLE.may(principal, "anthropic", "claude-x")
    TABLE.may(principal, "anthropic", "")
    TABLE.may(OPERATOR, "narrow", "llama-1")
    for provider, model, kind in [
        ("anthropic", "gpt", "model_blocked"),
        ("eu-proxy", "", "provider_blocked"),
        ("gone", "x", "not_found"),
    ]:
        with pytest.raises(GatewayError) as caught:
            TABLE.may(principal, provider, model)
        assert caught.value.kind == kind


def test_resources_are_looked_for_at_every_provider_the_caller_may_use() -> None:
    everywhere = ["anthropic", "sandbox", "eu-proxy", "narrow"]
    assert TABLE.resource_targets(ANONYMOUS) == [Target(name, "") for name in everywhere]
    assert TABLE.resource_targets(key(allow("eu-proxy", "qwen-*"))) == [Target("eu-proxy", "")]
    assert TABLE.resource_targets(DIRECT_ONLY) == [Target("anthropic", "")]
    for table, principal, kind in [
        (TABLE, key(allow("gone")), "provider_blocked"),
        (Table(Config()), ANONYMOUS, "not_found"),
    ]:
        with pytest.raises(GatewayError) as caught:
            table.resource_targets(principal)
        assert caught.value.kind == kind


# Lists of models

LISTED = {"anthropic": ["claude-x", "fast", "eu-proxy/odd"], "eu-proxy": ["claude-x"], "sandbox": ["s"], "gone": ["g"]}


def test_visible_models() -> None:
    assert TABLE.visible_models(ANONYMOUS, LISTED) == [
        *("fast", "team/fast", "anthropic/old", "bare", "claude-aliased"),
        *("claude-x", "anthropic/fast", "anthropic/eu-proxy/odd", "claude-latest"),
        "sandbox/s",
        *("eu-proxy/claude-x", "eu-proxy/qwen-3"),
        "narrow/only-this",
    ]
    assert TABLE.visible_models(key(allow("eu-proxy", "q*"), allow("anthropic", "claude-x")), LISTED) == [
        "team/fast",
        "claude-x",
        "eu-proxy/qwen-3",
    ]


def test_models_that_a_virtual_key_names_are_visible_though_nobody_lists_them() -> None:
    named = key(allow("anthropic", "claude-new", "claude-x", "q*"), allow("sandbox", "t"))
    assert set(TABLE.visible_models(named, {})) >= {"claude-new", "claude-x", "sandbox/t"}
    assert "claude-new" not in TABLE.visible_models(ANONYMOUS, {})


@pytest.mark.parametrize("principal", [ANONYMOUS, BOTH, key(allow("narrow", "only-*")), DIRECT_OPEN, DIRECT_ONLY])
def test_every_visible_name_can_be_asked_for(principal: Principal) -> None:
    catalog = {
        model: tuple(name for name in LISTED if model in LISTED[name]) for ids in LISTED.values() for model in ids
    }
    visible = TABLE.visible_models(principal, LISTED)
    assert visible
    for name in visible:
        asked = set(TABLE.targets(name, (), principal, catalog, rand=0.0))
        assert asked & set(TABLE.listed_targets(name, catalog))


def test_listed_targets() -> None:
    assert TABLE.listed_targets("fast", {}) == (Target("anthropic", "claude-haiku"), Target("eu-proxy", "claude-haiku"))
    assert list(TABLE.listed_targets("eu-proxy/x", {})) == [Target("eu-proxy", "x")]
    assert list(TABLE.listed_targets("gemma", CATALOG)) == [Target("sandbox", "gemma"), Target("eu-proxy", "gemma")]
    assert list(TABLE.listed_targets("new", CATALOG)) == [Target("anthropic", "new")]
    assert list(NO_DEFAULT.listed_targets("new", CATALOG)) == []


# Configurations that cannot work


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (Config(providers=PROVIDERS, routing=Routing(default_provider="gone")), "routing.default_provider: 'gone'"),
        (Config(providers={"b": Provider(), "c": Provider()}, models={"fast": ["gone/x"]}), "models.fast: 'gone/x'"),
        (Config(providers=PROVIDERS, models={"fast": ["anthropic/"]}), "models.fast"),
    ],
)
def test_what_cannot_work_is_said_at_start(config: Config, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Table(config)


# Whatever is asked

_models = st.sampled_from(
    [*ALIASES, *CATALOG, "claude-x", "anthropic/x", "eu-proxy/y", "sandbox/z", "narrow/llama-1", "a/b"]
)
_grants = st.lists(
    st.builds(
        allow,
        st.sampled_from([*PROVIDERS, "gone"]),
        st.sampled_from(["*", "claude-*", "qwen-3", "x"]),
        weight=st.sampled_from([0.0, 1.0, 2.5]),
    ),
    max_size=4,
    unique_by=lambda grant: grant.name,
)


@given(
    _models | st.text(max_size=20),
    st.lists(_models | st.text(max_size=20), max_size=4),
    _grants,
    st.booleans(),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.text(max_size=5),
)
def test_a_plan_never_holds_what_the_key_may_not_use(
    model: str, fallbacks: list[str], grants: list[KeyProvider], direct: bool, rand: float, session: str | None
) -> None:
    principal = key(*grants, direct=direct)
    try:
        targets = TABLE.targets(model, fallbacks, principal, CATALOG, rand=rand, session=session)
    except GatewayError as error:
        assert error.kind in ("model_blocked", "provider_blocked", "invalid_request", "not_found")
        return
    assert targets
    assert len(set(targets)) == len(targets)
    allowed = {grant.name: grant.models for grant in grants}
    for index, target in enumerate(targets):
        assert target.provider in PROVIDERS
        if grants:
            patterns = allowed[target.provider]
            prefix_ok = any(p == target.model or (p[-1] == "*" and target.model.startswith(p[:-1])) for p in patterns)
            assert prefix_ok
        if not (direct and index == 0):
            assert TABLE.providers[target.provider].may_serve(target.model)


def test_a_vendors_key_finds_the_provider_that_takes_it() -> None:
    own = Principal("direct", "direct", direct=Secret("sk-ant-own"), gateway_keys=False)
    foreign = {name: ("sk-ant-",) for name in PROVIDERS if name != "anthropic"}
    table = Table(Config(providers=PROVIDERS, routing=Routing(default_provider="eu-proxy")), (), foreign)
    assert names("claude-haiku", principal=own, table=table) == ["anthropic claude-haiku"]
    assert names("anthropic/x", "eu-proxy/x", principal=own, table=table) == ["anthropic x"]
    with pytest.raises(GatewayError) as caught:
        names("eu-proxy/x", principal=own, table=table)
    assert caught.value.kind == "virtual_key_required"
    assert [target.provider for target in table.resource_targets(own)] == ["anthropic"]
