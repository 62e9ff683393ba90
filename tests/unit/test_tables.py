"""The compiled tables against what they are compiled from, asked in the plainest way."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.errors import BpfError
from bpf.model import BoxAddresses, EamEntry, Pref64, Side, Translation
from bpf.special import UNTRANSLATABLE_IPV4, non_global
from bpf.tables import (
    BUCKET_SLOTS,
    CHUNK,
    MAX_PREF64,
    NO_PREF64,
    TRIE_CHUNK_FLAG,
    TRIE_TOP,
    Tables,
    compile_tables,
    eam_hash,
)

KINDS = {
    name: number
    for number, name in enumerate(
        ("RANGE_UNMAPPED", "RANGE_OUTSIDE", "RANGE_HOST6", "RANGE_EAM6", "RANGE_EAM4")
    )
} | {"CLASS_NORMAL": 0, "CLASS_INVALID": 1, "CLASS_MULTICAST": 2}
PREFIXES = [
    IPv6Network(each)
    for each in ("64:ff9b::/96", "2001:db8:64::/48", "2001:db8:65::/96", "2001:db8:66::/64")
]
NOBODY = BoxAddresses()


def networks(
    lengths: tuple[int, ...] = (0, 8, 15, 16, 17, 24, 25, 31, 32),
) -> st.SearchStrategy[IPv4Network]:
    def make(address: int, length: int) -> IPv4Network:
        return IPv4Network((address >> (32 - length) << (32 - length), length))

    near = st.integers(0x0A000000, 0x0A0300FF) | st.integers(0, 2**32 - 1)
    return st.builds(make, near, st.sampled_from(lengths))


@st.composite
def translations(draw: st.DrawFn) -> Translation:
    pref64 = [
        Pref64(
            prefix,
            ipv4_ranges=tuple(draw(st.lists(networks(), min_size=1, max_size=3))),
            ipv6_hosts=tuple(draw(st.lists(networks(), max_size=2))),
        )
        for prefix in draw(st.lists(st.sampled_from(PREFIXES), unique=True, max_size=4))
    ]
    mapped = draw(st.lists(networks((8, 16, 20, 24, 28, 32)), unique=True, max_size=6))
    eam = [
        EamEntry(
            each,
            IPv6Network((0x2001_0DB8 << 96 | n << 64, 64 + each.prefixlen)),
            draw(st.sampled_from(Side)),
        )
        for n, each in enumerate(mapped)
    ]
    return Translation(tuple(pref64), tuple(eam))


def record_of(tables: Tables, address: int) -> dict[str, object]:
    """As the program looks it up."""
    entry = tables.trie[address >> 16]
    if entry & TRIE_CHUNK_FLAG:
        entry = tables.trie[(entry & ~TRIE_CHUNK_FLAG) + (address >> 8 & 0xFF)]
        if entry & TRIE_CHUNK_FLAG:
            entry = tables.trie[(entry & ~TRIE_CHUNK_FLAG) + (address & 0xFF)]
    return dict(tables.ranges[entry])


def longest(candidates: list[tuple[IPv4Network, object]], address: IPv4Address) -> object | None:
    """The first of the longest that hold the address."""
    fitting = [(each.prefixlen, value) for each, value in candidates if address in each]
    best = max((length for length, _ in fitting), default=-1)
    return next((value for length, value in fitting if length == best), None)


def expected(
    translation: Translation, tables: Tables, own: BoxAddresses, a: int
) -> dict[str, object]:
    """What is true of an address, by going through everything."""
    address = IPv4Address(a)
    order = {id(each): n for n, each in enumerate(tables.pref64)}
    eam = longest([(each.ipv4, each) for each in translation.eam], address)
    host = longest([(n, order[id(p)]) for p in translation.pref64 for n in p.ipv6_hosts], address)
    source = longest(
        [(n, order[id(p)]) for p in translation.pref64 for n in p.ipv4_ranges], address
    )
    covers = sum(
        1 << order[id(p)]
        for p in translation.pref64
        if any(address in each for each in p.ipv4_ranges)
    )
    if isinstance(eam, EamEntry):
        kind = "RANGE_EAM6" if eam.host is Side.IPV6 else "RANGE_EAM4"
    elif host is not None:
        kind = "RANGE_HOST6"
    else:
        kind = "RANGE_OUTSIDE" if covers else "RANGE_UNMAPPED"
    special = "CLASS_NORMAL"
    if any(address in each for each in UNTRANSLATABLE_IPV4):
        special = "CLASS_MULTICAST" if address.is_multicast else "CLASS_INVALID"
    return {
        "kind": KINDS[kind],
        "class": KINDS[special],
        "covers": covers,
        "source_pref64": NO_PREF64 if source is None else source,
        "host_pref64": NO_PREF64 if host is None else host,
        "non_global": any(address in each for each in non_global()),
        "own_ipv4": address in own.ipv4,
        "ipv4": int(eam.ipv4.network_address) if isinstance(eam, EamEntry) else 0,
        "ipv6": eam.ipv6.network_address.packed if isinstance(eam, EamEntry) else bytes(16),
    }


@settings(max_examples=150, deadline=None)
@given(translation=translations(), own=st.sets(st.integers(0x0A000000, 0x0A0000FF), max_size=3))
def test_every_edge_of_every_network(translation: Translation, own: set[int]) -> None:
    box = BoxAddresses(ipv4=frozenset(map(IPv4Address, own)))
    tables = compile_tables(translation, box, KINDS)
    everything = [
        *(each.ipv4 for each in translation.eam),
        *(n for p in translation.pref64 for n in (*p.ipv4_ranges, *p.ipv6_hosts)),
        *UNTRANSLATABLE_IPV4,
        *non_global(),
    ]
    asked = own | {0, 2**32 - 1}
    for each in everything:
        first, last = int(each.network_address), int(each.broadcast_address)
        asked |= {first - 1, first, last, last + 1}
    for address in asked:
        if 0 <= address < 2**32:
            found = record_of(tables, address)
            wanted = expected(translation, tables, box, address)
            assert {name: found[name] for name in wanted} == wanted, IPv4Address(address)


def find_eam(tables: Tables, number: int, length: int) -> int | None:
    """The record of an IPv6 prefix of that length, as the program looks it up."""
    shift = 128 - length
    masked = number >> shift << shift
    h = eam_hash(masked >> 64, masked & (1 << 64) - 1, length)
    start = (h & tables.bucket_count - 1) * BUCKET_SLOTS
    for slot in range(start, start + BUCKET_SLOTS):
        if tables.bucket_tags[slot] == h >> 32 | 1:
            record = tables.ranges[tables.bucket_ranges[slot]]
            if record["ipv6"] == masked.to_bytes(16, "big") and record["ipv6_length"] == length:
                return tables.bucket_ranges[slot]
    return None


@pytest.mark.parametrize("length", [32, 48, 63, 64, 65, 66, 80, 96, 120, 124, 128])
def test_thousands_of_entries_of_any_length_are_found(length: int) -> None:
    """Whichever bits the prefixes differ in: the high ones of a half are the hard case."""
    bits = min(11, length - 8)
    suffix = min(128 - length, 4)
    entries = tuple(
        EamEntry(
            IPv4Network(((100 << 24) + (n << suffix), 32 - suffix)),
            IPv6Network(((0x20 << 120) + (n << (128 - length)), length)),
        )
        for n in range(1 << bits)
    )
    tables = compile_tables(Translation(eam=entries), NOBODY, KINDS)
    assert tables.bucket_count * BUCKET_SLOTS <= 16 * len(entries), "the table grew out of bounds"
    for entry in entries:
        number = find_eam(tables, int(entry.ipv6.network_address), length)
        assert number is not None
        assert tables.ranges[number]["ipv4"] == int(entry.ipv4.network_address)
    assert find_eam(tables, 0x3F << 120, length) is None


def test_tries_are_as_large_as_they_must_be() -> None:
    plain = compile_tables(Translation((Pref64(PREFIXES[0]),)), NOBODY, KINDS)
    one = EamEntry(IPv4Network("100.1.2.3/32"), IPv6Network("2001:db8::1/128"))
    more = compile_tables(Translation((Pref64(PREFIXES[0]),), (one,)), NOBODY, KINDS)
    assert (len(plain.trie) - TRIE_TOP) % CHUNK == 0
    assert len(more.trie) - len(plain.trie) == 2 * CHUNK


def test_longest_pref64_first_and_not_too_many() -> None:
    tables = compile_tables(Translation((Pref64(PREFIXES[1]), Pref64(PREFIXES[0]))), NOBODY, KINDS)
    assert [each.prefix.prefixlen for each in tables.pref64] == [96, 48]
    many = tuple(Pref64(IPv6Network((n << 96, 96))) for n in range(1, MAX_PREF64 + 2))
    with pytest.raises(BpfError, match="9 translation prefixes; at most 8"):
        compile_tables(Translation(many), NOBODY, KINDS)


def test_overlap_of_eam_and_pref64_is_noticed() -> None:
    inside = EamEntry(IPv4Network("192.0.2.1/32"), IPv6Network("64:ff9b::1/128"))
    outside = EamEntry(IPv4Network("192.0.2.2/32"), IPv6Network("2001:db8::1/128"))
    one = compile_tables(Translation((Pref64(PREFIXES[0]),), (inside,)), NOBODY, KINDS)
    other = compile_tables(Translation((Pref64(PREFIXES[0]),), (outside,)), NOBODY, KINDS)
    assert (one.eam_in_pref64, other.eam_in_pref64) == (True, False)
