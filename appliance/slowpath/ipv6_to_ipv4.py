"""IPv6 to IPv4 (RFC 7915 section 5); what turns back to IPv6 goes on to the hairpin."""

from appliance.slowpath import checksum, extensions, headers, icmp, inner, own_errors, upper
from appliance.slowpath.addresses import Addresses, Refused, ToHairpin, rfc6791_source
from appliance.slowpath.hairpin import Hairpin, check_ipv6
from appliance.slowpath.headers import ICMP, ICMPV6, IPV4_HEADER, IPV6_HEADER, Header
from appliance.slowpath.hop_limit import new_hop_limit
from appliance.slowpath.verdict import (
    PASS,
    Context,
    Direction,
    ErrorMessage,
    HopLimit,
    LeftToSlowPath,
    Reason,
    Refusal,
    Translated,
    UpTranslated,
    Verdict,
)
from bpf.model import Translation

_NO_IPV4_ADDRESS = ErrorMessage(1, 5)
_PACKET_TOO_BIG = 2, 0
_ICMP_ROOM = own_errors.MOST_IPV4_BYTES - IPV4_HEADER - upper.ICMP_HEADER


class IPv6ToIPv4:
    def __init__(self, settings: Translation, addresses: Addresses) -> None:
        self._settings = settings
        self._addresses = addresses
        self._hairpin = Hairpin(addresses)

    def translate(self, packet: bytes, context: Context) -> Verdict:
        wanted = int.from_bytes(packet[24:40], "big")
        if wanted in self._addresses.own_ipv6:
            return PASS
        destination = self._addresses.destination_ipv6(wanted)
        if destination is None:
            return PASS
        if isinstance(destination, Refused):
            source = self._addresses.source_ipv6(
                int.from_bytes(packet[8:24], "big"), context.own_sources
            )
            spoofed = isinstance(source, Reason) and source is not Reason.SOURCE_UNMAPPED
            raise Refusal(destination.reason, None if spoofed else destination.message)
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
            return self._hairpin.translate(packet, header, payload, mapped, destination, context)
        if isinstance(source, Reason):
            source = rfc6791_source(
                self._addresses.rfc6791_ipv4(header.source), context.egress_ipv4
            )
        check_ipv6(header, context)
        if header.protocol == ICMPV6:
            payload = self._icmp(header, payload, source, destination.ipv4, context)
            return self._sized(header, source, destination.ipv4, ICMP, payload, context)
        upper.check(header, payload)
        if upper.udp_without_checksum(header, payload):
            raise Refusal(Reason.UDP_ZERO_CHECKSUM)
        change = source + destination.ipv4 - header.source - header.destination
        upper.update_transport(header, payload, change)
        return self._sized(header, source, destination.ipv4, header.protocol, payload, context)

    def _icmp(
        self, header: Header, payload: bytearray, source: int, destination: int, context: Context
    ) -> bytearray:
        upper.check_icmp(header, payload)
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
            extensions.Quote(translated, quote.extension), _ICMP_ROOM, extensions.IPV4_UNIT
        )
        word = message.word | length << 16
        return bytearray(own_errors.icmp_message(message.type, message.code, word, body, 0))

    def _sized(
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
        hop_limit = new_hop_limit(header, context)
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
