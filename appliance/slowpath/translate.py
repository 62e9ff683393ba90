"""The stateless translator: one packet in, one verdict out (docs/translation.md).

Pure: what it needs to know beside the packet is in the ``Context``.
"""

from ipaddress import IPv4Address, IPv6Address

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
from appliance.slowpath.addresses import Addresses, Refused, ToHairpin
from appliance.slowpath.headers import (
    FRAGMENT,
    FRAGMENT_HEADER,
    ICMP,
    ICMPV6,
    IPV4_HEADER,
    IPV6_HEADER,
    Header,
)
from appliance.slowpath.verdict import (
    Context,
    Direction,
    Drop,
    ErrorMessage,
    HopLimit,
    LeftToSlowPath,
    Pass,
    Reason,
    Refusal,
    SlowPath,
    Translated,
    UpTranslated,
    Verdict,
)
from bpf.model import BoxAddresses, Translation

_PASS = Pass()
_TIME_EXCEEDED_IPV4 = ErrorMessage(11, 0)
_TIME_EXCEEDED_IPV6 = ErrorMessage(3, 0)
_NO_IPV4_ADDRESS = ErrorMessage(1, 5)
_FRAGMENTATION_NEEDED = 3, 4
_PACKET_TOO_BIG = 2, 0
_IPV4_ICMP_ROOM = own_errors.MOST_IPV4_BYTES - IPV4_HEADER - upper.ICMP_HEADER
_IPV6_ICMP_ROOM = own_errors.MOST_IPV6_BYTES - IPV6_HEADER - upper.ICMP_HEADER
_UNMAPPED = frozenset((Reason.SOURCE_UNMAPPED, Reason.NON_GLOBAL_ADDRESS))


