"""IPv4 to IPv6 (RFC 7915 section 4)."""

from appliance.slowpath import (
    checksum,
    extensions,
    fragments,
    headers,
    icmp,
    inner,
    own_errors,
    upper,
)
from appliance.slowpath.addresses import Addresses, rfc6791_source
from appliance.slowpath.headers import (
    FRAGMENT,
    FRAGMENT_HEADER,
    ICMP,
    ICMPV6,
    IPV4_HEADER,
    IPV6_HEADER,
    Header,
)
from appliance.slowpath.hop_limit import check_hop_limit, new_hop_limit
from appliance.slowpath.verdict import (
    PASS,
    UNMAPPED,
    Context,
    Direction,
    ErrorMessage,
    LeftToSlowPath,
    Reason,
    Refusal,
    Translated,
    Verdict,
)
from bpf.model import Translation

_TIME_EXCEEDED = ErrorMessage(11, 0)
_FRAGMENTATION_NEEDED = 3, 4
_ICMP_ROOM = own_errors.MOST_IPV6_BYTES - IPV6_HEADER - upper.ICMP_HEADER


class IPv4ToIPv6:
    def __init__(self, settings: Translation, addresses: Addresses) -> None:
        self._settings = settings
        self._addresses = addresses
        self._rfc6791_ipv6 = None if settings.rfc6791_ipv6 is None else int(settings.rfc6791_ipv6)

    def translate(self, packet: bytes, context: Context) -> Verdict:
        wanted = int.from_bytes(packet[16:20], "big")
        if wanted in self._addresses.own_ipv4:
            return PASS
        destination = self._addresses.inside(wanted)
        if destination is None:
            return PASS
        header = headers.checked_ipv4(packet)
        payload = bytearray(packet[header.length : header.total])
        source = self._source(header, payload, context)
        if header.length > IPV4_HEADER:
            headers.check_options(packet[IPV4_HEADER : header.length])
        headers.check_fragment(header)
        if header.protocol in upper.NOT_FROM_IPV4:
            raise Refusal(Reason.PROTOCOL_NOT_TRANSLATABLE)
        check_hop_limit(header, context, _TIME_EXCEEDED)
        if header.protocol == ICMP:
            payload, is_error = self._icmp(header, payload, source, destination, context)
            if is_error:
                packets = (self._packet(header, source, destination, ICMPV6, payload, context),)
                return Translated(packets, Direction.IPV4_TO_IPV6)
            return self._sized(header, source, destination, ICMPV6, payload, context)
        self._transport(header, payload, source, destination)
        return self._sized(header, source, destination, header.protocol, payload, context)

    def _source(self, header: Header, payload: bytearray, context: Context) -> int:
        source = self._addresses.source_ipv4(header.source, context.own_sources)
        if not isinstance(source, Reason):
            return source
        if source in UNMAPPED and icmp.is_ipv4_error(header, payload):
            return rfc6791_source(self._rfc6791_ipv6, context.egress_ipv6)
        raise Refusal(source)

    def _transport(self, header: Header, payload: bytearray, source: int, destination: int) -> None:
        upper.check(header, payload)
        if upper.udp_without_checksum(header, payload):
            if header.more or not self._settings.compute_udp_checksum:
                raise Refusal(Reason.UDP_ZERO_CHECKSUM)
            upper.compute_udp(payload, source, destination)
        else:
            change = source + destination - header.source - header.destination
            upper.update_transport(header, payload, change)

    def _icmp(
        self, header: Header, payload: bytearray, source: int, destination: int, context: Context
    ) -> tuple[bytearray, bool]:
        """(the ICMPv6 message, whether it is an error)."""
        upper.check_icmp(header, payload)
        kind = payload[0]
        if kind in upper.ECHO_TO_IPV6:
            pseudo_header = source + destination + len(payload) + ICMPV6
            upper.turn_echo(payload, upper.ECHO_TO_IPV6[kind], pseudo_header)
            return payload, False
        if kind not in icmp.TRANSLATED_IPV4_ERRORS:
            raise Refusal(Reason.ICMP_NOT_TRANSLATABLE)
        if not checksum.is_correct(payload):
            raise Refusal(Reason.BAD_CHECKSUM)
        quoted = bytes(payload[upper.ICMP_HEADER :])
        message = icmp.to_ipv6(payload, int.from_bytes(quoted[2:4], "big"), context)
        units = payload[extensions.IPV4_LENGTH_AT]
        if units and context.allow_slow:
            raise LeftToSlowPath
        quote = extensions.split(quoted, units * extensions.IPV4_UNIT)
        translated = inner.to_ipv6(
            quote.datagram,
            self._addresses,
            context.own_sources,
            self._settings.traffic_class,
        )
        extension = quote.extension if message.type in extensions.IPV6_CARRIERS else b""
        body, length = extensions.join(
            extensions.Quote(translated, extension), _ICMP_ROOM, extensions.IPV6_UNIT
        )
        pseudo_header = source + destination + upper.ICMP_HEADER + len(body) + ICMPV6
        word = message.word | length << 24
        return bytearray(
            own_errors.icmp_message(message.type, message.code, word, body, pseudo_header)
        ), True

    def _sized(
        self,
        header: Header,
        source: int,
        destination: int,
        protocol: int,
        payload: bytearray,
        context: Context,
    ) -> Verdict:
        """Judges the size, and fragments where the sender allows it."""
        growth = 0 if header.whole else FRAGMENT_HEADER
        total = IPV6_HEADER + growth + len(payload)
        if header.dont_fragment:
            if total > context.mtu6:
                mtu = max(0, context.mtu6 - (IPV6_HEADER - IPV4_HEADER) - growth)
                too_big = ErrorMessage(*_FRAGMENTATION_NEEDED, mtu)
                raise Refusal(Reason.PACKET_TOO_BIG, too_big)
        else:
            limit = min(self._settings.lowest_ipv6_mtu, context.mtu6)
            if total > limit:
                if context.allow_slow:
                    raise LeftToSlowPath
                packets = self._cut(header, source, destination, protocol, payload, context, limit)
                return Translated(packets, Direction.IPV4_TO_IPV6)
        packet = self._packet(header, source, destination, protocol, payload, context)
        return Translated((packet,), Direction.IPV4_TO_IPV6)

    def _cut(
        self,
        header: Header,
        source: int,
        destination: int,
        protocol: int,
        payload: bytearray,
        context: Context,
        limit: int,
    ) -> tuple[bytes, ...]:
        label = self._flow_label(header, source, destination, protocol, payload, context)
        packets = []
        for offset, more, data in fragments.cut(
            payload, limit, offset=header.offset, more=header.more
        ):
            fixed = headers.ipv6_header(
                source,
                destination,
                octet=self._traffic_class(header),
                hop_limit=new_hop_limit(header, context),
                protocol=FRAGMENT,
                payload=FRAGMENT_HEADER + len(data),
                flow_label=label,
            )
            fragment = headers.fragment_header(protocol, offset, more, header.identification)
            packets.append(fixed + fragment + data)
        return tuple(packets)

    def _packet(
        self,
        header: Header,
        source: int,
        destination: int,
        protocol: int,
        payload: bytearray,
        context: Context,
    ) -> bytes:
        label = self._flow_label(header, source, destination, protocol, payload, context)
        fragment = b""
        next_header = protocol
        if not header.whole:
            fragment = headers.fragment_header(
                protocol, header.offset, header.more, header.identification
            )
            next_header = FRAGMENT
        fixed = headers.ipv6_header(
            source,
            destination,
            octet=self._traffic_class(header),
            hop_limit=new_hop_limit(header, context),
            protocol=next_header,
            payload=len(fragment) + len(payload),
            flow_label=label,
        )
        return fixed + fragment + payload

    def _traffic_class(self, header: Header) -> int:
        fixed = self._settings.traffic_class
        return header.octet if fixed is None else fixed

    def _flow_label(
        self,
        header: Header,
        source: int,
        destination: int,
        protocol: int,
        payload: bytearray,
        context: Context,
    ) -> int:
        if not self._settings.flow_label_hash:
            return 0
        # Fragments of one packet share a label, and only the first knows the ports.
        ports = bytes(payload[:4]) if header.whole and protocol in upper.CHECKSUM_AT else b""
        return context.flow_label(source, destination, protocol, ports) & 0xFFFFF
