"""The stateless translator: one packet in, one verdict out (docs/translation.md).

Pure: what it needs to know beside the packet is in the ``Context``.
"""

from appliance.slowpath import headers, own_errors
from appliance.slowpath.addresses import Addresses
from appliance.slowpath.headers import IPV4_HEADER, IPV6_HEADER
from appliance.slowpath.ipv4_to_ipv6 import IPv4ToIPv6
from appliance.slowpath.ipv6_to_ipv4 import IPv6ToIPv4
from appliance.slowpath.verdict import (
    PASS,
    Context,
    Drop,
    LeftToSlowPath,
    Refusal,
    SlowPath,
    Verdict,
)
from bpf.model import BoxAddresses, Translation


class Translator:
    """RFC 7915 by the given settings. Safe to call with any bytes."""

    def __init__(self, translation: Translation, own: BoxAddresses) -> None:
        addresses = Addresses(translation, own)
        self._from_ipv4 = IPv4ToIPv6(translation, addresses)
        self._from_ipv6 = IPv6ToIPv4(translation, addresses)

    def translate(self, packet: bytes, context: Context, family: int | None = None) -> Verdict:
        """``packet``: from its IP header on. ``family``: 4 or 6 where the frame says it."""
        if family is None:
            family = packet[0] >> 4 if packet else 0
        try:
            if family == 4 and len(packet) >= IPV4_HEADER:
                return self._from_ipv4.translate(packet, context)
            if family == 6 and len(packet) >= IPV6_HEADER:
                return self._from_ipv6.translate(packet, context)
        except LeftToSlowPath:
            return SlowPath()
        except Refusal as refusal:
            return _drop(packet, family, refusal, context)
        return PASS


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
