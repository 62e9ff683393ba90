"""The load-time constants of one commit: ``struct settings`` of ``layout_shared.h``."""

import secrets
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Network

from bpf.codec import Value
from bpf.errors import BpfError
from bpf.model import WELL_KNOWN_PREFIX, BoxAddresses, Port, Pref64, Translation
from bpf.tables import MAX_EAM_LENGTHS, MAX_PREF64, Tables

MAX_PORTS = 32
MAX_OWN_IPV6 = 64
MAX_RFC6791 = 16
COPY_OCTET = 0xFFFF
HEARTBEAT_SECONDS = 0.5
"""How old a heartbeat may be for the next-hop cache to count."""

_CLOCK_MONOTONIC_COARSE = 6


def jiffies_per_second() -> int:
    """The kernel's HZ: a coarse clock advances once a jiffy."""
    return round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))


def place_ports(ports: Sequence[Port]) -> dict[int, Port]:
    """Which counter slot each port has, by ifindex, so that one port keeps its slot."""
    if len(ports) > MAX_PORTS:
        raise BpfError(f"{len(ports)} interfaces; the datapath serves at most {MAX_PORTS}")
    placed: dict[int, Port] = {}
    for port in sorted(ports, key=lambda each: each.ifindex):
        slot = port.ifindex % MAX_PORTS
        while slot in placed:
            slot = (slot + 1) % MAX_PORTS
        placed[slot] = port
    return placed


def settings_for(
    placed: Mapping[int, Port], translation: Translation, own: BoxAddresses, tables: Tables
) -> dict[str, Value]:
    """The values of ``struct settings``; BpfError where a limit is passed."""
    if len(own.ipv6) > MAX_OWN_IPV6:
        raise BpfError(f"{len(own.ipv6)} own IPv6 addresses; at most {MAX_OWN_IPV6} are possible")
    if len(translation.rfc6791_ipv4) > MAX_RFC6791:
        raise BpfError(f"more than {MAX_RFC6791} RFC 6791 ranges")
    hz = jiffies_per_second()
    pool = [
        {"first": int(each.network_address), "count": each.num_addresses}
        for each in translation.rfc6791_ipv4
    ]
    own_ipv6 = [address.packed for address in sorted(own.ipv6)]
    lengths = list(tables.eam_lengths)
    return {
        "pref64_count": len(tables.pref64),
        "port_count": max(placed, default=-1) + 1,
        "eam_length_count": len(lengths),
        "eam_bucket_mask": tables.bucket_count - 1,
        "eam_length": bytes(lengths).ljust(MAX_EAM_LENGTHS, b"\0"),
        "eam_host4": tables.eam_host4,
        "eam_in_pref64": tables.eam_in_pref64,
        "flow_label_hash": translation.flow_label_hash,
        "compute_udp_checksum": translation.compute_udp_checksum,
        "traffic_class": _octet(translation.traffic_class),
        "tos": _octet(translation.tos),
        "lowest_ipv6_mtu": translation.lowest_ipv6_mtu,
        "icmp_error_rate": translation.icmp_error_rate,
        "hz": hz,
        "heartbeat_jiffies": round(HEARTBEAT_SECONDS * hz),
        "id_key": [secrets.randbits(32), secrets.randbits(32)],
        "own_ipv6_count": len(own_ipv6),
        "rfc6791_count": len(pool),
        "rfc6791_total": sum(each["count"] for each in pool),
        "rfc6791_ipv6": translation.rfc6791_ipv6.packed if translation.rfc6791_ipv6 else bytes(16),
        "has_rfc6791_ipv6": translation.rfc6791_ipv6 is not None,
        "special_mapped": _special_mapped(translation, own),
        "rfc6791": _padded(pool, MAX_RFC6791, {"first": 0, "count": 0}),
        "own_ipv6": _padded(own_ipv6, MAX_OWN_IPV6, bytes(16)),
        "pref64": _padded([_pref64(each) for each in tables.pref64], MAX_PREF64, _NO_PREF64),
        "ports": [_port(placed.get(slot)) for slot in range(MAX_PORTS)],
        "port_slot": _slots(placed),
    }


_UNUSABLE_IPV6 = tuple(map(IPv6Network, ("::/127", "fe80::/10", "ff00::/8")))


def _special_mapped(translation: Translation, own: BoxAddresses) -> bool:
    """Whether the datapath must look for addresses that the mappings would hide."""
    special = [*_UNUSABLE_IPV6, *map(IPv6Network, own.ipv6)]
    mapped = [each.prefix for each in translation.pref64] + [each.ipv6 for each in translation.eam]
    return any(one.overlaps(other) for one in special for other in mapped)


_NO_PREF64: dict[str, Value] = {
    "prefix": bytes(16),
    "mask": bytes(16),
    "length": 96,
    "well_known": 0,
}


def _pref64(each: Pref64) -> dict[str, Value]:
    network: IPv6Network = each.prefix
    return {
        "prefix": network.network_address.packed,
        "mask": network.netmask.packed,
        "length": network.prefixlen,
        "well_known": network == WELL_KNOWN_PREFIX,
    }


def _port(port: Port | None) -> dict[str, Value]:
    if port is None:
        return {
            "mac": bytes(6),
            "vlan_id": 0,
            "ifindex": 0,
            "out_ifindex": 0,
            "mtu": 0,
            "has_ipv4": 0,
            "has_ipv6": 0,
            "ipv4": bytes(4),
            "ipv6": bytes(16),
        }
    parent, vlan_id = port.vlan or (port.ifindex, 0)
    return {
        "mac": port.mac,
        "vlan_id": vlan_id,
        "ifindex": port.ifindex,
        "out_ifindex": parent,
        "mtu": min(port.mtu, 65535),
        "has_ipv4": port.ipv4 is not None,
        "has_ipv6": port.ipv6 is not None,
        "ipv4": port.ipv4.packed if port.ipv4 else bytes(4),
        "ipv6": port.ipv6.packed if port.ipv6 else bytes(16),
    }


def _slots(placed: Mapping[int, Port]) -> bytes:
    """The program finds a port's slot by the low octet of its ifindex."""
    slots = bytearray(256)
    taken: dict[int, Port] = {}
    for slot, port in placed.items():
        if port.vlan is not None:
            continue
        low = port.ifindex & 0xFF
        if low in taken:
            raise BpfError(
                f"interfaces {taken[low].name} and {port.name} have the numbers "
                f"{taken[low].ifindex} and {port.ifindex}, which the datapath cannot tell apart",
                "create one of them anew, so that it gets another number",
            )
        taken[low] = port
        slots[low] = slot
    return bytes(slots)


def _octet(value: int | None) -> int:
    return COPY_OCTET if value is None else value


def _padded(values: Sequence[Value], count: int, filler: Value) -> list[Value]:
    return [*values, *[filler] * (count - len(values))]