class Translator:
    """RFC 7915 by the given settings. Safe to call with any bytes."""

    def __init__(self, translation: Translation, own: BoxAddresses) -> None:
        self._settings = translation
        self._addresses = Addresses(translation, own)
        self._rfc6791_ipv6 = (
            None if translation.rfc6791_ipv6 is None else int(translation.rfc6791_ipv6)
        )

    def translate(self, packet: bytes, context: Context, family: int | None = None) -> Verdict:
        """``packet``: from its IP header on. ``family``: 4 or 6 where the frame says it."""
        if family is None:
            family = packet[0] >> 4 if packet else 0
        try:
            if family == 4 and len(packet) >= IPV4_HEADER:
                return self._from_ipv4(packet, context)
            if family == 6 and len(packet) >= IPV6_HEADER:
                return self._from_ipv6(packet, context)
        except LeftToSlowPath:
            return SlowPath()
        except Refusal as refusal:
            return _drop(packet, family, refusal, context)
        return _PASS

    # IPv4 to IPv6

    def _from_ipv4(self, packet: bytes, context: Context) -> Verdict:
        wanted = int.from_bytes(packet[16:20], "big")
        if wanted in self._addresses.own_ipv4:
            return _PASS
        destination = self._addresses.inside(wanted)
        if destination is None:
            return _PASS
        header = headers.checked_ipv4(packet)
        payload = bytearray(packet[header.length : header.total])
        source = self._ipv4_source(header, payload, context)
        if header.length > IPV4_HEADER:
            headers.check_options(packet[IPV4_HEADER : header.length])
        headers.check_fragment(header)
        if header.protocol in upper.NOT_FROM_IPV4:
            raise Refusal(Reason.PROTOCOL_NOT_TRANSLATABLE)
        _check_hop_limit(header, context, _TIME_EXCEEDED_IPV4)
        if header.protocol == ICMP:
            payload, is_error = self._icmp_to_ipv6(header, payload, source, destination, context)
            if is_error:
                packets = (self._ipv6(header, source, destination, ICMPV6, payload, context),)
                return Translated(packets, Direction.IPV4_TO_IPV6)
            return self._to_ipv6(header, source, destination, ICMPV6, payload, context)
        self._transport_to_ipv6(header, payload, source, destination)
        return self._to_ipv6(header, source, destination, header.protocol, payload, context)

    def _ipv4_source(self, header: Header, payload: bytearray, context: Context) -> int:
        source = self._addresses.source_ipv4(header.source, context.own_sources)
        if not isinstance(source, Reason):
            return source
        if source in _UNMAPPED and icmp.is_ipv4_error(header, payload):
            return _rfc6791(self._rfc6791_ipv6, context.egress_ipv6)
        raise Refusal(source)

    def _transport_to_ipv6(
        self, header: Header, payload: bytearray, source: int, destination: int
    ) -> None:
        upper.check(header, payload)
        if upper.udp_without_checksum(header, payload):
            if header.more or not self._settings.compute_udp_checksum:
                raise Refusal(Reason.UDP_ZERO_CHECKSUM)
            upper.compute_udp(payload, source, destination)
        else:
            change = source + destination - header.source - header.destination
            upper.update_transport(header, payload, change)

    def _icmp_to_ipv6(
        self, header: Header, payload: bytearray, source: int, destination: int, context: Context
    ) -> tuple[bytearray, bool]:
        """(the ICMPv6 message, whether it is an error)."""
        _check_icmp(header, payload)
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
            extensions.Quote(translated, extension), _IPV6_ICMP_ROOM, extensions.IPV6_UNIT
        )
        pseudo_header = source + destination + upper.ICMP_HEADER + len(body) + ICMPV6
        word = message.word | length << 24
        return bytearray(
            own_errors.icmp_message(message.type, message.code, word, body, pseudo_header)
        ), True

    def _to_ipv6(
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
        packet = self._ipv6(header, source, destination, protocol, payload, context)
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
                hop_limit=_hop_limit(header, context),
                protocol=FRAGMENT,
                payload=FRAGMENT_HEADER + len(data),
                flow_label=label,
            )
            fragment = headers.fragment_header(protocol, offset, more, header.identification)
            packets.append(fixed + fragment + data)
        return tuple(packets)

    def _ipv6(
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
            hop_limit=_hop_limit(header, context),
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

    # IPv6 to IPv4, and IPv6 to IPv6

    def _from_ipv6(self, packet: bytes, context: Context) -> Verdict:
        wanted = int.from_bytes(packet[24:40], "big")
        if wanted in self._addresses.own_ipv6:
            return _PASS
        destination = self._addresses.destination_ipv6(wanted)
        if destination is None:
            return _PASS
        if isinstance(destination, Refused):
            raise Refusal(destination.reason, destination.message)
        header = headers.checked_ipv6(packet)
        packet = packet[: header.total]
        source = self._addresses.source_ipv6(header.source, context.own_sources)
        if isinstance(source, Reason) and source is not Reason.SOURCE_UNMAPPED:
            raise Refusal(source)
        headers.skip_extension_headers(packet, header, header.total)
        payload = bytearray(packet[header.length :])
        unmapped = isinstance(source, Reason)
        if unmapped and not icmp.is_ipv6_error(header, payload):
            raise Refusal(Reason.SOURCE_UNMAPPED, _NO_IPV4_ADDRESS)
        if isinstance(destination, ToHairpin):
            mapped = None if isinstance(source, Reason) else source
            return self._hairpin(packet, header, payload, mapped, destination, context)
        if isinstance(source, Reason):
            source = _rfc6791(self._addresses.rfc6791_ipv4(header.source), context.egress_ipv4)
        self._check_ipv6(header, context)
        if header.protocol == ICMPV6:
            payload = self._icmp_to_ipv4(header, payload, source, destination.ipv4, context)
            return self._to_ipv4(header, source, destination.ipv4, ICMP, payload, context)
        upper.check(header, payload)
        if upper.udp_without_checksum(header, payload):
            raise Refusal(Reason.UDP_ZERO_CHECKSUM)
        change = source + destination.ipv4 - header.source - header.destination
        upper.update_transport(header, payload, change)
        return self._to_ipv4(header, source, destination.ipv4, header.protocol, payload, context)

    def _check_ipv6(self, header: Header, context: Context) -> None:
        headers.check_fragment(header)
        if header.protocol in upper.NOT_FROM_IPV6:
            raise Refusal(Reason.PROTOCOL_NOT_TRANSLATABLE)
        _check_hop_limit(header, context, _TIME_EXCEEDED_IPV6)

    def _icmp_to_ipv4(
        self, header: Header, payload: bytearray, source: int, destination: int, context: Context
    ) -> bytearray:
        _check_icmp(header, payload)
        kind = payload[0]
        pseudo_header = header.source + header.destination + len(payload) + ICMPV6
        if kind in upper.ECHO_TO_IPV4:
            upper.turn_echo(payload, upper.ECHO_TO_IPV4[kind], -pseudo_header)
            return payload
        if kind not in icmp.TRANSLATED_IPV6_ERRORS:
            raise Refusal(Reason.ICMP_NOT_TRANSLATABLE)
        if not checksum.is_correct(payload, pseudo_header):
            raise Refusal(Reason.BAD_CHECKSUM)
        message = icmp.to_ipv4(payload, context)
        units = payload[extensions.IPV6_LENGTH_AT] if kind in extensions.IPV6_CARRIERS else 0
        if units and context.allow_slow:
            raise LeftToSlowPath
        quote = extensions.split(bytes(payload[upper.ICMP_HEADER :]), units * extensions.IPV6_UNIT)
        translated = inner.to_ipv4(
            quote.datagram, self._addresses, context.own_sources, self._settings.tos
        )
        body, length = extensions.join(
            extensions.Quote(translated, quote.extension), _IPV4_ICMP_ROOM, extensions.IPV4_UNIT
        )
        word = message.word | length << 16
        return bytearray(own_errors.icmp_message(message.type, message.code, word, body, 0))

    def _to_ipv4(
        self,
        header: Header,
        source: int,
        destination: int,
        protocol: int,
        payload: bytearray,
        context: Context,
    ) -> Verdict:
        total = IPV4_HEADER + len(payload)
        fits = total <= min(context.mtu4, icmp.MOST_IPV4)
        is_cut = total < IPV4_HEADER + header.total - header.length  # an error, at most 576 bytes
        if not fits and header.total > icmp.LEAST_IPV6_MTU and not is_cut:
            mtu = max(icmp.LEAST_IPV6_MTU, context.mtu4 + IPV6_HEADER - IPV4_HEADER)
            raise Refusal(Reason.PACKET_TOO_BIG, ErrorMessage(*_PACKET_TOO_BIG, mtu))
        if header.fragment_header:
            dont_fragment = False
            identification = header.identification & 0xFFFF
        else:
            dont_fragment = total > inner.UNFRAGMENTED_IPV4
            identification = 0 if dont_fragment else context.identification() & 0xFFFF
        tos = self._settings.tos
        hop_limit = _hop_limit(header, context)
        if not fits and context.hop_limit is HopLimit.DECREMENT:
            hop_limit = header.hop_limit
        fixed = headers.ipv4_header(
            source,
            destination,
            octet=header.octet if tos is None else tos,
            ttl=hop_limit,
            protocol=protocol,
            total=total,
            identification=identification,
            dont_fragment=dont_fragment,
            offset=header.offset,
            more=header.more,
        )
        packet = fixed + payload
        if fits:
            return Translated((packet,), Direction.IPV6_TO_IPV4)
        return UpTranslated(packet, Direction.IPV6_TO_IPV4)

    def _hairpin(
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
        self._check_ipv6(header, context)
        change = source + destination.ipv6 - header.source - header.destination
        if header.protocol == ICMPV6:
            payload = self._icmp_hairpin(header, payload, source, destination, context)
        else:
            upper.check(header, payload)
            if upper.udp_without_checksum(header, payload):
                raise Refusal(Reason.UDP_ZERO_CHECKSUM)
            upper.update_transport(header, payload, change)
        if header.total > context.mtu6:
            raise Refusal(Reason.PACKET_TOO_BIG, ErrorMessage(*_PACKET_TOO_BIG, context.mtu6))
        new_addresses = (source << 128 | destination.ipv6).to_bytes(32, "big")
        start = packet[:7] + bytes((_hop_limit(header, context),)) + new_addresses
        turned = start + packet[IPV6_HEADER : header.length] + payload
        return Translated((turned,), Direction.HAIRPIN)

    def _icmp_hairpin(
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


def _rfc6791(pool: int | None, own: IPv4Address | IPv6Address | None) -> int:
    """The source of an error whose router has no mapping (section 7)."""
    if pool is not None:
        return pool
    if own is None:
        raise Refusal(Reason.NO_OWN_ADDRESS)
    return int(own)


def _check_icmp(header: Header, payload: bytearray) -> None:
    if not header.offset and len(payload) < upper.ICMP_HEADER:
        raise Refusal(Reason.L4_TRUNCATED)
    if not header.whole:
        raise Refusal(Reason.FRAGMENTED_ICMP)


def _check_hop_limit(header: Header, context: Context, message: ErrorMessage) -> None:
    """On the slow path the kernel has judged and decremented already."""
    least = 1 if context.hop_limit is HopLimit.RESTORE else 2
    if header.hop_limit < least:
        raise Refusal(Reason.HOP_LIMIT, message)


def _hop_limit(header: Header, context: Context) -> int:
    return min(255, header.hop_limit + context.hop_limit.value)


def _drop(packet: bytes, family: int, refusal: Refusal, context: Context) -> Drop:
    message = refusal.message
    if message is None:
        return Drop(refusal.reason)
    if family == 4:
        header = headers.read_ipv4(packet)
        packet = packet[: header.total]
        if not own_errors.may_answer_ipv4(packet):
            return Drop(refusal.reason)
        if context.ipv4 is None:
            return Drop(refusal.reason, unsent=True)
        error = own_errors.to_ipv4_sender(packet, message, int(context.ipv4))
        return Drop(refusal.reason, error)
    packet = packet[: headers.read_ipv6(packet).total]
    if not own_errors.may_answer_ipv6(packet):
        return Drop(refusal.reason)
    if context.ipv6 is None:
        return Drop(refusal.reason, unsent=True)
    return Drop(refusal.reason, own_errors.to_ipv6_sender(packet, message, int(context.ipv6)))
