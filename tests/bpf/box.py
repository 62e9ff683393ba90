"""A box between two networks for program runs: what the vectors' surroundings say, made real."""

from collections import Counter
from pathlib import Path

from bpf.datapath import LoadedDatapath
from bpf.model import Port, Translation
from tests.bpf.namespaces import ip, veth
from tests.vectors import Surroundings, Vector

BOX4, BOX6 = bytes.fromhex("0200000000b4"), bytes.fromhex("0200000000b6")
FAR4, FAR6 = bytes.fromhex("0200000000f4"), bytes.fromhex("0200000000f6")
BOX_MAC = {4: BOX4, 6: BOX6}
FAR_MAC = {4: FAR4, 6: FAR6}
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
LARGEST_MTU = 40000


class Box:
    """Two veth devices in a namespace, a gateway behind each, and the programs loaded so far."""

    def __init__(self) -> None:
        self.ifindex = {}
        self.programs: dict[tuple[Translation, Surroundings], LoadedDatapath] = {}
        self.mtus = {"net4": LARGEST_MTU, "net6": LARGEST_MTU}
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", name).write_text("1")
        for family, own, via in (
            (4, "203.0.113.1", "203.0.113.254"),
            (6, "2001:db8:6::1", "fe80::f"),
        ):
            name = f"net{family}"
            self.ifindex[family], _ = veth(name, f"far{family}", "mtu", str(LARGEST_MTU))
            ip("link", "set", name, "address", BOX_MAC[family].hex(":"))
            ip("address", "add", own, "dev", name, *(["nodad"] if family == 6 else []))
            ip("neigh", "add", via, "lladdr", FAR_MAC[family].hex(":"), "dev", name)
            ip(f"-{family}", "route", "add", "default", "via", via, "dev", name, "onlink")
        ip("address", "add", "203.0.113.2", "dev", "lo")
        ip("address", "add", "2001:db8:6::2", "dev", "lo", "nodad")

    def program(self, vector: Vector) -> LoadedDatapath:
        """The program with the vector's settings; the devices have its MTUs."""
        box = vector.surroundings
        for name, mtu in (("net4", box.mtu4), ("net6", box.mtu6)):
            if self.mtus[name] != mtu:
                ip("link", "set", name, "mtu", str(mtu))
                self.mtus[name] = mtu
        key = (vector.translation, box)
        if key not in self.programs:
            ports = (
                Port("net4", self.ifindex[4], BOX4, box.mtu4, ipv4=box.ipv4),
                Port("net6", self.ifindex[6], BOX6, box.mtu6, ipv6=box.ipv6),
            )
            self.programs[key] = LoadedDatapath(ports, vector.translation, box.own)
        return self.programs[key]

    def close(self) -> None:
        for each in self.programs.values():
            each.close()


def reasons(program: LoadedDatapath) -> Counter[str]:
    """How often each reason was counted, over all ports and CPUs; the next-hop cache's aside."""
    total: Counter[str] = Counter()
    for port in program.counters():
        total.update(port.reasons)
    return Counter({name: n for name, n in total.items() if not name.startswith("next-hop-")})
