"""YAML text → data and places: everything that is wrong with the text, and nothing that is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.document import MAX_DEPTH, parse
from appliance.config.problems import ConfigError, Problem, path_text


def problems_of(text: str) -> list[Problem]:
    try:
        return list(parse(text).problems)
    except ConfigError as error:
        return list(error.problems)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: [x, 'y', \"z\"]\n", {"a": 1, "b": ["x", "y", "z"]}),
        ("a: [2001:db8:64::1/64, 64:ff9b::/96]", {"a": ["2001:db8:64::1/64", "64:ff9b::/96"]}),
        ("{a: 2001:db8::, b: ::1}", {"a": "2001:db8::", "b": "::1"}),
        ("a: ~\nb:\nc: null\nd: 'null'", {"a": None, "b": None, "c": None, "d": "null"}),
        ("a: yes\nb: on\nc: true\nd: False", {"a": "yes", "b": "on", "c": True, "d": False}),
        ("a: 0x10\nb: 0o17\nc: 017\nd: -3\ne: 1e3", {"a": 16, "b": 15, "c": 17, "d": -3, "e": 1e3}),
        ("a: 1:30\nb: 2020-01-01\nc: 1_000", {"a": "1:30", "b": "2020-01-01", "c": "1_000"}),
        ("a: '5'\nb: |\n  x\n", {"a": "5", "b": "x\n"}),
        ("# only a comment\n", None),
        ("- a\n- {b: 1}\n", ["a", {"b": 1}]),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, data: object) -> None:
    document = parse(text)
    assert document.data == data
    assert document.problems == ()


@pytest.mark.parametrize(
    ("text", "line", "column", "found"),
    [
        ("a: [1\nb: 2", 2, 2, "','"),
        ("a: 1\n b: 2", 2, 3, "mapping values are not allowed"),
        ("a:\n\t- 1", 2, 1, "cannot start any token"),
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document"),
        ("a: \x00", 1, 1, "characters are not allowed"),
        ("[" * (MAX_DEPTH + 1), 1, MAX_DEPTH + 1, "nested deeper"),
        ("[" * 100_000, 1, MAX_DEPTH + 1, "nested deeper"),
    ],
)
def test_text_that_is_not_yaml_is_told_with_its_place(
    text: str, line: int, column: int, found: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.line, problem.column) == (line, column)
    assert found in problem.found


@pytest.mark.parametrize(
    ("text", "path", "line", "found"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", 3, "'a' again"),
        ("x:\n  - {a: 1, a: 2}\n", "x[0].a", 2, "'a' again"),
        ("x: &here 1\n", "x", 1, "anchor &here"),
        ("x: &here 1\ny: *here\n", "y", 2, "alias *here"),
        ("x: !!python/object 1\n", "x", 1, "the tag"),
        ("x:\n  ? [a]\n  : b\n", "x", 2, "no plain word"),
        ("a: &a [*a]", "a[0]", 1, "alias *a"),
    ],
)
def test_what_yaml_allows_and_we_do_not(text: str, path: str, line: int, found: str) -> None:
    problems = problems_of(text)
    assert any(
        path_text(one.path) == path and one.line == line and found in one.found for one in problems
    ), [str(one) for one in problems]


def test_first_of_duplicate_keys_is_kept_and_each_repetition_told() -> None:
    document = parse("a: 1\na: {b: 2}\nc: 3\na: 4\n")
    assert document.data == {"a": 1, "c": 3}
    assert [one.line for one in document.problems] == [2, 4]


def test_place_of_what_is_not_there_is_that_of_what_holds_it() -> None:
    document = parse("a:\n  - b: 1\n  - c: 2\n")
    assert document.place(("a", 1, "c")) == (3, 5)
    assert document.place(("a", 1, "missing", 7)) == (3, 5)
    assert document.place(("nothing",)) == (1, 1)


@given(st.text(max_size=200))
def test_any_text_gives_a_document_or_problems(text: str) -> None:
    try:
        parse(text)
    except ConfigError as error:
        assert error.problems


@given(st.text(alphabet="ab:-[]{},#&*!|>'\"\n ?%@`1~", max_size=60))
def test_any_yaml_like_text_gives_a_document_or_problems(text: str) -> None:
    try:
        parse(text)
    except ConfigError as error:
        assert error.problems
