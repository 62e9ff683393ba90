"""EDNS(0), RFC 6891, and extended errors, RFC 8914."""

import struct
from dataclasses import dataclass
from enum import IntEnum

from dns64.errors import MalformedError
from dns64.wire import OPT, Record

DO = 0x8000
SMALLEST_UDP = 512
EDE_OPTION = 15

_OPTION = struct.Struct("!HH")
_OPT_RECORD = struct.Struct("!BHHBBHH")


class Ede(IntEnum):
    """Info codes that edge64 gives or reads (the IANA registry's numbers)."""

    OTHER = 0
    DNSSEC_INDETERMINATE = 5
    DNSSEC_BOGUS = 6
    SIGNATURE_EXPIRED = 7
    SIGNATURE_NOT_YET_VALID = 8
    DNSKEY_MISSING = 9
    RRSIGS_MISSING = 10
    NO_ZONE_KEY_BIT_SET = 11
    NSEC_MISSING = 12
    PROHIBITED = 18
    NOT_SUPPORTED = 21
    NO_REACHABLE_AUTHORITY = 22
    NETWORK_ERROR = 23
    SYNTHESIZED = 29


VALIDATION_FAILED = frozenset(range(Ede.DNSSEC_INDETERMINATE, Ede.NSEC_MISSING + 1))


@dataclass(frozen=True, slots=True)
class ExtendedError:
    """One extended error; ``text`` is UTF-8, without a closing zero."""

    code: int
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Opt:
    """What an OPT record says."""

    udp_size: int
    version: int
    rcode_high: int
    do: bool
    options: tuple[tuple[int, bytes], ...] = ()

    @property
    def errors(self) -> tuple[ExtendedError, ...]:
        """The extended errors among the options; ones too short for a code are left out."""
        return tuple(
            ExtendedError(int.from_bytes(data[:2], "big"), data[2:])
            for code, data in self.options
            if code == EDE_OPTION and len(data) >= 2
        )


def read_opt(wire: bytes, span: tuple[int, int]) -> Opt:
    """The OPT record at ``span`` of a message whose layout was checked."""
    start, end = span
    _, _, udp_size, high, version, flags, _ = _OPT_RECORD.unpack_from(wire, start)
    at = start + _OPT_RECORD.size
    options = []
    while at < end:
        if at + 4 > end:
            raise MalformedError("EDNS option leaves its record")
        code, length = _OPTION.unpack_from(wire, at)
        at += 4 + length
        if at > end:
            raise MalformedError("EDNS option leaves its record")
        options.append((code, wire[at - length : at]))
    return Opt(udp_size, version, high, bool(flags & DO), tuple(options))


def opt_bytes(udp_size: int, do: bool, rcode: int, errors: tuple[ExtendedError, ...] = ()) -> bytes:
    """An OPT record on the wire; of ``rcode`` (12 bits) it carries the upper eight."""
    options = b"".join(
        _OPTION.pack(EDE_OPTION, 2 + len(error.text)) + error.code.to_bytes(2, "big") + error.text
        for error in errors
    )
    return (
        _OPT_RECORD.pack(0, OPT, udp_size, rcode >> 4, 0, DO if do else 0, len(options)) + options
    )


def opt_record(udp_size: int, do: bool) -> Record:
    """The same as a record, for messages that are built whole."""
    return Record(b"\0", OPT, udp_size, DO if do else 0, b"")
