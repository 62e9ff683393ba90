"""What the slow path counts, and the file that shows it."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Counters:
    """``packets``: what came and went. ``drops``: by reason. ``icmp_errors``: our own, by fate."""

    packets: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    icmp_errors: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> str:
        return json.dumps(
            {
                "packets": dict(sorted(self.packets.items())),
                "drops": dict(sorted(self.drops.items())),
                "icmp-errors": dict(sorted(self.icmp_errors.items())),
            }
        )


class CountersFile:
    """Written whole or not at all, and only when something was counted since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = ""

    def write(self, counters: Counters) -> None:
        text = counters.as_json()
        if text == self._written:
            return
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.write_text(text + "\n")
        fresh.replace(self._path)
        self._written = text
