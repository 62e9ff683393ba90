"""IPv6 to IPv6, between two hosts that speak to each other by IPv4 (RFC 7757 section 4).

Section 8 of docs/translation.md.
"""

from appliance.slowpath import checksum, headers, icmp, inner, own_errors, upper
from appliance.slowpath.addresses import Addresses, ToHairpin
from appliance.slowpath.headers import ICMPV6, IPV6_HEADER, Header
from appliance.slowpath.hop_limit import check_hop_limit, new_hop_limit
from appliance.slowpath.verdict import (
    Context,
    Direction,
    ErrorMessage,
    Reason,
    Refusal,
    Translated,
    Verdict,
)

_TIME_EXCEEDED = ErrorMessage(3, 0)
_PACKET_TOO_BIG = 2, 0


def check_ipv6(header: Header, context: Context) -> None:
    """Steps 6 to 8 of section 3, for every IPv6 packet."""
    headers.check_fragment(header)
    if header.protocol in upper.NOT_FROM_IPV6:
        raise Refusal(Reason.PROTOCOL_NOT_TRANSLATABLE)
    check_hop_limit(header, context, _TIME_EXCEEDED)


class Hairpin:
    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def translate(
        self,
        packet: bytes,
        header: Header,
        payload: bytearray,
        mapped: int | None,
        destination: ToHairpin,
        context: Context,
    ) -> Verdict:
        """``mapped``: the source's IPv4 address; without one (an ICMP error) the source stays."""
        prefix = destination.prefix
        source = header.source
        if mapped is not None and prefix.carries(mapped):
            source = prefix.address(mapped)
        elif mapped is not None and not icmp.is_ipv6_error(header, payload):
            raise Refusal(Reason.NON_GLOBAL_ADDRESS)
        check_ipv6(header, context)
        change = source + destination.ipv6 - header.source - header.destination
        if header.protocol == ICMPV6:
            payload = self._icmp(header, payload, source, destination, context)
        else:
            upper.check(header, payload)
            if upper.udp_without_checksum(header, payload):
                raise Refusal(Reason.UDP_ZERO_CHECKSUM)
            upper.update_transport(header, payload, change)
        if header.total > context.mtu6:
            raise Refusal(Reason.PACKET_TOO_BIG, ErrorMessage(*_PACKET_TOO_BIG, context.mtu6))
        new_addresses = (source << 128 | destination.ipv6).to_bytes(32, "big")
        start = packet[:7] + bytes((new_hop_limit(header, context),)) + new_addresses
        turned = start + packet[IPV6_HEADER : header.length] + payload
        return Translated((turned,), Direction.HAIRPIN)

    def _icmp(
        self,
        header: Header,
        payload: bytearray,
        source: int,
        destination: ToHairpin,
        context: Context,
    ) -> bytearray:
        """Lengths stay, so echo fragments and RFC 4884 extensions stay in their places."""
        if header.offset:
            return payload
        if len(payload) < upper.ICMP_HEADER:
            raise Refusal(Reason.L4_TRUNCATED)
        kind = payload[0]
        if kind in upper.ECHO_TO_IPV4:
            change = source + destination.ipv6 - header.source - header.destination
            upper.update(payload, upper.ICMP_CHECKSUM_AT, change)
            return payload
        if kind not in icmp.TRANSLATED_IPV6_ERRORS:
            raise Refusal(Reason.ICMP_NOT_TRANSLATABLE)
        if header.more:
            raise Refusal(Reason.FRAGMENTED_ICMP)
        length = len(payload) + ICMPV6
        if not checksum.is_correct(payload, header.source + header.destination + length):
            raise Refusal(Reason.BAD_CHECKSUM)
        quoted = inner.hairpin(
            bytes(payload[upper.ICMP_HEADER :]),
            self._addresses,
            context.own_sources,
            destination.prefix,
        )
        word = int.from_bytes(payload[4:8], "big")
        pseudo_header = source + destination.ipv6 + length
        return bytearray(own_errors.icmp_message(kind, payload[1], word, quoted, pseudo_header))
