"""Judges stored packets: every checksum summed anew from the whole packet, by nobody's code.

This is not a translator. It reads a packet as its receiver would and says what is wrong with it.
"""

from collections.abc import Iterator

ICMP, TCP, UDP, DCCP, ICMPV6, UDPLITE = 1, 6, 17, 33, 58, 136
EXTENSIONS = (0, 43, 60)
FRAGMENT = 44
CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6, DCCP: 6, ICMPV6: 2, UDPLITE: 6}
SMALLEST = {ICMP: 8, TCP: 20, UDP: 8, DCCP: 12, ICMPV6: 8, UDPLITE: 8}
QUOTING = {ICMP: (3, 4, 5, 11, 12), ICMPV6: (1, 2, 3, 4)}


def internet_sum(data: bytes) -> int:
    """The ones' complement of the ones' complement sum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4_header(packet: bytes) -> int:
    """The checksum that belongs into an IPv4 header."""
    header = packet[: (packet[0] & 15) * 4]
    return internet_sum(header[:10] + b"\0\0" + header[12:])


def upper_layer(protocol: int, payload: bytes, addresses: bytes) -> str | None:
    """What is wrong with a whole upper-layer packet's checksum, or None."""
    if protocol not in CHECKSUM_AT:
        return None
    if len(payload) < SMALLEST[protocol]:
        return f"protocol {protocol}: {len(payload)} bytes are no header"
    length, covered = len(payload), payload
    if protocol == UDP:
        length = int.from_bytes(payload[4:6], "big")
        if not 8 <= length <= len(payload):
            return f"UDP length {length} of {len(payload)}"
        covered = payload[:length]
    if protocol == UDPLITE:
        covered = payload[: int.from_bytes(payload[4:6], "big") or None]
    at = CHECKSUM_AT[protocol]
    there = int.from_bytes(payload[at : at + 2], "big")
    if protocol == UDP and there == 0 and len(addresses) == 8:
        return None
    if protocol == ICMP:
        pseudo = b""
    elif len(addresses) == 8:
        pseudo = addresses + bytes([0, protocol]) + length.to_bytes(2, "big")
    else:
        pseudo = addresses + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])
    right = internet_sum(pseudo + covered[:at] + b"\0\0" + covered[at + 2 :])
    if protocol in (UDP, UDPLITE) and right == 0:
        right = 0xFFFF
    if there != right:
        return f"protocol {protocol}: checksum {there:#06x}, should be {right:#06x}"
    return None


def faults(packet: bytes, inner: bool = False) -> Iterator[tuple[str, str]]:
    """(part, what is wrong) for one packet; part is ``header``, ``l4`` or ``inner``.

    ``inner``: it is quoted in an error, so it may be cut, and UDP over IPv6 may have no checksum.
    """
    part = "inner" if inner else "header"
    smallest = 20 if packet[:1] and packet[0] >> 4 == 4 else 40
    if len(packet) < smallest:
        yield part, f"{len(packet)} bytes are no header"
        return
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        total = int.from_bytes(packet[2:4], "big")
        if not 20 <= header <= len(packet) or total < header or (not inner and total > len(packet)):
            yield part, f"header {header}, total length {total} of {len(packet)} bytes"
            return
        if int.from_bytes(packet[10:12], "big") != ipv4_header(packet):
            yield part, f"header checksum should be {ipv4_header(packet):#06x}"
        protocol, addresses = packet[9], packet[12:20]
        fragment = bool(int.from_bytes(packet[6:8], "big") & 0x3FFF)
    else:
        header, fragment, protocol, addresses = 40, False, packet[6], packet[8:40]
        total = 40 + int.from_bytes(packet[4:6], "big")
        if packet[0] >> 4 != 6 or (not inner and total > len(packet)):
            yield part, f"version {packet[0] >> 4}, length {total} of {len(packet)} bytes"
            return
        while protocol in (*EXTENSIONS, FRAGMENT) and header + 8 <= min(total, len(packet)):
            size = 8 if protocol == FRAGMENT else 8 + packet[header + 1] * 8
            if protocol == FRAGMENT and int.from_bytes(packet[header + 2 : header + 4], "big") & ~6:
                fragment = True
            protocol, header = packet[header], header + size
    if fragment or (inner and total > len(packet)):
        return
    payload = packet[header:total]
    zero_udp = inner and protocol == UDP and payload[6:8] == b"\0\0"
    wrong = None if zero_udp else upper_layer(protocol, payload, addresses)
    if wrong:
        yield "inner" if inner else "l4", wrong
    elif protocol in QUOTING and payload[0] in QUOTING[protocol] and not inner:
        yield from faults(payload[8:], inner=True)


def reassembled(pieces: tuple[bytes, ...]) -> bytes:
    """The whole IPv6 packet whose fragments, in order, are ``pieces``; they must fit together."""
    body = b""
    for index, piece in enumerate(pieces):
        offset = int.from_bytes(piece[42:44], "big")
        if piece[6] != FRAGMENT or offset & ~7 != len(body):
            raise ValueError(f"piece {index} does not continue at {len(body)}")
        if bool(offset & 1) != (index + 1 < len(pieces)):
            raise ValueError(f"piece {index}: wrong M flag")
        body += piece[48:]
    first = pieces[0]
    return first[:4] + len(body).to_bytes(2, "big") + first[40:41] + first[7:40] + body
