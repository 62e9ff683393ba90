"""The benchmark's rows, ratios and goals."""

import json
from functools import partial

import pytest

from tests.bench.rows import Report, interleaved, number, scale


def test_ratio_is_value_by_the_other_rows_value() -> None:
    report = Report()
    report.add("bare", 25, "ns", "bare")
    report.add("ours", 100, "ns", "bare")
    report.add("alone", 3, "µs")
    assert json.loads(report.json()) == [
        {"name": "bare", "value": 25, "unit": "ns", "ratio": 1, "against": "bare"},
        {"name": "ours", "value": 100, "unit": "ns", "ratio": 4, "against": "bare"},
        {"name": "alone", "value": 3, "unit": "µs", "ratio": None, "against": None},
    ]


def test_a_row_that_is_not_there_or_twice() -> None:
    report = Report()
    with pytest.raises(KeyError, match="bare"):
        report.add("ours", 100, "ns", "bare")
    report.add("ours", 100, "ns")
    with pytest.raises(ValueError, match="twice"):
        report.add("ours", 100, "ns")


def test_table_shows_rows_and_both_kinds_of_goals() -> None:
    report = Report()
    report.add("ours", 1234567, "packets/s")
    report.goal("ours", 110, 123, "ns", at_most=True)
    report.goal("ratio", 7.9, 8, "", at_most=False)
    lines = report.table().splitlines()
    assert lines[0].split() == ["row", "value", "unit", "ratio", "against"]
    assert lines[2].split() == ["ours", "1,234,567", "packets/s"]
    assert lines[-2:] == ["met     ours ≤ 123.0 ns: 110.0 ns", "MISSED  ratio ≥ 8.00: 7.90"]


@pytest.mark.parametrize(("bare", "factor"), [(25, 1), (28, 1), (30, 1), (60, 2), (12.5, 0.5)])
def test_scale(bare: float, factor: float) -> None:
    assert scale(bare) == factor


def test_interleaved_takes_turns_and_medians() -> None:
    order: list[str] = []
    figures = {"a": iter([1.0, 9.0, 2.0]), "b": iter([5.0, 4.0, 6.0])}

    def measure(name: str) -> float:
        order.append(name)
        return next(figures[name])

    measures = {name: partial(measure, name) for name in "ab"}
    assert interleaved(measures, 3) == {"a": 2.0, "b": 5.0}
    assert order == ["a", "b", "b", "a", "a", "b"]
    figures["a"], figures["b"] = iter([3.0, 1.0]), iter([7.0, 8.0])
    assert interleaved(measures, 2, best=True) == {"a": 1.0, "b": 7.0}


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (12.34, "12.3"), (1.234, "1.23")])
def test_number(value: float, text: str) -> None:
    assert number(value) == text
