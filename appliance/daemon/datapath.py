"""What the daemon needs of the datapath; ``bpf.datapath.Datapath`` has it, tests have a fake."""

from collections.abc import Sequence
from typing import Protocol

from bpf.datapath import CommitReport, PortCounters
from bpf.model import BoxAddresses, Port, Translation


class DatapathLike(Protocol):
    def commit(
        self, ports: Sequence[Port], translation: Translation, own: BoxAddresses
    ) -> CommitReport: ...

    def counters(self) -> list[PortCounters]: ...
