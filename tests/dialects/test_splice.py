"""Splice: what is not named stays, byte for byte; what is not one valid object with distinct keys is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asbru.dialects import splice
from asbru.dialects.splice import SpliceError

CAPTURES = sorted((Path(__file__).parent.parent / "captures").glob("*.json"))

# --- JSON text, made piece by piece, so that what must come out is known without a parser


class Member(NamedTuple):
    before: str  # white space before the key
    key: str  # as spelled, with quotes
    colon: str  # with white space around it
    value: str
    after: str  # white space after the value


class Document(NamedTuple):
    """``lead { member , member } trail``; `empty` is the white space of an object without members."""

    lead: str
    members: list[Member]
    empty: str
    trail: str

    def text(self) -> str:
        inner = ",".join("".join(member) for member in self.members)
        return f"{self.lead}{{{inner or self.empty}}}{self.trail}"

    def names(self) -> list[str]:
        return [name(member.key) for member in self.members]


def name(spelled: str) -> str:
    decoded = json.loads(spelled)
    assert isinstance(decoded, str)
    return decoded


space = st.text(" \t\r\n", max_size=3)
plain = st.characters(exclude_categories=["Cs"], exclude_characters='"\\').filter(lambda char: char >= " ")
escapes = st.sampled_from([r"\n", r"\"", r"\\", r"\/", r"\b", r"\u0041", r"\u00e9", r"\u0000", r"\ud83d\ude00"])
unpaired = st.sampled_from([r"\ud83d", r"\uDE00", r"\udbff\ud800", r"\\ud83d"])
braces = st.sampled_from(["{", "}", "[", "]", ",", ":", r"\",\"model\":\""])


def strings(*more: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.one_of(plain, escapes, braces, *more), max_size=5).map(lambda parts: f'"{"".join(parts)}"')


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True).filter(
    str.isascii
)
scalars = st.one_of(strings(unpaired), numbers, st.sampled_from(["true", "false", "null"]))


@st.composite
def nested(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(values, max_size=4))
    spaced = [draw(space) + item + draw(space) for item in items]
    if draw(st.booleans()):
        return f"[{','.join(spaced) or draw(space)}]"
    # Keys may repeat in here: that is not the gateway's affair.
    named = [f"{draw(space)}{draw(strings(unpaired))}{draw(space)}:{item}" for item in spaced]
    return f"{{{','.join(named) or draw(space)}}}"


values = st.recursive(scalars, nested, max_leaves=12)
# Beside an unpaired surrogate, only keys that are spelled without surrogates are accepted.
keys = st.one_of(
    st.sampled_from(['"model"', r'"mod\u0065l"', '"stream"', '"fallbacks"', '"é"', r'"\u00e9"', '""', '"😀"']),
    strings().filter(lambda text: not re.search(r"\\u[dD]|\ufffd", text)),
)


@st.composite
def members(draw: st.DrawFn) -> Member:
    colon = f"{draw(space)}:{draw(space)}"
    return Member(draw(space), draw(keys), colon, draw(values), draw(space))


documents = st.builds(
    Document, space, st.lists(members(), max_size=7, unique_by=lambda member: name(member.key)), space, space
)


def escaped(text: str) -> str:
    """The same key, every character spelled as an escape."""
    units = text.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2)) + '"'


# --- split and replace


@given(documents)
def test_split_finds_every_value(document: Document) -> None:
    found = splice.split(document.text().encode())
    assert list(found.spans) == document.names()
    assert [found.get(key) for key in found.spans] == [member.value.encode() for member in document.members]
    assert found.get("absent") is None
    assert "absent" not in found


@given(documents, st.data())
def test_replace_leaves_every_other_byte(document: Document, data: st.DataObject) -> None:
    names = document.names()
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    changes: dict[str, bytes | None] = {key: data.draw(st.none() | values.map(str.encode)) for key in chosen}
    body = document.text().encode()

    expected = document.lead + "{" + ("" if names else document.empty)
    kept = False
    for key, member in zip(names, document.members, strict=True):
        new = changes.get(key, member.value.encode())
        if new is None:
            expected += ("" if kept or key != names[0] else member.before) + member.after
            continue
        # A comma stands only between members that are kept.
        expected += "," if kept else ""
        expected += member.before + member.key + member.colon + new.decode() + member.after
        kept = True
    expected += "}" + document.trail
    assert splice.replace(body, splice.split(body), changes).decode() == expected


@given(documents, st.lists(st.sampled_from(["x", "y", 'q"uote', "ü"]), unique=True))
def test_replace_adds_what_is_absent(document: Document, new: list[str]) -> None:
    body = document.text().encode()
    added = [key for key in new if key not in document.names()]
    result = splice.replace(body, splice.split(body), dict.fromkeys(added, b"[1]"))
    found = splice.split(result)
    assert list(found.spans) == document.names() + added
    assert [found.get(key) for key in document.names()] == [member.value.encode() for member in document.members]
    assert all(found.get(key) == b"[1]" for key in added)


def test_replace_reads_well() -> None:
    def result(body: bytes, **changes: bytes | None) -> bytes:
        return splice.replace(body, splice.split(body), changes)

    body = b'{"model": "a", "fallbacks": ["b"], "stream": true}'
    assert result(body, model=b'"c"') == b'{"model": "c", "fallbacks": ["b"], "stream": true}'
    assert result(body, fallbacks=None) == b'{"model": "a", "stream": true}'
    assert result(body, model=None) == b'{ "fallbacks": ["b"], "stream": true}'
    assert result(body, stream=None, fallbacks=None) == b'{"model": "a"}'
    assert result(body, model=None, stream=None, fallbacks=None) == b"{}"
    assert result(body, model=None, fallbacks=None, stream=None, x=b"1") == b'{"x":1}'
    assert result(body, model=b'"c"', fallbacks=None, n=b"2") == b'{"model": "c", "stream": true,"n":2}'
    assert result(b" { } ", x=b"1", y=b"2") == b' {"x":1,"y":2 } '


def test_nothing_to_change_is_no_copy() -> None:
    body = b'{"model": "a", "stream": true}'
    found = splice.split(body)
    assert splice.replace(body, found, {}) is body
    assert splice.replace(body, found, {"model": b'"a"', "absent": None}) is body


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_captured_bodies_keep_all_but_the_model(path: Path) -> None:
    capture = json.loads(path.read_bytes())
    body = capture["body_raw"].encode()
    if not capture["body_raw"].startswith("{"):
        with pytest.raises(SpliceError):  # no body, or a multipart upload
            splice.split(body)
        return
    found = splice.split(body)
    original = json.loads(body)
    assert list(found.spans) == list(original)
    assert [json.loads(found.get(key) or b"") for key in found.spans] == list(original.values())
    if "model" not in original:
        assert path.stem.endswith("batch-create")
        return
    result = splice.replace(body, found, {"model": b'"another/model"'})
    # Independent of the spans: the value is told by its spelling, and by what the result then means.
    old = json.dumps(original["model"]).encode()
    before, behind = re.split(rb'(?<="model":)' + old + b"|" + rb'(?<="model": )' + old, body, maxsplit=1)
    assert result == before + b'"another/model"' + behind
    assert json.loads(result) == {**original, "model": "another/model"}


# --- what is refused


class Pairs(list[tuple[str, object]]):
    """A JSON object of the oracle's, with what a dict would lose."""


def refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def strict(body: bytes) -> dict[str, object] | None:
    """The oracle: the standard library's parser, made strict; None when it refuses the body."""
    try:
        parsed = json.loads(
            body.decode(), object_pairs_hook=Pairs, parse_constant=refuse_constant, parse_int=str, parse_float=str
        )
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, Pairs) or len(dict(parsed)) != len(parsed):
        return None
    return dict(parsed)


def check_against_oracle(body: bytes) -> None:
    expected = strict(body)
    try:
        found = splice.split(body)
    except SpliceError as error:
        assert expected is None or "unpaired surrogate" in str(error)
        return
    assert expected is not None
    assert list(found.spans) == list(expected)
    for key, value in expected.items():
        raw = found.get(key)
        assert raw is not None
        wrapped = strict(b'{"value":' + raw + b"}")
        assert wrapped == {"value": value}


@given(documents, st.data())
def test_a_duplicate_key_is_refused(document: Document, data: st.DataObject) -> None:
    if not document.members:
        document = document._replace(members=[Member("", '"a"', ":", "1", "")])
    twice = data.draw(st.sampled_from(document.members))
    spelled = data.draw(st.sampled_from([twice.key, json.dumps(name(twice.key)), escaped(name(twice.key))]))
    value = data.draw(st.just(twice.value) | values)
    place = data.draw(st.integers(0, len(document.members)))
    document.members.insert(place, Member(data.draw(space), spelled, ":", value, data.draw(space)))
    with pytest.raises(SpliceError) as caught:
        splice.split(document.text().encode())
    message = str(caught.value)
    assert message == f"duplicate key {json.dumps(name(twice.key), ensure_ascii=False)}" or re.search(
        "duplicate key|unpaired surrogate", message
    )


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","mod\\u0065l":"a"}', "model"),
        (b'{"a":1,"a":1,"b":1}', "a"),
        (b'{"a":1,"b":1,"b":1,"a":1}', "b"),
        (b'{"a":12,"a":1}', "a"),
        (b'{"a":1,"a":12}', "a"),
        # The last value, laid over the first one's place, ends at a comma from where all lengths fit to the end.
        (b'{"a":1,"b":{"x":1,"kkkkkkk":0},"a":"1234567890"}', "a"),
        (b'{"a":"\\ud83d","b":1,"b":1}', "b"),
    ],
)
def test_the_duplicate_is_named(body: bytes, key: str) -> None:
    with pytest.raises(SpliceError, match=f'^duplicate key "{key}"$'):
        splice.split(body)


