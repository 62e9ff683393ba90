"""From what is configured to what the datapath looks up: the IPv4 trie, ranges and EAM buckets.

Pure: no kernel here. Layouts are those of ``bpf/include/layout_shared.h``; what the numbers mean
to a packet stands in ``bpf/include/addresses.bpf.h``.
"""

from __future__ import annotations  # array[int] is no expression before 3.12

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import pairwise
from typing import Generic, TypeVar

from bpf.codec import Value
from bpf.errors import BpfError
from bpf.model import WELL_KNOWN_PREFIX, BoxAddresses, EamEntry, Pref64, Side, Translation
from bpf.special import UNTRANSLATABLE_IPV4, non_global

TRIE_CHUNK_FLAG = 0x80000000
TRIE_LINE = 16
TRIE_TOP = 1 << 16
CHUNK = 256
NO_PREF64 = 0xFF
MAX_PREF64 = 8
MAX_EAM_LENGTHS = 128
BUCKET_SLOTS = 8

_EVERYTHING = 1 << 32
_MASK64 = (1 << 64) - 1
_MULTICAST = IPv4Network("224.0.0.0/4")

T = TypeVar("T")

Kinds = Mapping[str, int]
"""``enum range_kind`` and ``enum range_class`` by name, from BTF."""


@dataclass(frozen=True)
class Tables:
    """What one commit fills its maps with.

    ``trie``: 32-bit entries, a multiple of ``TRIE_LINE``. ``ranges``: records for ``struct
    range``. ``bucket_tags`` and ``bucket_ranges``: eight slots for each of ``bucket_count``
    buckets. ``pref64``: the prefixes in the order in which records number them, longest first.
    """

    trie: array[int]
    ranges: Sequence[Mapping[str, Value]]
    bucket_count: int
    bucket_tags: array[int]
    bucket_ranges: array[int]
    eam_lengths: Sequence[int]
    eam_host4: bool
    eam_in_pref64: bool
    pref64: Sequence[Pref64]


class _Longest(Generic[T]):
    """Longest-prefix match over IPv4, first come first served among equals."""

    def __init__(self, entries: Iterable[tuple[IPv4Network, T]]) -> None:
        self._by_length: dict[int, dict[int, T]] = {}
        for network, value in entries:
            level = self._by_length.setdefault(network.prefixlen, {})
            level.setdefault(int(network.network_address), value)
        self._lengths = sorted(self._by_length, reverse=True)

    def get(self, address: int) -> T | None:
        for length in self._lengths:
            key = address >> (32 - length) << (32 - length)
            found = self._by_length[length].get(key)
            if found is not None:
                return found
        return None


class _Trie:
    """The 16-8-8 trie, filled interval by interval."""

    def __init__(self) -> None:
        self.entries = array("I", bytes(4 * TRIE_TOP))

    def fill(self, start: int, end: int, value: int) -> None:
        """Addresses [start, end) are ``value``."""
        self._fill(0, 16, 0, start, end, value)

    def _fill(self, base: int, shift: int, origin: int, start: int, end: int, value: int) -> None:
        # One level: entry i stands for the addresses from origin + (i << shift) on.
        first = (start - origin) >> shift
        last = (end - 1 - origin) >> shift
        for index in {first, last}:
            low = origin + (index << shift)
            high = low + (1 << shift)
            if start <= low and high <= end:
                self.entries[base + index] = value
            else:
                chunk = self._chunk(base + index)
                self._fill(chunk, shift - 8, low, max(start, low), min(end, high), value)
        if last - first > 1:
            run = last - first - 1
            self.entries[base + first + 1 : base + last] = array("I", [value]) * run

    def _chunk(self, at: int) -> int:
        entry = self.entries[at]
        if entry & TRIE_CHUNK_FLAG:
            return entry & ~TRIE_CHUNK_FLAG
        start = len(self.entries)
        self.entries.extend(array("I", [entry]) * CHUNK)
        self.entries[at] = start | TRIE_CHUNK_FLAG
        return start


