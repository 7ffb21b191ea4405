import pytest
from support.board_macros import expand


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$__timeFilter(col)", "col >= toDateTime(10) AND col <= toDateTime(20)"),
        ("$__timeFilter(f(g(x), 1)) AND 1", "f(g(x), 1) >= toDateTime(10) AND f(g(x), 1) <= toDateTime(20) AND 1"),
        ("$__fromTime, $__toTime", "toDateTime(10), toDateTime(20)"),
        ("x = ${v:singlequote}", r"x = 'o\'brien\\'"),
        ("x IN (${many:singlequote})", "x IN ('a','b')"),
    ],
)
def test_a_text_becomes_what_the_datasource_would_ask(text: str, wanted: str) -> None:
    assert expand(text, from_s=10, to_s=20, variables={"v": "o'brien\\", "many": ["a", "b"]}) == wanted


@pytest.mark.parametrize("text", ["$__unknown(x)", "${other}", "$__timeFilter(open"])
def test_what_is_not_known_is_refused_instead_of_asked(text: str) -> None:
    with pytest.raises(ValueError, match=r"expanded|unbalanced"):
        expand(text, from_s=10, to_s=20, variables={})
