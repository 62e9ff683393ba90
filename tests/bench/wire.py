"""A wire through a box: source — wire — box — sink over veth, one such lane for each contender.

All lanes have the same cables, addresses, routes and settings; the box alone differs. The wire
stands for a NIC: an XDP program on each of its ends passes every frame on, so that the box gets
frames in pages with headroom, as from a driver, and not socket buffers.
"""

import time
from abc import ABC, abstractmethod
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from bpf.libbpf import Link
from bpf.model import Pref64, Translation
from tests.bench.control import ControlPlane, port
from tests.bench.namespaces import Namespace, end, mac, veth
from tests.bench.programs import opened

PREF64 = "2001:db8:64::"
PODS4 = IPv4Address("198.18.0.0")
WORLD4 = IPv4Address("198.19.0.0")
PODS6 = IPv6Address(PREF64 + str(PODS4))
WORLD6 = IPv6Address(PREF64 + str(WORLD4))
CLIENT6 = PODS6 + 2
SERVER4 = WORLD4 + 2
SERVER6 = WORLD6 + 2
OFFLOADS = "tx off tso off gso off sg off lro off"


class Lane(ABC):
    """Source, box and sink. ``translated``: IPv4 arrives at the sink, else IPv6.

    ``process_cpu``: where the box's processes run, if it has any.
    """

    title: str
    translated = True

    def __init__(self, folder: Path, process_cpu: int) -> None:
        self.folder = folder
        self.process_cpu = process_cpu
        self.source = Namespace(f"{self.title}-source", folder)
        self.box = Namespace(f"{self.title}-box", folder)
        self.sink = Namespace(f"{self.title}-sink", folder)
        self.wire = Namespace(f"{self.title}-wire", folder)
        veth(self.source, "src0", self.wire, "wire0")
        veth(self.wire, "wire1", self.box, "box0")
        veth(self.sink, "snk0", self.box, "box1")
        self.server = str(SERVER4 if self.translated else SERVER6)
        for space in (self.source, self.wire, self.box, self.sink):
            for path in ("ipv4/conf/all/rp_filter", "ipv4/conf/default/rp_filter"):
                space.sysctl(path, 0)
        self.box.sysctl("ipv4/ip_forward", 1)
        self.box.sysctl("ipv6/conf/all/forwarding", 1)
        for space, name in self.ends():
            space.run("ethtool", "-K", name, *OFFLOADS.split(), "gro", "on")
        self.pass_on()
        self.addresses()
        self.neighbours()
        self.set_up_box()

    def ends(self) -> list[tuple[Namespace, str]]:
        return [
            (self.source, "src0"),
            (self.wire, "wire0"),
            (self.wire, "wire1"),
            (self.box, "box0"),
            (self.box, "box1"),
            (self.sink, "snk0"),
        ]

    def pass_on(self) -> None:
        self.links = []
        for here, there in (("wire0", "wire1"), ("wire1", "wire0")):
            owner = opened("traffic", {"out_ifindex": self.wire.index(there)})
            with self.wire.inside():
                link = Link.attach_xdp(owner.program("pass_on"), self.wire.index(here))
            self.links.append(link)

    def addresses(self) -> None:
        for space, name, address, length in (
            (self.source, "src0", "2001:db8:1::2", 64),
            (self.source, "src0", str(CLIENT6), 128),
            (self.box, "box0", "2001:db8:1::1", 64),
            (self.box, "box1", "2001:db8:2::1", 64),
            (self.sink, "snk0", "2001:db8:2::2", 64),
            (self.sink, "snk0", str(SERVER6), 128),
            (self.box, "box1", "192.0.2.1", 24),
            (self.sink, "snk0", "192.0.2.2", 24),
            (self.sink, "snk0", str(SERVER4), 32),
        ):
            space.ip.addr("add", index=space.index(name), address=address, prefixlen=length)
        for space, name, destination, gateway in (
            (self.source, "src0", "::/0", "2001:db8:1::1"),
            (self.box, "box0", f"{PODS6}/112", "2001:db8:1::2"),
            (self.box, "box1", f"{WORLD6}/112", "2001:db8:2::2"),
            (self.box, "box1", f"{WORLD4}/16", "192.0.2.2"),
            (self.sink, "snk0", f"{PODS6}/112", "2001:db8:2::1"),
            (self.sink, "snk0", f"{PODS4}/16", "192.0.2.1"),
        ):
            space.ip.route("add", dst=destination, gateway=gateway, oif=space.index(name))

    def neighbours(self) -> None:
        for space, name, address, owner, other in (
            (self.source, "src0", "2001:db8:1::1", self.box, "box0"),
            (self.box, "box0", "2001:db8:1::2", self.source, "src0"),
            (self.box, "box1", "2001:db8:2::2", self.sink, "snk0"),
            (self.box, "box1", "192.0.2.2", self.sink, "snk0"),
            (self.sink, "snk0", "2001:db8:2::1", self.box, "box1"),
            (self.sink, "snk0", "192.0.2.1", self.box, "box1"),
        ):
            permanent_neighbour(space, name, address, mac(owner, other))

    @abstractmethod
    def set_up_box(self) -> None: ...

    def close(self) -> None:
        for link in self.links:
            link.close()
        for space in (self.source, self.wire, self.box, self.sink):
            space.close()


class Forwarding(Lane):
    """Plain IPv6 forwarding by the kernel."""

    title = "kernel"
    translated = False

    def set_up_box(self) -> None:
        pass


class Tayga(Lane):
    """TAYGA, Debian's package, with routes to its TUN device."""

    title = "tayga"

    def set_up_box(self) -> None:
        config = self.folder / "tayga.conf"
        config.write_text(
            f"tun-device nat64\nipv4-addr 192.0.2.250\nprefix {PREF64}/96\ndata-dir {self.folder}\n"
        )
        self.process = self.box.start(
            ["tayga", "--nodetach", "--config", str(config)], self.process_cpu
        )
        deadline = time.monotonic() + 10
        while not self.box.ip.link_lookup(ifname="nat64"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("tayga did not start")
            time.sleep(0.05)
        index = self.box.index("nat64")
        self.box.ip.link("set", index=index, state="up")
        self.box.ip.route("add", dst=f"{PODS4}/16", oif=index)
        self.box.ip.route("del", dst=f"{WORLD6}/112")
        self.box.ip.route("add", dst=f"{PREF64}/96", oif=index)

    def close(self) -> None:
        end(self.process)
        super().close()


class Edge64(Lane):
    """edge64's datapath on both ports of the box."""

    title = "edge64"

    def set_up_box(self) -> None:
        pref64 = Pref64(IPv6Network(f"{PREF64}/96"), ipv6_hosts=(IPv4Network(f"{PODS4}/16"),))
        ports = [
            port(self.box, "box0", None, "2001:db8:1::1"),
            port(self.box, "box1", "192.0.2.1", "2001:db8:2::1"),
        ]
        translation = Translation((pref64,))
        self.control = ControlPlane(self.box, self.folder, ports, translation, self.process_cpu)

    def close(self) -> None:
        self.control.close()
        super().close()


def permanent_neighbour(space: Namespace, name: str, address: str, lladdr: bytes) -> None:
    space.ip.neigh(
        "replace", ifindex=space.index(name), dst=address, lladdr=lladdr.hex(":"), state="permanent"
    )