def eam_hash(high: int, low: int, length: int) -> int:
    """The hash of an IPv6 prefix, as ``eam_hash`` in addresses.bpf.h computes it."""
    h = (high ^ length) * 0x9E3779B97F4A7C15 & _MASK64
    h ^= (h >> 32) ^ low ^ (low >> 32)
    h = h * 0xBF58476D1CE4E5B9 & _MASK64
    return h ^ (h >> 32)


def _buckets(entries: Sequence[tuple[int, EamEntry]]) -> tuple[int, array[int], array[int]]:
    """Buckets of which none overflows, at most half full: (count, tags, range numbers)."""
    hashes = []
    for number, entry in entries:
        address = int(entry.ipv6.network_address)
        h = eam_hash(address >> 64, address & _MASK64, entry.ipv6.prefixlen)
        hashes.append((h, number))
    count = 1
    while count * BUCKET_SLOTS < 2 * len(entries):
        count *= 2
    while count <= 1 << 22:
        tags = array("I", bytes(4 * BUCKET_SLOTS * count))
        numbers = array("I", bytes(4 * BUCKET_SLOTS * count))
        if all(_place(tags, numbers, h, number, count) for h, number in hashes):
            return count, tags, numbers
        count *= 2
    raise BpfError(
        f"{len(entries)} EAM entries do not fit the table",
        "this is a defect: please report the entries",
    )


def _place(tags: array[int], numbers: array[int], h: int, number: int, count: int) -> bool:
    start = (h & (count - 1)) * BUCKET_SLOTS
    for slot in range(start, start + BUCKET_SLOTS):
        if not tags[slot]:
            tags[slot] = h >> 32 | 1
            numbers[slot] = number
            return True
    return False


def _order(pref64: Sequence[Pref64]) -> list[Pref64]:
    if len(pref64) > MAX_PREF64:
        raise BpfError(f"{len(pref64)} translation prefixes; at most {MAX_PREF64} are possible")
    return sorted(pref64, key=lambda each: -each.prefix.prefixlen)


