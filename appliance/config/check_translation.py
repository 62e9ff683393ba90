"""Checks of prefixes, explicit address mappings and RFC 6791 addresses."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Interface

from appliance.config.answers import MAX_ANSWERED, answered_count
from appliance.config.check_addresses import overlap
from appliance.config.problems import Path, Problem
from appliance.config.resolve import xdp_of
from appliance.config.schema import Configuration, Pref64, Xdp
from bpf.model import WELL_KNOWN_PREFIX, EamEntry
from bpf.special import UNTRANSLATABLE_IPV4, non_global

# What the datapath's tables hold (bpf/include/layout_shared.h; a test compares).
MAX_PORTS = 32
MAX_PREF64 = 8
MAX_OWN_IPV6 = 64
MAX_RFC6791 = 16


def check_table_sizes(raw: Configuration) -> Iterator[Problem]:
    ports = sum(xdp_of(one) is not Xdp.OFF for one in raw.interfaces.values())
    own_ipv6 = sum(
        isinstance(own, IPv6Interface) for one in raw.interfaces.values() for own in one.addresses
    )
    translation = raw.translation
    sizes: tuple[tuple[Path, int, int, str], ...] = (
        (("interfaces",), ports, MAX_PORTS, "interfaces with XDP"),
        (("interfaces",), own_ipv6, MAX_OWN_IPV6, "own IPv6 addresses"),
        (("translation", "pref64"), len(translation.pref64), MAX_PREF64, "prefixes"),
        (("translation", "rfc6791", "ipv4"), len(translation.rfc6791.ipv4), MAX_RFC6791, "ranges"),
    )
    for path, count, limit, what in sizes:
        if count > limit:
            yield Problem(path, f"{count} {what}", f"{limit} at most")


def check_pref64_duplicates(raw: Configuration) -> Iterator[Problem]:
    prefixes = raw.translation.pref64
    for i, one in enumerate(prefixes):
        for j in range(i):
            if overlap(one.prefix, prefixes[j].prefix):
                same = one.prefix == prefixes[j].prefix
                yield Problem(
                    ("translation", "pref64", i, "prefix"),
                    f"{one.prefix} {'again' if same else f'overlaps {prefixes[j].prefix}'}",
                    "prefixes without common addresses ({other} has them)",
                    other=("translation", "pref64", j),
                )
                break
    seen: dict[IPv4Network, tuple[int, int]] = {}
    for i, one in enumerate(prefixes):
        for j, network in enumerate(one.ipv6_hosts):
            path = ("translation", "pref64", i, "ipv6-hosts", j)
            first = seen.setdefault(network, (i, j))
            if first != (i, j):
                yield Problem(
                    path,
                    f"{network} again",
                    "one prefix for each host ({other} has it)",
                    other=("translation", "pref64", first[0], "ipv6-hosts", first[1]),
                )
            for never in UNTRANSLATABLE_IPV4:
                if network.overlaps(never):
                    yield Problem(path, f"{network} overlaps {never}", "unicast addresses")


def check_pref64_on_link(raw: Configuration) -> Iterator[Problem]:
    for i, one in enumerate(raw.translation.pref64):
        for name, interface in raw.interfaces.items():
            for own in interface.addresses:
                if isinstance(own, IPv6Interface) and one.prefix.subnet_of(own.network):
                    yield Problem(
                        ("translation", "pref64", i, "prefix"),
                        f"{one.prefix} lies inside {own.network}, the subnet of {name}",
                        "a prefix that hosts reach through the box, not on their link",
                    )


def check_well_known_prefix(raw: Configuration) -> Iterator[Problem]:
    for i, one in enumerate(raw.translation.pref64):
        path = ("translation", "pref64", i)
        if one.prefix != WELL_KNOWN_PREFIX:
            if one.allow_non_global:
                yield Problem(
                    (*path, "allow-non-global"),
                    f"set for {one.prefix}",
                    f"only with {WELL_KNOWN_PREFIX}; other prefixes carry every address",
                )
            continue
        yield from _check_non_global(one, path)


def _check_non_global(one: Pref64, path: Path) -> Iterator[Problem]:
    refused = non_global(one.allow_non_global)
    for j, network in enumerate(one.ipv6_hosts):
        hit = next((r for r in refused if r.overlaps(network)), None)
        if hit:
            yield Problem(
                (*path, "ipv6-hosts", j),
                f"{network} holds addresses of {hit}, which are not globally reachable",
                "global addresses, or the range in allow-non-global (RFC 6052 section 3.1)",
            )
    for j, network in enumerate(one.ipv4_ranges):
        hit = next((r for r in refused if network.subnet_of(r)), None)
        if hit:
            yield Problem(
                (*path, "ipv4-ranges", j),
                f"{network} lies in {hit}, which is not globally reachable",
                "global addresses, or the range in allow-non-global (RFC 6052 section 3.1)",
            )


def check_eam_duplicates(raw: Configuration) -> Iterator[Problem]:
    for side in ("ipv4", "ipv6"):
        seen: dict[object, int] = {}
        for i, entry in enumerate(raw.translation.eam):
            network = getattr(entry, side)
            first = seen.setdefault(network, i)
            if first != i:
                yield Problem(
                    ("translation", "eam", i, side),
                    f"{network} again",
                    "one mapping for each network ({other} has it)",
                    other=("translation", "eam", first),
                )


def check_eam_suffixes(raw: Configuration) -> Iterator[Problem]:
    for i, entry in enumerate(raw.translation.eam):
        path = ("translation", "eam", i)
        try:
            EamEntry(entry.ipv4, entry.ipv6, entry.host)
        except ValueError:
            yield Problem(
                (*path, "ipv6"),
                f"a suffix of {128 - entry.ipv6.prefixlen} bits",
                f"{32 - entry.ipv4.prefixlen} bits at least, as in ipv4 (RFC 7757 section 3.2)",
            )
        for never in UNTRANSLATABLE_IPV4:
            if entry.ipv4.overlaps(never):
                yield Problem(
                    (*path, "ipv4"), f"{entry.ipv4} overlaps {never}", "unicast addresses"
                )
        if entry.ipv6.is_multicast or entry.ipv6.is_link_local or entry.ipv6.is_unspecified:
            yield Problem((*path, "ipv6"), f"found {entry.ipv6}", "global unicast addresses")


def check_answered_addresses(raw: Configuration) -> Iterator[Problem]:
    """Each address answered for by ARP or ND is one kernel entry, so their number is bounded."""
    total: Counter[str] = Counter()
    for path, network, interface, count in answered_count(raw):
        if count > MAX_ANSWERED:
            yield Problem(
                path,
                f"{count} addresses of {network} are on the link of {interface}",
                f"{MAX_ANSWERED} at most, since the box answers ARP or ND for each; "
                "route the range to the box instead",
            )
            continue
        total[interface] += count
        if total[interface] > MAX_ANSWERED:
            yield Problem(
                path,
                f"{total[interface]} addresses to answer for on {interface} up to here",
                f"{MAX_ANSWERED} at most on one interface",
            )
            total[interface] = 0
