"""What the translator is told about a packet's surroundings, and what it answers."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from ipaddress import IPv4Address, IPv6Address


class Reason(StrEnum):
    """Why a packet was dropped; the names of docs/translation.md."""

    BAD_HEADER = "bad-header"
    BAD_CHECKSUM = "bad-checksum"
    BAD_EXTENSION_HEADER = "bad-extension-header"
    HEADER_AFTER_FRAGMENT = "header-after-fragment"
    BAD_FRAGMENT = "bad-fragment"
    SOURCE_ROUTE = "source-route"
    MULTICAST = "multicast"
    DESTINATION_NOT_TRANSLATABLE = "destination-not-translatable"
    NON_GLOBAL_ADDRESS = "non-global-address"
    SOURCE_SPOOFED = "source-spoofed"
    SOURCE_NOT_TRANSLATABLE = "source-not-translatable"
    SOURCE_UNMAPPED = "source-unmapped"
    PROTOCOL_NOT_TRANSLATABLE = "protocol-not-translatable"
    HOP_LIMIT = "hop-limit"
    L4_TRUNCATED = "l4-truncated"
    BAD_LENGTH = "bad-length"
    UDP_ZERO_CHECKSUM = "udp-zero-checksum"
    FRAGMENTED_ICMP = "fragmented-icmp"
    ICMP_NOT_TRANSLATABLE = "icmp-not-translatable"
    ICMP_ERROR_IN_ERROR = "icmp-error-in-error"
    INNER_INVALID = "inner-invalid"
    INNER_NOT_TRANSLATABLE = "inner-not-translatable"
    PACKET_TOO_BIG = "packet-too-big"
    NO_OWN_ADDRESS = "no-own-address"


UNMAPPED = frozenset((Reason.SOURCE_UNMAPPED, Reason.NON_GLOBAL_ADDRESS))
"""An ICMP error from such a source is sent on from another (RFC 6791)."""


class Direction(Enum):
    IPV4_TO_IPV6 = "4to6"
    IPV6_TO_IPV4 = "6to4"
    HAIRPIN = "hairpin"


class HopLimit(Enum):
    """What becomes of the hop limit of a translated packet.

    ``DECREMENT`` is XDP's own sending. ``KEEP`` leaves it to the kernel, which decrements later.
    ``RESTORE`` is the slow path: the kernel decremented once before and will again, so one is
    added, and a packet that arrived here with 1 still had 2 on the wire.
    """

    DECREMENT = -1
    KEEP = 0
    RESTORE = 1


def unpredictable_identification() -> int:
    """16 bits for the IPv4 identification of a packet that may be fragmented later."""
    return secrets.randbits(16)


def flow_label(source: int, destination: int, protocol: int, ports: bytes) -> int:
    """20 bits, the same for every packet of a flow. ``ports``: 4 bytes, or none."""
    return hash((source, destination, protocol, ports)) & 0xFFFFF


@dataclass(frozen=True, slots=True)
class Context:
    """Where a packet came in and will leave.

    ``mtu4`` and ``mtu6``: bytes; of the route on the side it leaves by, of the interface on the
    side it came in by. ``ipv4`` and ``ipv6``: the box's addresses on the interface it came in by,
    sources of own ICMP errors. ``egress_ipv4`` and ``egress_ipv6``: on the one it leaves by.
    ``allow_slow``: answer ``SlowPath`` where XDP leaves a packet to the slow path.
    ``own_sources``: packets from the box's own addresses may really be its own (on the wire they
    are spoofed). ``identification`` and ``flow_label`` fill the bits that RFCs leave free.
    """

    mtu4: int
    mtu6: int
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    egress_ipv4: IPv4Address | None = None
    egress_ipv6: IPv6Address | None = None
    hop_limit: HopLimit = HopLimit.DECREMENT
    allow_slow: bool = True
    own_sources: bool = False
    identification: Callable[[], int] = unpredictable_identification
    flow_label: Callable[[int, int, int, bytes], int] = flow_label


@dataclass(frozen=True, slots=True)
class Pass:
    """Not the translator's: the packet goes to the kernel untouched."""


@dataclass(frozen=True, slots=True)
class Translated:
    """The packets to send, each complete; more than one only where it was fragmented."""

    packets: tuple[bytes, ...]
    direction: Direction


@dataclass(frozen=True, slots=True)
class UpTranslated:
    """Translated, for the kernel to fragment and send; its hop limit is not decremented here."""

    packet: bytes
    direction: Direction


@dataclass(frozen=True, slots=True)
class SlowPath:
    """XDP leaves this packet, untouched, to the slow path."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Refused. ``error``: the own ICMP error to send, a whole packet.

    ``unsent``: an error was due, but the box has no address to send it from.
    """

    reason: Reason
    error: bytes | None = None
    unsent: bool = False


PASS = Pass()
Verdict = Pass | Translated | UpTranslated | SlowPath | Drop


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """An ICMP error's type and code, in the sender's family, and its second 32-bit word."""

    type: int
    code: int
    word: int = 0


class Refusal(Exception):
    """Ends a translation; never leaves the translator."""

    def __init__(self, reason: Reason, message: ErrorMessage | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


class LeftToSlowPath(Exception):
    """Ends a translation that XDP does not finish; never leaves the translator."""
