"""The next-hop cache's truth, for a process that watches netlink beside the one that commits.

Works on the maps that ``Datapath`` pinned; which program runs on the ports does not matter.
"""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Self

from bpf.errors import BpfError
from bpf.libbpf import Object
from bpf.objects import object_path
from bpf.settings import jiffies_per_second

RUNTIME = ".data.runtime"
_USED = "next_hops_used"
_HEARTBEAT = "edge64_heartbeat"


class NextHopState:
    """``runtime`` and ``next_hops_used`` of a datapath, and its heartbeat."""

    def __init__(self, pin_dir: Path) -> None:
        """Raises BpfError while nothing was committed there."""
        pins = {name: pin_dir / f"map-{name.strip('.').replace('.', '-')}" for name in _MAPS}
        missing = [str(path) for path in pins.values() if not path.exists()]
        if missing:
            raise BpfError(f"no datapath yet: {', '.join(missing)}", "commit one first")
        with Object.open(object_path("edge64")) as loaded:
            loaded.only(_HEARTBEAT)
            for name, path in pins.items():
                loaded.definition(name).reuse_pinned(path)
            loaded.load()
            self._beat = loaded.program(_HEARTBEAT)
            self._used = loaded.map(_USED)
            self._runtime_map = loaded.map(RUNTIME)
            self._layout = loaded.btf.struct("runtime")
            self._key = loaded.btf.struct("next_hop_key")
        self._runtime = self._runtime_map.mmap()
        self._hz = jiffies_per_second()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def heartbeat(self) -> None:
        """Declare that every change up to now has been heard of."""
        self._beat.call()

    def invalidate(self) -> None:
        """Nothing kept of next hops counts any more."""
        at = self._layout.offset("generation")
        cell = self._runtime[at : at + 4].cast("B").cast("I")
        cell[0] = (cell[0] + 1) & 0xFFFFFFFF

    def route_masks(self) -> tuple[int, int, int]:
        """The masks as they stand in memory: IPv4, IPv6 high, IPv6 low."""
        record = self._layout.unpack(self._runtime[: self._layout.size])
        high, low = record["route_mask6"]
        return record["route_mask4"], high, low

    def set_route_bits(self, ipv4: int, ipv6: int) -> bool:
        """Block lengths of the two families; False when they were that already.

        What was kept under other lengths must be invalidated after.
        """
        wanted = _masks(ipv4, ipv6)
        if self.route_masks() == wanted:
            return False
        mask4, high, low = wanted
        at = self._layout.offset("route_mask4")
        self._runtime[at : at + 4].cast("B").cast("I")[0] = mask4
        at = self._layout.offset("route_mask6")
        words = self._runtime[at : at + 16].cast("B").cast("Q")
        words[0], words[1] = high, low
        return True

    def in_use(self, within_seconds: float) -> list[tuple[int, IPv4Address | IPv6Address]]:
        """(ifindex, address) of next hops that the datapath asked for in the last seconds."""
        now = self._layout.unpack(self._runtime[: self._layout.size])["heartbeat"]
        oldest = now - round(within_seconds * self._hz)
        found: list[tuple[int, IPv4Address | IPv6Address]] = []
        for raw, value in self._used.read_all():
            if int.from_bytes(value, "little") < oldest:
                continue
            key = self._key.unpack(raw)
            octets = key["address"]
            address = IPv4Address(octets[:4]) if key["family"] == 4 else IPv6Address(octets)
            found.append((key["ifindex"], address))
        return found

    def close(self) -> None:
        for each in (self._beat, self._used, self._runtime_map):
            each.close()


_MAPS = (RUNTIME, _USED)


def _masks(ipv4: int, ipv6: int) -> tuple[int, int, int]:
    mask4 = (0xFFFFFFFF << (32 - ipv4)) & 0xFFFFFFFF
    mask6 = (((1 << 128) - 1) << (128 - ipv6)) & ((1 << 128) - 1)
    octets = mask6.to_bytes(16, "big")
    return (
        int.from_bytes(mask4.to_bytes(4, "big"), "little"),
        int.from_bytes(octets[:8], "little"),
        int.from_bytes(octets[8:], "little"),
    )
