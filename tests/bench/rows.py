"""The rows of a benchmark run: values, ratios, goals, the table and the JSON (pure)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One figure. ``ratio`` is ``value`` ÷ the value of the row named ``against``."""

    name: str
    value: float
    unit: str
    ratio: float | None
    against: str | None


@dataclass(frozen=True)
class Goal:
    """What was wanted of the figures, in words, and whether this run has it."""

    text: str
    found: str
    met: bool


class Report:
    """Rows in the order in which they were measured, goals beside them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.goals: list[Goal] = []
        self.notes: list[str] = []

    def add(self, name: str, value: float, unit: str, against: str | None = None) -> None:
        """Adds a figure; ``against`` names a row of this very report, or the new row itself."""
        if any(row.name == name for row in self.rows):
            raise ValueError(f"{name}: measured twice")
        base = value if against == name else self.value(against) if against else None
        ratio = value / base if base else None
        self.rows.append(Row(name, value, unit, ratio, against))

    def value(self, name: str) -> float:
        for row in self.rows:
            if row.name == name:
                return row.value
        raise KeyError(f"no row is named {name}")

    def has(self, *names: str) -> bool:
        return {row.name for row in self.rows}.issuperset(names)

    def goal(self, text: str, found: float, limit: float, unit: str, at_most: bool) -> None:
        met = found <= limit if at_most else found >= limit
        sign = "≤" if at_most else "≥"
        wanted = f"{text} {sign} {number(limit)} {unit}".rstrip()
        self.goals.append(Goal(wanted, f"{number(found)} {unit}".rstrip(), met))

    def json(self) -> str:
        return json.dumps([asdict(row) for row in self.rows], indent=1) + "\n"

    def table(self) -> str:
        """The rows, notes and goals as text."""
        head = ("row", "value", "unit", "ratio", "against")
        lines = [head] + [
            (
                row.name,
                number(row.value),
                row.unit,
                f"{row.ratio:.2f}" if row.ratio is not None else "",
                row.against or "",
            )
            for row in self.rows
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        right = (False, True, False, True, False)
        out = ["  ".join(map(aligned, line, widths, right)).rstrip() for line in lines]
        out.insert(1, "  ".join("-" * width for width in widths))
        out += [""] + self.notes if self.notes else []
        if self.goals:
            out += [""] + [
                f"{'met   ' if goal.met else 'MISSED'}  {goal.text}: {goal.found}"
                for goal in self.goals
            ]
        return "\n".join(out)


def aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def number(value: float) -> str:
    """As many digits as the figure is good for."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def interleaved(
    measures: Mapping[str, Callable[[], float]], rounds: int, best: bool = False
) -> dict[str, float]:
    """Runs all measures in turn, ``rounds`` times, and returns each one's median (or, with
    ``best``, its minimum): what disturbs the machine for a while then disturbs all alike."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    names = list(measures)
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            found[name].append(measures[name]())
    return {name: (min if best else median)(values) for name, values in found.items()}


def scale(bare_tx_ns: float) -> float:
    """Goals in nanoseconds hold where the bare ``return XDP_TX`` reads 25 to 30; what to multiply
    them by on this machine. 1 within that span."""
    return bare_tx_ns / min(max(bare_tx_ns, 25.0), 30.0)


def net(gross: float, base: float) -> float:
    return max(gross - base, 0.0)
