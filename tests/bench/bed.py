"""A box between pods and world for program runs, with the datapath on both of its ports.

256 routes with a gateway each on both sides, permanent neighbours, a real commit: a run of the
datapath's program makes its whole decision there.
"""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from bpf.libbpf import Program
from bpf.model import EamEntry, Pref64, Translation
from tests.bench.control import ControlPlane, port
from tests.bench.frames import Flows, Frame
from tests.bench.namespaces import Namespace, mac, veth

PREFIX = IPv6Network("64:ff9b::/96")
BENCHMARKS = IPv4Network("198.18.0.0/15")
PODS4 = IPv4Network("198.18.0.0/16")
WORLD4 = IPv4Network("198.19.0.0/16")
PODS6 = PREFIX[int(PODS4[0])]
WORLD6 = PREFIX[int(WORLD4[0])]
EAM6 = IPv6Network("2001:db8:ea::/112")
NEXT_HOPS = 256


class Bed:
    """A box between pods and world, with the datapath on both ports."""

    def __init__(self, title: str, folder: Path, eam: bool, cpu: int) -> None:
        self.box = Namespace(title, folder)
        self.far = Namespace(f"{title}-far", folder)
        veth(self.far, "pods", self.box, "box0")
        veth(self.far, "world", self.box, "box1")
        self.macs = {name: mac(self.box, name) for name in ("box0", "box1")}
        self.box.sysctl("ipv4/ip_forward", 1)
        self.box.sysctl("ipv6/conf/all/forwarding", 1)
        self.pods6 = EAM6[0] if eam else PODS6
        self.routes()
        ports = [
            port(self.box, "box0", "10.0.0.1", "2001:db8:1::1"),
            port(self.box, "box1", "10.1.0.1", "2001:db8:2::1"),
        ]
        self.control = ControlPlane(self.box, folder, ports, self.translation(eam), cpu)

    @property
    def program(self) -> Program:
        """The datapath's program, as it is attached to both ports."""
        assert self.control.datapath.current
        return self.control.datapath.current.program

    def routes(self) -> None:
        ip = self.box.ip
        pods, world = self.box.index("box0"), self.box.index("box1")
        for index, address, length in (
            (pods, "2001:db8:1::1", 64),
            (pods, "10.0.0.1", 24),
            (world, "2001:db8:2::1", 64),
            (world, "10.1.0.1", 16),
        ):
            ip.addr("add", index=index, address=address, prefixlen=length)
        for n in range(NEXT_HOPS):
            for index, gateway, destination, length in (
                (pods, gateway6(n), self.pods6 + (n << 8), 120),
                (world, gateway4(n), WORLD4[n << 8], 24),
            ):
                ip.neigh(
                    "replace",
                    ifindex=index,
                    dst=str(gateway),
                    lladdr=gateway_mac(gateway.version, n).hex(":"),
                    state="permanent",
                )
                ip.route("add", dst=f"{destination}/{length}", gateway=str(gateway), oif=index)

    def close(self) -> None:
        self.control.close()
        self.box.close()
        self.far.close()

    def translation(self, eam: bool) -> Translation:
        outside = Pref64(PREFIX, ipv6_hosts=() if eam else (PODS4,), allow_non_global=(BENCHMARKS,))
        entries = zip(PODS4.subnets(new_prefix=28), EAM6.subnets(new_prefix=124), strict=True)
        return Translation((outside,), tuple(EamEntry(*entry) for entry in entries) if eam else ())

    def flows(self, family: int, count: int) -> Flows:
        """Packets to be translated, as they come in."""
        if family == 4:
            return Flows(self.macs["box1"] + bytes(6), WORLD4[0], PODS4[0], count)
        return Flows(self.macs["box0"] + bytes(6), self.pods6, WORLD6, count)

    def translated(self, frame: Frame, found: bytes) -> bytes:
        """What must come out; the IPv4 identification is free (RFC 7915 section 5.1)."""
        gateway = int(frame.destination) >> 8 & 0xFF
        hop_limit = frame.hop_limit - 1
        if frame.source.version == 4:
            return replace(
                frame,
                macs=gateway_mac(6, gateway) + self.macs["box0"],
                source=WORLD6 + (int(frame.source) & 0xFFFF),
                destination=self.pods6 + (int(frame.destination) & 0xFFFF),
                hop_limit=hop_limit,
            ).packed()
        return replace(
            frame,
            macs=gateway_mac(4, gateway) + self.macs["box1"],
            source=PODS4[int(frame.source) & 0xFFFF],
            destination=WORLD4[int(frame.destination) & 0xFFFF],
            hop_limit=hop_limit,
            identification=int.from_bytes(found[18:20], "big"),
        ).packed()


def gateway4(n: int) -> IPv4Address:
    return IPv4Address("10.1.1.0") + n


def gateway6(n: int) -> IPv6Address:
    return IPv6Address("2001:db8:1::1:0") + n


def gateway_mac(version: int, n: int) -> bytes:
    return bytes([2, 0x64, version, 0, 0, n])
