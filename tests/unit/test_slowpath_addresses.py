"""Addresses: RFC 6052's own tables, explicit mappings, and a look-up as slow as it is plain."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.slowpath.addresses import Addresses, Refused, ToHairpin, ToIPv4
from appliance.slowpath.prefixes import MEMORY, PrefixTable, embed, extract, remembered
from appliance.slowpath.verdict import Reason
from bpf.model import BoxAddresses, EamEntry, Pref64, Side, Translation
from tests.unit.slowpath_packets import TRANSLATION

# RFC 6052 section 2.4, the table of network-specific prefixes and that of the well-known one.
RFC6052_TABLE = [
    ("2001:db8::/32", "2001:db8:c000:221::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
]


def v4(text: str) -> int:
    return int(IPv4Address(text))


def v6(text: str) -> int:
    return int(IPv6Address(text))


def addresses(translation: Translation = TRANSLATION) -> Addresses:
    return Addresses(translation, BoxAddresses())


@pytest.mark.parametrize(("prefix", "expected"), RFC6052_TABLE)
def test_rfc6052_table(prefix: str, expected: str) -> None:
    network = IPv6Network(prefix)
    embedded = embed(int(network.network_address), network.prefixlen, v4("192.0.2.33"))
    assert IPv6Address(embedded) == IPv6Address(expected)
    assert IPv4Address(extract(network.prefixlen, embedded)) == IPv4Address("192.0.2.33")


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64, 96])
@given(ipv4=st.integers(0, 2**32 - 1), dirt=st.integers(0, 2**128 - 1))
def test_u_octet_and_suffix_are_written_zero_and_not_read(
    length: int, ipv4: int, dirt: int
) -> None:
    prefix = v6("2001:db8::") & ~0 << 96
    embedded = embed(prefix, length, ipv4)
    # Bit by bit: the IPv4 address takes the bits behind the prefix and leaves out 64 to 71.
    places = [bit for bit in range(length, 128) if length == 96 or not 64 <= bit < 72][:32]
    expected = prefix
    for place, bit in zip(places, f"{ipv4:032b}", strict=True):
        expected |= int(bit) << (127 - place)
    assert embedded == expected
    free = sum(1 << (127 - bit) for bit in range(length, 128) if bit not in places)
    assert extract(length, embedded | dirt & free) == ipv4


@pytest.mark.parametrize(
    ("ipv4", "ipv6"),
    [
        # RFC 7757 section 3, the examples of its figure: equal, shorter and longer suffixes.
        ("192.0.2.1/32", "2001:db8:aaaa::/128"),
        ("192.0.2.16/28", "2001:db8:dddd::/124"),
        ("192.0.2.128/26", "2001:db8:eeee:8::/62"),
    ],
)
def test_every_address_of_a_mapping_goes_there_and_back(ipv4: str, ipv6: str) -> None:
    table = addresses(Translation(eam=(EamEntry(IPv4Network(ipv4), IPv6Network(ipv6)),)))
    suffix_bits = 32 - IPv4Network(ipv4).prefixlen
    for number, host in enumerate(IPv4Network(ipv4)):
        mapped = table.inside(int(host))
        shift = 128 - IPv6Network(ipv6).prefixlen - suffix_bits
        assert mapped == int(IPv6Network(ipv6).network_address) + (number << shift)
        assert table.source_ipv6(mapped, False) == int(host)
        trailing = mapped | ((1 << shift) - 1)
        assert table.source_ipv6(trailing, False) == int(host)


networks = st.builds(
    lambda value, length: IPv4Network((value & ~0 << (32 - length) & 0xFFFF_FFFF, length)),
    st.integers(0, 2**32 - 1).map(lambda value: value & 0x0303_0303),
    st.integers(0, 32),
)


@given(entries=st.lists(networks, max_size=12), address=st.integers(0, 2**32 - 1))
def test_longest_prefix_is_what_looking_at_all_of_them_finds(
    entries: list[IPv4Network], address: int
) -> None:
    address &= 0x0303_0303
    table = PrefixTable(
        32, [(int(e.network_address), e.prefixlen, number) for number, e in enumerate(entries)]
    )
    holding = [n for n, entry in enumerate(entries) if IPv4Address(address) in entry]
    best = max(holding, key=lambda n: (entries[n].prefixlen, -n), default=None)
    assert table.longest(address) == best


def test_thousands_of_mappings() -> None:
    entries = tuple(
        EamEntry(
            IPv4Network((v4("11.0.0.0") + number, 32)),
            IPv6Network((v6("2001:db8:2::") + number * 0x1_0000_0001, 128)),
        )
        for number in range(5000)
    )
    table = addresses(Translation(eam=entries))
    for entry in entries:
        ipv4, ipv6 = int(entry.ipv4.network_address), int(entry.ipv6.network_address)
        assert table.inside(ipv4) == ipv6
        assert table.source_ipv6(ipv6, False) == ipv4
    assert table.inside(v4("11.0.0.0") + 5000) is None


def test_memory_is_bounded_and_forgetting_is_harmless() -> None:
    asked: list[int] = []

    def answer(address: int) -> int:
        asked.append(address)
        return address * 2

    question = remembered(answer)
    assert question(1) == question(1) == 2
    assert asked == [1]
    for address in range(MEMORY + 10):
        assert question(address) == address * 2
    assert question(1) == 2
    assert asked.count(1) == 2


@pytest.mark.parametrize(
    ("name", "address", "expected"),
    [
        ("world", "64:ff9b::203.0.113.99", ToIPv4(v4("203.0.113.99"))),
        ("native pod of an EAM", "2001:db8:1::7", None),
        ("native pod of ipv6_hosts", "64:ff9b::198.51.100.9", None),
        ("unmapped", "2001:db8:5::1", None),
        ("private, own prefix", "2001:db8:ffff:a01:2:300::", ToIPv4(v4("10.1.2.3"))),
        ("private, well-known", "64:ff9b::10.1.2.3", Reason.NON_GLOBAL_ADDRESS),
        ("outside its ranges", "2001:db8:ffff:b01:2:300::", Reason.DESTINATION_NOT_TRANSLATABLE),
        ("multicast", "64:ff9b::224.0.0.251", Reason.MULTICAST),
        ("loopback", "64:ff9b::127.0.0.1", Reason.DESTINATION_NOT_TRANSLATABLE),
    ],
)
def test_destination(name: str, address: str, expected: object) -> None:
    found = addresses().destination_ipv6(v6(address))
    assert (found.reason if isinstance(found, Refused) else found) == expected


def test_hairpin_destination_is_the_hosts_own_address() -> None:
    found = addresses().destination_ipv6(v6("64:ff9b::192.0.2.7"))
    assert isinstance(found, ToHairpin)
    assert found.ipv6 == v6("2001:db8:1::7")


def test_ipv6_hosts_come_before_ranges_and_mappings_before_both() -> None:
    table = addresses(
        Translation(
            pref64=(
                Pref64(
                    IPv6Network("2001:db8:a::/96"),
                    ipv4_ranges=(IPv4Network("198.51.100.0/28"),),
                    ipv6_hosts=(IPv4Network("198.51.100.0/24"),),
                ),
            ),
            eam=(
                EamEntry(
                    IPv4Network("198.51.100.0/30"), IPv6Network("2001:db8:4::/126"), Side.IPV4
                ),
            ),
        )
    )
    assert table.inside(v4("198.51.100.9")) == v6("2001:db8:a::198.51.100.9")
    assert table.inside(v4("198.51.100.1")) is None
    assert table.source_ipv4(v4("198.51.100.1"), False) == v6("2001:db8:4::1")


def test_first_listed_prefix_wins_a_tie() -> None:
    table = addresses(
        Translation(
            pref64=(
                Pref64(IPv6Network("2001:db8:a::/96")),
                Pref64(IPv6Network("2001:db8:b::/96")),
            )
        )
    )
    assert table.source_ipv4(v4("8.8.8.8"), False) == v6("2001:db8:a::8.8.8.8")


@pytest.mark.parametrize("router", ["2001:db8:9::1", "2001:db8:9::2", "fd00::ffff:1:2"])
def test_rfc6791_pool(router: str) -> None:
    table = addresses(
        Translation(rfc6791_ipv4=(IPv4Network("203.0.113.8/31"), IPv4Network("203.0.113.200/29")))
    )
    pool = [*IPv4Network("203.0.113.8/31"), *IPv4Network("203.0.113.200/29")]
    octets = IPv6Address(router).packed
    words = [int.from_bytes(octets[at : at + 4], "big") for at in (0, 4, 8, 12)]
    mixed = (words[0] ^ words[1] ^ words[2] ^ words[3]) * 0x9E3779B1 % 2**32
    assert table.rfc6791_ipv4(v6(router)) == int(pool[(mixed >> 16) % len(pool)])
