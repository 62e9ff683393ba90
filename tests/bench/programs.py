"""The benchmarks' own programs, and the flows that they make frames of."""

from collections.abc import Mapping
from pathlib import Path

from bpf.codec import Value
from bpf.libbpf import Object
from bpf.maps import Map
from tests.bench.frames import Flows

FIRST = (0).to_bytes(4, "little")
OBJECTS = Path(__file__).parents[2] / "build/bpf"


def opened(name: str, constants: Mapping[str, int] | None = None) -> Object:
    """Loads ``NAME.bpf.o`` of this folder."""
    bench_object = Object.open(OBJECTS / f"{name}.bpf.o")
    if constants:
        bench_object.set_constants(constants)
    bench_object.load()
    return bench_object


class FlowMap:
    """The ``flows`` variable of a wrapper or generator."""

    def __init__(self, owner: Object) -> None:
        self.map: Map = owner.map(".data.flows")
        self.codec = owner.btf.section(".data.flows").codec("flows")

    def set(self, flows: Flows, first: int = 0) -> None:
        """The next frame is packet ``first`` of ``flows``."""
        head, ip_sum, l4_sum = flows.blank()
        value: Value = {
            "next": first,
            "mask": flows.count - 1,
            "ip_sum": ip_sum,
            "l4_sum": l4_sum,
            "head": head.ljust(62, b"\0"),
        }
        self.map.update(FIRST, self.codec.pack(value))