def test_the_name_of_a_duplicate_is_cut_short() -> None:
    key = b'"' + b"k" * 5000 + b'"'
    with pytest.raises(SpliceError, match=f'^duplicate key "{"k" * 64}"$'):
        splice.split(b"{" + key + b":1," + key + b":2}")


edits = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(["insert", "delete", "change", "repeat"]), st.integers(0, 255)),
    max_size=3,
)


@given(documents, edits)
def test_mutated_bodies_agree_with_a_strict_parser(document: Document, changes: list[tuple[int, str, int]]) -> None:
    body = bytearray(document.text().encode())
    for place, what, byte in changes:
        at = place % (len(body) + 1)
        if what == "insert":
            body[at:at] = bytes([byte])
        elif what == "delete":
            del body[at : at + 1]
        elif what == "repeat":
            body[at:at] = body[at : at + byte]
        else:
            body[at : at + 1] = bytes([byte])
    check_against_oracle(bytes(body))


@given(st.binary(max_size=40) | st.text('{}[]",:\\u09eE.-+ tn', max_size=40).map(str.encode))
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b'{"a":NaN}')
@example(b'{"a":01}')
@example(b'{"a":"\t"}')
@example(b'{"a":"\xed\xa0\xbd"}')
@example(b'{"a":"\xc0\xaf"}')
@example(b'{"a":[{"\xff":1}]}')
@example(b'{"a":"\\x41"}')
@example(b'{"a":1}\x00')
@example(b'{"a":1,}')
@example(b'{"a":\\ud83d}')
@example(b'{"a":"\\ud83"}')
@example(b'{"\\ud83d":1}')
@example(b'{"\\ud83d\\ude00":1,"\\ud83d\\ude01":"\\ufffd"}')
@example(b'{"a":"\\ud83d","\\ud83d\\ude00":1,"\\ud83d\\ude01":1}')
@example(b'{"n":1e999999999999,"m":-0.0e-0}')
@example(b'{"n":' + b"9" * 10_000 + b"}")
def test_any_bytes_agree_with_a_strict_parser(body: bytes) -> None:
    check_against_oracle(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "the body is not a JSON object"),
        (b'"model"', "the body is not a JSON object"),
        (b"", "the body is empty"),
        (b'{"model":secret}', "the body is not valid JSON: "),
        (b'{"model":"\xffsecret"}', "the body is not valid JSON: it is not UTF-8"),
        (b'{"a":"\\ud83d","\\ud83d":"secret"}', "the body has an unpaired surrogate and a key that is not plain"),
    ],
)
def test_the_message_says_what_is_wrong_and_quotes_nothing(body: bytes, message: str) -> None:
    with pytest.raises(SpliceError) as caught:
        splice.split(body)
    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)


