"""Tells a link's hosts where an address is: gratuitous ARP and unsolicited neighbour
advertisements (RFC 826, RFC 5227 section 3, RFC 4861 section 7.2.6)."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

_ETH_P_ARP, _ETH_P_IPV6 = 0x0806, 0x86DD
_BROADCAST = b"\xff" * 6
_ALL_NODES = IPv6Address("ff02::1")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_PAUSE_EVERY = 64
_PAUSE_SECONDS = 0.005  # some 12,000 frames a second at most, so that switches keep up


def arp_announcement(mac: bytes, address: IPv4Address) -> bytes:
    """An ARP request for the box's own sake: sender and target are ``address``."""
    frame = _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP)
    frame += struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return frame + mac + address.packed + bytes(6) + address.packed


def neighbour_advertisement(mac: bytes, address: IPv6Address) -> bytes:
    """Router and Override set, Solicited not; to all nodes, from the address itself."""
    body = struct.pack("!BBHI", 136, 0, 0, 0xA0000000) + address.packed + b"\x02\x01" + mac
    pseudo = address.packed + _ALL_NODES.packed + struct.pack("!II", len(body), 58)
    checksum = _internet_checksum(pseudo + body)
    body = body[:2] + struct.pack("!H", checksum) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, 255)
    ethernet = _ALL_NODES_MAC + mac + struct.pack("!H", _ETH_P_IPV6)
    return ethernet + header + address.packed + _ALL_NODES.packed + body


def announce(device: str, mac: bytes, addresses: Iterable[IPv4Address | IPv6Address]) -> int:
    """Sends one announcement for each address; returns how many went out."""
    sent = 0
    with contextlib.suppress(OSError), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((device, 0))
        for address in addresses:
            if isinstance(address, IPv4Address):
                out.send(arp_announcement(mac, address))
            else:
                out.send(neighbour_advertisement(mac, address))
            sent += 1
            if sent % _PAUSE_EVERY == 0:
                time.sleep(_PAUSE_SECONDS)
    return sent


def _internet_checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
