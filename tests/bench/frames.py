"""The frames of the benchmarks, and what a translator must make of them (pure).

``flows_shared.h`` computes the same frames in BPF; the translated ones are built here from the
rules of RFC 7915, so that every measured run can be checked octet by octet.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
UDP = 17
HOP_LIMIT = 64
PAYLOAD = bytes(range(0x41, 0x41 + 18))

FLOW_STRIDE = 40503
SOURCE_TWIST = 0x5A5A
SPORT_TWIST = 0x8001
DPORT_TWIST = 0x1357

Address = IPv4Address | IPv6Address


def raw_sum(*parts: bytes) -> int:
    """The unfolded sum of 16-bit words as they lie in a little-endian machine's memory."""
    return sum(
        int.from_bytes(part[i : i + 2], "little") for part in parts for i in range(0, len(part), 2)
    )


def checksum(*parts: bytes) -> bytes:
    """The Internet checksum (RFC 1071) of parts of even length, in network order."""
    total = raw_sum(*parts)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2, "little")


@dataclass(frozen=True)
class Frame:
    """A UDP packet in an Ethernet frame; ``destination_mac + source_mac`` in ``macs``."""

    macs: bytes
    source: Address
    destination: Address
    sport: int
    dport: int
    hop_limit: int = HOP_LIMIT
    identification: int = 0
    payload: bytes = PAYLOAD

    @property
    def udp_length(self) -> int:
        return 8 + len(self.payload)

    def pseudo_header(self) -> bytes:
        length = self.udp_length.to_bytes(4, "big")
        return self.source.packed + self.destination.packed + length + bytes([0, 0, 0, UDP])

    def ip_header(self) -> bytes:
        addresses = self.source.packed + self.destination.packed
        if self.source.version == 6:
            length = self.udp_length.to_bytes(2, "big")
            return b"\x60\0\0\0" + length + bytes([UDP, self.hop_limit]) + addresses
        length = (20 + self.udp_length).to_bytes(2, "big")
        head = b"\x45\0" + length + self.identification.to_bytes(2, "big")
        head += bytes([0, 0, self.hop_limit, UDP])
        return head + checksum(head, addresses) + addresses

    def udp_header(self) -> bytes:
        head = self.sport.to_bytes(2, "big") + self.dport.to_bytes(2, "big")
        head += self.udp_length.to_bytes(2, "big")
        value = checksum(self.pseudo_header(), head, self.payload)
        return head + (value if value != b"\0\0" else b"\xff\xff")

    def packed(self) -> bytes:
        ethernet = self.macs + ETHERTYPE[self.source.version]
        return ethernet + self.ip_header() + self.udp_header() + self.payload


@dataclass(frozen=True)
class Flows:
    """A family of flows: ``source`` and ``destination`` are those whose low 16 bits are 0."""

    macs: bytes
    source: Address
    destination: Address
    count: int = 1
    payload: bytes = PAYLOAD

    def __post_init__(self) -> None:
        if self.count & (self.count - 1) or not 1 <= self.count <= 65536:
            raise ValueError(f"{self.count} flows: a power of two up to 65536")
        for address in (self.source, self.destination):
            if int(address) & 0xFFFF:
                raise ValueError(f"{address}: its low 16 bits are the flow's")

    def number(self, packet: int) -> int:
        """The flow that the n-th packet belongs to."""
        return packet * FLOW_STRIDE & (self.count - 1)

    def frame(self, packet: int) -> Frame:
        """The n-th packet."""
        flow = self.number(packet)
        return Frame(
            self.macs,
            self.source + (flow ^ SOURCE_TWIST),
            self.destination + flow,
            flow ^ SPORT_TWIST,
            flow ^ DPORT_TWIST,
            payload=self.payload,
        )

    def blank(self) -> tuple[bytes, int, int]:
        """For the BPF side: the headers where what a flow changes is 0, and the sums of the IP
        header and of the rest with its pseudo-header."""
        frame = Frame(self.macs, self.source, self.destination, 0, 0, payload=self.payload)
        ip = bytearray(frame.ip_header())
        if self.source.version == 4:
            ip[10:12] = b"\0\0"
        udp = frame.udp_header()[:6] + b"\0\0"
        head = self.macs + ETHERTYPE[self.source.version] + bytes(ip) + udp
        return head, raw_sum(bytes(ip)), raw_sum(frame.pseudo_header(), udp, self.payload)


def differences(expected: bytes, found: bytes) -> Iterable[str]:
    """What is wrong with a frame, octet by octet; nothing where it is right."""
    if len(expected) != len(found):
        yield f"{len(found)} octets, not {len(expected)}"
    for offset, (want, have) in enumerate(zip(expected, found, strict=False)):
        if want != have:
            yield f"octet {offset} is {have:02x}, not {want:02x}"
