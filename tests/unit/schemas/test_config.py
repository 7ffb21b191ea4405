"""What a person who mistyped a setting is told."""

import msgspec
import pytest

from schemas.config import load
from schemas.errors import ConfigError


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str = ""
    limit_ms: int = 1


class Raise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="raise"):
    above: float


class Clear(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="clear"):
    below: float


class Outer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    inner: Inner = Inner()
    row: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = msgspec.field(default_factory=dict)
    maybe: Inner | None = None
    step: Raise | Clear | None = None
    asn: int = msgspec.field(default=0, name="as")


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, Outer, source="x.toml")
    return str(caught.value)


def test_a_good_text_becomes_the_struct_with_its_defaults() -> None:
    outer = load('name = "a"\nas = 7\n[[row]]\nlimit_ms = 3', Outer, source="x.toml")
    assert outer == Outer(name="a", row=(Inner(limit_ms=3),), asn=7)


def test_an_unknown_key_names_file_line_table_key_and_the_nearest_name() -> None:
    text = 'name = "a"\n[inner]\nlimt_ms = 3'
    assert refusal(text) == "x.toml:3: inner: unknown key `limt_ms`; did you mean `limit_ms`?"


def test_an_unknown_key_far_from_any_name_lists_what_is_known() -> None:
    assert refusal('name = "a"\n[inner]\nzzz = 3') == "x.toml:3: inner: unknown key `zzz`; known: id, limit_ms"


def test_all_unknown_keys_are_told_at_once() -> None:
    said = refusal('nme = "a"\n[maybe]\nlimitms = 1\n[by_name.k]\nidd = "q"\n').splitlines()
    assert [line.split(";")[0] for line in said] == [
        "x.toml:1: the top level: unknown key `nme`",
        "x.toml:3: maybe: unknown key `limitms`",
        "x.toml:5: by_name.k: unknown key `idd`",
    ]


def test_the_second_entry_of_an_array_is_told_from_the_first() -> None:
    assert refusal('name = "a"\n[[row]]\nid = "p"\n[[row]]\nid = "q"\nlimit_sm = 2').startswith("x.toml:6: row[1]: ")


def test_an_entry_on_one_line_is_found_by_its_id() -> None:
    text = 'name = "a"\nrow = [\n { id = "p", limit_ms = 1 },\n { id = "q", limit_ms = "2" },\n]'
    assert refusal(text) == "x.toml:4: row[1].limit_ms: expected `int`, got `str`"


def test_a_line_that_cannot_be_known_is_not_guessed() -> None:
    text = 'name = "a"\nrow = [\n { limit_ms = 1 },\n { limit_ms = "2" },\n]'
    assert refusal(text) == "x.toml: row[1].limit_ms: expected `int`, got `str`"


def test_a_value_is_never_bent_to_the_type() -> None:
    assert refusal("name = 5") == "x.toml:1: name: expected `str`, got `int`"


def test_a_missing_key_is_named() -> None:
    assert refusal("") == "x.toml: the top level: `name` is missing; write it"


def test_a_key_inside_the_chosen_kind_of_a_union_is_checked() -> None:
    said = refusal('name = "a"\n[step]\ntype = "raise"\nabov = 1.0')
    assert said == "x.toml:4: step: unknown key `abov`; did you mean `above`?"


@pytest.mark.parametrize("text", ['name = "a"\nname = "b"', "name = ", '[inner]\n[inner]\nname = "a"'])
def test_text_that_is_not_toml_or_says_a_thing_twice_is_refused(text: str) -> None:
    assert "not valid TOML" in refusal(text)


def test_a_broken_line_is_named() -> None:
    assert refusal('name = "a"\nx = [[').startswith("x.toml")
    assert refusal('a = 1\nname = "a" b').startswith("x.toml:2: not valid TOML")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    said = refusal(f'name = "a"\n[step]\ntype = "raise"\nabove = {number}')
    assert said == f"x.toml:4: {number} is no number; write a finite one"