class _Compiler:
    def __init__(self, translation: Translation, own: BoxAddresses, kinds: Kinds) -> None:
        self.translation = translation
        self.kinds = kinds
        self.pref64 = _order(translation.pref64)
        number = {id(each): index for index, each in enumerate(self.pref64)}
        allowed = [
            network
            for each in translation.pref64
            if each.prefix == WELL_KNOWN_PREFIX
            for network in each.allow_non_global
        ]
        self.eam = _Longest((entry.ipv4, entry) for entry in translation.eam)
        self.hosts = _Longest(
            (network, number[id(each)])
            for each in translation.pref64
            for network in each.ipv6_hosts
        )
        self.sources = _Longest(
            (network, number[id(each)])
            for each in translation.pref64
            for network in each.ipv4_ranges
        )
        self.covers = [_Longest((n, True) for n in each.ipv4_ranges) for each in self.pref64]
        self.non_global = _Longest((network, True) for network in non_global(allowed))
        self.untranslatable = _Longest((network, network) for network in UNTRANSLATABLE_IPV4)
        self.own = frozenset(int(address) for address in own.ipv4)
        self.networks = [
            *(entry.ipv4 for entry in translation.eam),
            *(n for each in translation.pref64 for n in (*each.ipv4_ranges, *each.ipv6_hosts)),
            *non_global(allowed),
            *UNTRANSLATABLE_IPV4,
            *(IPv4Network(address) for address in own.ipv4),
        ]
        self.records: list[Mapping[str, Value]] = []
        self._numbers: dict[tuple[object, ...], int] = {}

    def intervals(self) -> Iterator[tuple[int, int]]:
        """Runs of addresses between any two edges of what is configured."""
        edges = {0, _EVERYTHING}
        for network in self.networks:
            start = int(network.network_address)
            edges |= {start, start + network.num_addresses}
        ordered = sorted(edges)
        return pairwise(ordered)

    def number_of(self, address: int, entry: EamEntry | None) -> int:
        """The number of the record of what ``address`` is, if ``entry`` is its EAM entry."""
        host = self.hosts.get(address)
        source = self.sources.get(address)
        special = self.untranslatable.get(address)
        covers = sum(1 << i for i, each in enumerate(self.covers) if each.get(address))
        non_global_address = bool(self.non_global.get(address))
        own = address in self.own
        key = (entry, host, source, special, covers, non_global_address, own)
        if key not in self._numbers:
            self._numbers[key] = len(self.records)
            self.records.append(
                self._eam_fields(entry)
                | {
                    "kind": self._kind(entry, host, covers),
                    "class": self._class(special),
                    "covers": covers,
                    "source_pref64": NO_PREF64 if source is None else source,
                    "host_pref64": NO_PREF64 if host is None else host,
                    "non_global": non_global_address,
                    "own_ipv4": own,
                }
            )
        return self._numbers[key]

    def _kind(self, entry: EamEntry | None, host: int | None, covers: int) -> int:
        if entry is not None:
            return self.kinds["RANGE_EAM6" if entry.host is Side.IPV6 else "RANGE_EAM4"]
        if host is not None:
            return self.kinds["RANGE_HOST6"]
        return self.kinds["RANGE_OUTSIDE" if covers else "RANGE_UNMAPPED"]

    def _class(self, special: IPv4Network | None) -> int:
        if special is None:
            return self.kinds["CLASS_NORMAL"]
        return self.kinds["CLASS_MULTICAST" if special == _MULTICAST else "CLASS_INVALID"]

    @staticmethod
    def _eam_fields(entry: EamEntry | None) -> dict[str, Value]:
        if entry is None:
            return {
                "ipv6": bytes(16),
                "ipv4": 0,
                "suffix_mask": 0,
                "shift": 0,
                "ipv6_length": 0,
            }
        suffix_bits = 32 - entry.ipv4.prefixlen
        shift = 128 - entry.ipv6.prefixlen - suffix_bits
        return {
            "ipv6": entry.ipv6.network_address.packed,
            "ipv4": int(entry.ipv4.network_address),
            "suffix_mask": (1 << suffix_bits) - 1,
            "shift": shift if suffix_bits else 0,
            "ipv6_length": entry.ipv6.prefixlen,
        }


def compile_tables(translation: Translation, own: BoxAddresses, kinds: Kinds) -> Tables:
    """What the datapath needs to know of ``translation``. BpfError where a limit is passed."""
    compiler = _Compiler(translation, own, kinds)
    trie = _Trie()
    for start, end in compiler.intervals():
        number = compiler.number_of(start, compiler.eam.get(start))
        if number:
            trie.fill(start, end, number)
    numbered = [
        (compiler.number_of(int(entry.ipv4.network_address), entry), entry)
        for entry in translation.eam
    ]
    bucket_count, tags, numbers = _buckets(numbered)
    lengths = sorted({entry.ipv6.prefixlen for entry in translation.eam}, reverse=True)
    if len(lengths) > MAX_EAM_LENGTHS:
        raise BpfError(f"EAM entries with {len(lengths)} different IPv6 prefix lengths")
    return Tables(
        trie=trie.entries,
        ranges=compiler.records,
        bucket_count=bucket_count,
        bucket_tags=tags,
        bucket_ranges=numbers,
        eam_lengths=lengths,
        eam_host4=any(entry.host is Side.IPV4 for entry in translation.eam),
        eam_in_pref64=any(
            entry.ipv6.overlaps(each.prefix)
            for entry in translation.eam
            for each in translation.pref64
        ),
        pref64=compiler.pref64,
    )
