"""A worker's counters, written as JSON beside those of its siblings.

The file is ``{"worker", "pid", "started", "written", "counters": {NAME: [{LABEL…, "value"}]}}``,
times in Unix seconds. Counters begin anew with the process; ``started`` tells.
"""

import json
import os
import time
from collections import Counter
from pathlib import Path

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "queries": ("Queries that came in", ("transport", "type")),
    "answers": ("Answers by the decision behind them", ("rule",)),
    "rcodes": ("Answers by RCODE", ("rcode",)),
    "ignored": ("Messages that got no answer", ("reason",)),
    "refused": ("Queries answered with an error at once", ("reason",)),
    "joined": ("Queries that waited for another's upstream query", ()),
    "truncated": ("UDP answers cut to TC", ()),
    "send_failed": ("UDP answers that the kernel did not take", ()),
    "upstream_queries": ("Queries to upstreams", ("upstream", "transport")),
    "upstream_failures": ("What went wrong with upstreams", ("upstream", "reason")),
    "tcp_connections": ("Connections from clients", ("outcome",)),
    "internal_errors": ("Faults of our own that became SERVFAIL", ()),
    "reloads": ("Settings read again", ("outcome",)),
}
"""Name → (help, labels); the one table of metrics."""


class Stats:
    """Counters by name and label values."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._started = time.time()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def count(self, name: str, *labels: str) -> None:
        self._counts[(name, *labels)] += 1

    def value(self, name: str, *labels: str) -> int:
        """One counter; labels left out at the end are summed over."""
        wanted = (name, *labels)
        return sum(n for key, n in self._counts.items() if key[: len(wanted)] == wanted)

    def as_data(self) -> dict[str, object]:
        counters: dict[str, list[dict[str, str | int]]] = {name: [] for name in COUNTERS}
        for (name, *labels), value in sorted(self._counts.items()):
            row: dict[str, str | int] = dict(zip(COUNTERS[name][1], labels, strict=True))
            counters[name].append({**row, "value": value})
        return {
            "worker": self._worker,
            "pid": os.getpid(),
            "started": self._started,
            "written": time.time(),
            "counters": counters,
        }

    def write(self, folder: Path) -> None:
        """Replace ``worker-N.json`` in one step."""
        path = folder / f"worker-{self._worker}.json"
        beside = folder / f".worker-{self._worker}.json.new"
        beside.write_text(json.dumps(self.as_data()))
        beside.replace(path)
