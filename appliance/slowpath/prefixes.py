"""Longest-prefix look-up, RFC 6052 embedding and explicit address mapping, on numbers."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from bpf.model import EamEntry

V = TypeVar("V")

MEMORY = 16384  # addresses a question remembers; beyond, its memory starts afresh


class PrefixTable(Generic[V]):
    """Values by address prefix, one dictionary for each prefix length.

    ``entries``: (network address, prefix length, value). The first of two equal prefixes counts.
    """

    def __init__(self, width: int, entries: Iterable[tuple[int, int, V]]) -> None:
        by_length: dict[int, dict[int, V]] = {}
        for network, length, value in entries:
            by_length.setdefault(length, {}).setdefault(network >> (width - length), value)
        self._levels = [
            (width - length, by_length[length]) for length in sorted(by_length, reverse=True)
        ]

    def longest(self, address: int) -> V | None:
        for shift, values in self._levels:
            key = address >> shift
            if key in values:
                return values[key]
        return None


def remembered(answer: Callable[[int], V]) -> Callable[[int], V]:
    """``answer``, asked once for each address. Simpler and faster than an LRU for our few flows."""
    memory: dict[int, V] = {}

    def remember(address: int) -> V:
        try:
            return memory[address]
        except KeyError:
            if len(memory) >= MEMORY:
                memory.clear()
            value = memory[address] = answer(address)
            return value

    return remember


def embed(prefix: int, length: int, ipv4: int) -> int:
    """RFC 6052 section 2.2: bits 64 to 71 and the suffix are zero."""
    if length == 96:
        return prefix | ipv4
    after = length - 32  # bits of the IPv4 address behind bits 64 to 71
    return prefix | (ipv4 >> after) << 64 | (ipv4 & ((1 << after) - 1)) << (56 - after)


def extract(length: int, ipv6: int) -> int:
    """RFC 6052 section 2.3: bits 64 to 71 and the suffix are not looked at."""
    if length == 96:
        return ipv6 & 0xFFFF_FFFF
    after = length - 32
    before = (ipv6 >> 64) & ((1 << (32 - after)) - 1)
    return before << after | ((ipv6 >> (56 - after)) & ((1 << after) - 1))


def map_to_ipv6(entry: EamEntry, ipv4: int) -> int:
    """The IPv4 suffix follows the IPv6 prefix; bits beyond it are zero (RFC 7757 section 3.3)."""
    suffix_bits = 32 - entry.ipv4.prefixlen
    suffix = ipv4 & ((1 << suffix_bits) - 1)
    return int(entry.ipv6.network_address) | suffix << (128 - entry.ipv6.prefixlen - suffix_bits)


def map_to_ipv4(entry: EamEntry, ipv6: int) -> int:
    """Bits beyond the IPv4 suffix are not looked at."""
    suffix_bits = 32 - entry.ipv4.prefixlen
    suffix = ipv6 >> (128 - entry.ipv6.prefixlen - suffix_bits) & ((1 << suffix_bits) - 1)
    return int(entry.ipv4.network_address) | suffix