def test_bad_utf8_is_found_wherever_it_is_in_a_long_body() -> None:
    size = splice._PIECE_BYTES
    text = "ü€😀" * (size // 4)
    good = b'{"a":"' + text.encode() + b'"}'
    assert len(good) > 2 * size
    assert splice.split(good).get("a") == f'"{text}"'.encode()
    for at in (6, size - 1, size, size + 1, 2 * size, len(good) - 3):
        bad = bytearray(good)
        bad[at] = 0xFF
        with pytest.raises(SpliceError, match="UTF-8"):
            splice.split(bytes(bad))
    with pytest.raises(SpliceError, match="UTF-8"):
        splice.split(good[:-4])


@pytest.mark.parametrize("depth", [5_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")])
def test_bottomless_nesting_is_refused(depth: int, opening: bytes, closing: bytes) -> None:
    with pytest.raises(SpliceError, match="nested too deeply"):
        splice.split(b'{"a":' + opening * depth + b"1" + closing * depth + b"}")


def test_honest_nesting_is_accepted() -> None:
    value = b"[" * 200 + b"]" * 200
    assert splice.split(b'{"a":' + value + b"}").get("a") == value


def test_too_many_members_are_refused() -> None:
    body = b"{" + b",".join(b'"%d":0' % number for number in range(1001)) + b"}"
    with pytest.raises(SpliceError, match="more than 1000 members"):
        splice.split(body)


# --- values


def test_values_are_decoded_as_needed() -> None:
    found = splice.split(
        rb'{"model":"mod\u0065l \ud83d\ude00","stream":true,"max_tokens":1024,"null":null,"bad":"\ud83d"}'
    )
    assert found.string("model") == "model 😀"
    assert found.boolean("stream") is True
    for key in ("null", "absent"):
        assert found.string(key) is None
        assert found.boolean(key) is None
    with pytest.raises(SpliceError, match='"max_tokens" must be a string'):
        found.string("max_tokens")
    with pytest.raises(SpliceError, match='"model" must be true or false'):
        found.boolean("model")
    with pytest.raises(SpliceError, match='"bad" must be a string'):
        found.string("bad")


@given(strings(unpaired))
def test_masking_a_large_body_in_pieces_masks_the_same(text: str) -> None:
    data = text.encode()
    plain = splice.mask_surrogates(data)
    for size in (7, 8, 11):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(splice, "_PIECE_BYTES", size)
            masked = splice.mask_surrogates(data)
        assert masked == plain and (masked is data) == (plain == data)


@given(strings(unpaired))
def test_masking_keeps_every_length(text: str) -> None:
    original = text.encode()
    masked = splice.mask_surrogates(original)
    assert len(masked) == len(original)
    json.loads(masked).encode()  # would fail on a surrogate
    if not re.search(r"\\u[dD]", text):
        assert masked == original


# --- batches

models = st.sampled_from(['"claude-a"', '"claude-b"', r'"cl\u0061ude-a"', '"é"'])


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, str]:
    """One request of a batch: the text up to its model, the model, the text behind it."""
    params = draw(st.lists(members().filter(lambda member: name(member.key) != "model"), max_size=3))
    unique = list({name(member.key): member for member in params}.values())
    place = draw(st.integers(0, len(unique)))
    front = "".join("".join(member) + "," for member in unique[:place])
    back = "".join("," + "".join(member) for member in unique[place:])
    lead, trail = draw(st.sampled_from([('"custom_id":"x",', ""), ("", ',"custom_id":"model"'), ("", "")]))
    spaces = [draw(space) for _ in range(4)]
    before = f'{spaces[0]}{{{lead}{spaces[1]}"params":{spaces[2]}{{{front}"model" :'
    return before, draw(models), f"{spaces[3]}{back}}}{trail}}}{spaces[0]}"


@given(st.lists(requests(), max_size=4), space)
def test_batch_models_are_read_and_replaced(batch: list[tuple[str, str, str]], blank: str) -> None:
    def text(renamed: dict[str, str]) -> bytes:
        items = [before + renamed.get(name(model), model) + behind for before, model, behind in batch]
        return f'{{"model":"outer",{blank}"requests":{blank}[{",".join(items) or blank}], "x":[1]}}'.encode()

    body = text({})
    found = splice.batch_models(body)
    assert [model for model, _ in found] == [name(model) for _, model, _ in batch]
    renames = {"claude-a": "other/claude", "é": "ü"}
    result = splice.replace_models(body, [(model, renames.get(model, model), span) for model, span in found])
    assert result == text({old: json.dumps(new, ensure_ascii=False) for old, new in renames.items()})
    assert splice.replace_models(body, [(model, model, span) for model, span in found]) is body


@pytest.mark.parametrize("path", [path for path in CAPTURES if "batch-create" in path.stem], ids=lambda path: path.stem)
def test_captured_batches(path: Path) -> None:
    text: str = json.loads(path.read_bytes())["body_raw"]
    body = text.encode()
    found = splice.batch_models(body)
    assert [model for model, _ in found] == [request["params"]["model"] for request in json.loads(text)["requests"]]
    result = splice.replace_models(body, [(model, "new", span) for model, span in found])
    assert result.decode() == re.sub(r'("model": ?)"[^"]*"', r'\1"new"', text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", '"requests" is missing'),
        (b'{"requests":{}}', '"requests": Expected `array`, got `object`'),
        (b'{"requests":[1,1,1]}', "$[0]"),
        (b'{"requests":[{"params":{"model":"a"}},{}]}', "missing required field `params` - at `$[1]`"),
        (b'{"requests":[{"params":{"model":null}}]}', "at `$[0].params.model`"),
        (b'{"requests":[{"params":{"model":"a","model":"b"}}]}', 'duplicate key "model"'),
        (b'{"requests":[{"params":{"model":"a"},"params":{"model":"b"}}]}', 'duplicate key "params"'),
        (b'{"requests":[],"requests":[]}', 'duplicate key "requests"'),
        (b'{"requests":[}', "the body is not valid JSON"),
    ],
)
def test_wrong_batches_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(SpliceError, match=re.escape(message)):
        splice.batch_models(body)


def test_a_batch_of_too_many_requests_is_refused() -> None:
    body = b'{"requests":[' + b",".join([b'{"params":{"model":"a"}}'] * 100_001) + b"]}"
    with pytest.raises(SpliceError, match="more than 100000 items"):
        splice.batch_models(body)


@pytest.mark.parametrize("raw", [b"[1,1]", b'[{"role":"user"},{}]', b"{}", b'[{"role":7}]', b'[{"role":"\xff"}]'])
def test_what_is_no_conversation_ends_at_its_first_item(raw: bytes) -> None:
    with pytest.raises(splice.SpliceError, match="valid list of messages"):
        splice.turns(raw)


def test_a_conversation_has_a_bounded_length() -> None:
    turn = b'{"role":"user","content":""}'
    assert len(splice.turns(b"[" + b",".join([turn] * 100_000) + b"]")) == 100_000
    with pytest.raises(splice.SpliceError, match="at most 100000"):
        splice.turns(b"[" + b",".join([turn] * 100_001) + b"]")
