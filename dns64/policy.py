"""A policy made ready for use: which prefix carries an address, which AAAA counts, which names."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from bpf.model import WELL_KNOWN_PREFIX, Pref64
from bpf.special import UNTRANSLATABLE_IPV4, non_global
from dns64.names import from_text, is_under

MAPPED = IPv6Network("::ffff:0:0/96")

_Ranges = tuple[tuple[int, int], ...]


def embed(prefix: IPv6Network, ipv4: bytes) -> bytes:
    """The RFC 6052 section 2.2 address of ``ipv4`` (4 bytes) under ``prefix``, as 16 bytes."""
    size = prefix.prefixlen // 8
    if size == 12:
        return prefix.network_address.packed[:12] + ipv4
    before_u = 8 - size
    inner = ipv4[:before_u] + b"\0" + ipv4[before_u:]
    return (prefix.network_address.packed[:size] + inner).ljust(16, b"\0")


def extract(prefix: IPv6Network, ipv6: bytes) -> bytes:
    """The IPv4 address within ``ipv6``, which lies under ``prefix``."""
    size = prefix.prefixlen // 8
    if size == 12:
        return ipv6[12:]
    inner = ipv6[size : size + 5]
    before_u = 8 - size
    return inner[:before_u] + inner[before_u + 1 :]


def _ranges(networks: Iterable[IPv4Network | IPv6Network]) -> _Ranges:
    return tuple((int(network.netmask), int(network.network_address)) for network in networks)


def _holds(ranges: _Ranges, address: int) -> bool:
    return any(address & mask == start for mask, start in ranges)


@dataclass(frozen=True)
class Carrier:
    """A prefix with the IPv4 addresses that it never carries."""

    pref64: Pref64
    refused: _Ranges

    @classmethod
    def of(cls, pref64: Pref64) -> "Carrier":
        refused = list(UNTRANSLATABLE_IPV4)
        if pref64.prefix == WELL_KNOWN_PREFIX:
            refused += non_global(pref64.allow_non_global)
        return cls(pref64, _ranges(refused))

    def carries(self, ipv4: bytes) -> bool:
        """Whether a host with this address may be reached, or lives, under the prefix."""
        address = IPv4Address(ipv4)
        ranges = self.pref64.ipv4_ranges + self.pref64.ipv6_hosts
        return not _holds(self.refused, int(address)) and any(address in net for net in ranges)


class Rules:
    """What one policy means for one answer. Addresses are bytes, names wire form in lower case."""

    def __init__(
        self,
        prefixes: Iterable[Pref64] = (),
        exclude_aaaa: Iterable[IPv6Network] = (MAPPED,),
        ipv4_only: Iterable[str] = (),
        never_synthesise: Iterable[str] = (),
        translate_all: bool = False,
        break_dnssec: bool = True,
        recursive_only: bool = False,
    ) -> None:
        """No prefixes: the well-known one (RFC 6147 section 5.2)."""
        self.carriers = tuple(map(Carrier.of, tuple(prefixes) or (Pref64(WELL_KNOWN_PREFIX),)))
        self._excluded = _ranges(exclude_aaaa)
        self._ipv4_only = tuple(from_text(name).lower() for name in ipv4_only)
        self._never = tuple(from_text(name).lower() for name in never_synthesise)
        self.translate_all = translate_all
        self.break_dnssec = break_dnssec
        self.recursive_only = recursive_only
        # The translator answers from the prefix with the longest range that holds the address,
        # the first listed on a tie; an AAAA under any other would be a dead end.
        by_length = [
            (int(net.netmask), int(net.network_address), carrier)
            for carrier in self.carriers
            for net in carrier.pref64.ipv4_ranges
        ]
        self._by_length = sorted(by_length, key=lambda entry: -entry[0])

    def synthetic(self, ipv4: bytes) -> bytes | None:
        """The AAAA data for this A data; None: it is not mapped."""
        address = int.from_bytes(ipv4, "big")
        for mask, start, carrier in self._by_length:
            if address & mask == start:
                if _holds(carrier.refused, address):
                    return None
                return embed(carrier.pref64.prefix, ipv4)
        return None

    def excluded(self, ipv6: bytes) -> bool:
        """Whether this AAAA data counts as not there (RFC 6147 section 5.1.4)."""
        return _holds(self._excluded, int.from_bytes(ipv6, "big"))

    def ipv4_only(self, name: bytes) -> bool:
        return any(is_under(name, zone) for zone in self._ipv4_only)

    def never_synthesise(self, name: bytes) -> bool:
        return any(is_under(name, zone) for zone in self._never)
