"""DNS messages (RFC 1035): bytes to values and back, with every record type preserved.

``parse`` and ``build`` are for messages that are looked into or changed; ``layout`` checks the
structure and finds what the hot path needs, so that most answers are never taken apart.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from dns64.errors import MalformedError
from dns64.names import ROOT, read_name, skip_name

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE = 0x7800

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
BADVERS = 16

IN = 1
A, NS, CNAME, SOA, PTR, AAAA = 1, 2, 5, 6, 12, 28
DNAME, OPT, RRSIG, ANY = 39, 41, 46, 255

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_QUESTION = struct.Struct("!HH")

# Names inside record data that a sender may have compressed (RFC 1035, RFC 3597 section 4): the
# data is read as fixed bytes (a number), character strings ("s") and names ("n"), then the rest.
_DATA_WITH_NAMES: dict[int, tuple[int | str, ...]] = {
    NS: ("n",),
    3: ("n",),  # MD
    4: ("n",),  # MF
    CNAME: ("n",),
    SOA: ("n", "n"),
    7: ("n",),  # MB
    8: ("n",),  # MG
    9: ("n",),  # MR
    PTR: ("n",),
    14: ("n", "n"),  # MINFO
    15: (2, "n"),  # MX
    17: ("n", "n"),  # RP
    18: (2, "n"),  # AFSDB
    21: (2, "n"),  # RT
    24: (18, "n"),  # SIG
    26: (2, "n", "n"),  # PX
    30: ("n",),  # NXT
    33: (6, "n"),  # SRV
    35: (4, "s", "s", "s", "n"),  # NAPTR
    36: (2, "n"),  # KX
    DNAME: ("n",),
}
# Only these may be compressed when sent (RFC 3597 section 4).
_COMPRESSED_WHEN_SENT = frozenset({NS, 3, 4, CNAME, SOA, 7, 8, 9, PTR, 14, 15})


@dataclass(frozen=True, slots=True)
class Question:
    """``name`` in wire form, case as asked."""

    name: bytes
    type: int
    cls: int = IN

    @property
    def wire(self) -> bytes:
        return self.name + _QUESTION.pack(self.type, self.cls)


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record; names in ``name`` and ``data`` are expanded."""

    name: bytes
    type: int
    cls: int
    ttl: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message with one question, or none; an OPT record is among ``additional``."""

    id: int
    flags: int
    question: Question | None
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()

    @property
    def rcode(self) -> int:
        """The four bits of the header."""
        return self.flags & 15


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a message whose structure was checked; data was not looked into.

    ``ttls``: offsets of the TTL fields, less that of the OPT record. ``opt``: (start, end) of the
    OPT record, or None.
    """

    question: Question | None
    question_end: int
    ttls: tuple[int, ...]
    opt: tuple[int, int] | None
    counts: tuple[int, int, int]


def layout(wire: bytes) -> Layout:
    """Check the structure of a whole message: counts, names, lengths, nothing left over."""
    if len(wire) < 12:
        raise MalformedError("shorter than a header")
    _, _, questions, *counts = _HEADER.unpack_from(wire)
    question, at = _read_questions(wire, questions)
    question_end = at
    ttls: list[int] = []
    opt: tuple[int, int] | None = None
    size = len(wire)
    before_additional = counts[0] + counts[1]
    for index in range(before_additional + counts[2]):
        start = at
        at = skip_name(wire, at)
        if at + 10 > size:
            raise MalformedError("record leaves the message")
        kind, _, _, length = _RECORD.unpack_from(wire, at)
        end = at + 10 + length
        if end > size:
            raise MalformedError("record leaves the message")
        if kind == OPT:
            if opt is not None or index < before_additional or wire[start] != 0:
                raise MalformedError("OPT record where none may be (RFC 6891 section 6.1.1)")
            opt = (start, end)
        else:
            ttls.append(at + 4)
        at = end
    if at != size:
        raise MalformedError("bytes behind the last record")
    return Layout(question, question_end, tuple(ttls), opt, (counts[0], counts[1], counts[2]))


def parse(wire: bytes) -> Message:
    """The message in ``wire``; MalformedError names the first thing that is wrong."""
    if len(wire) < 12:
        raise MalformedError("shorter than a header")
    number, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(wire)
    question, at = _read_questions(wire, questions)
    sections: list[tuple[Record, ...]] = []
    for count in (answers, authorities, additionals):
        records: list[Record] = []
        for _ in range(count):
            record, at = _read_record(wire, at)
            records.append(record)
        sections.append(tuple(records))
    if at != len(wire):
        raise MalformedError("bytes behind the last record")
    return Message(number, flags, question, *sections)


def _read_questions(wire: bytes, count: int) -> tuple[Question | None, int]:
    if count == 0:
        return None, 12
    if count > 1:
        raise MalformedError("more than one question")
    name, at = read_name(wire, 12)
    if at + 4 > len(wire):
        raise MalformedError("question leaves the message")
    kind, cls = _QUESTION.unpack_from(wire, at)
    return Question(name, kind, cls), at + 4


def _read_record(wire: bytes, at: int) -> tuple[Record, int]:
    name, at = read_name(wire, at)
    if at + 10 > len(wire):
        raise MalformedError("record leaves the message")
    kind, cls, ttl, length = _RECORD.unpack_from(wire, at)
    at += 10
    end = at + length
    if end > len(wire):
        raise MalformedError("record leaves the message")
    shape = _DATA_WITH_NAMES.get(kind)
    data = wire[at:end] if shape is None else _expand(wire, at, end, shape)
    # RFC 2181 section 8: a TTL with the top bit set counts as 0.
    if ttl >= 1 << 31 and kind != OPT:
        ttl = 0
    return Record(name, kind, cls, ttl, data), end


def _expand(wire: bytes, at: int, end: int, shape: tuple[int | str, ...]) -> bytes:
    if at == end:
        return (
            b""  # dynamic updates and broken senders; whoever reads it sees that nothing is there
        )
    parts: list[bytes] = []
    for part in shape:
        if at >= end:
            raise MalformedError("record data ends before its fields do")
        if part == "n":
            name, after = read_name(wire, at)
            parts.append(name)
        else:
            after = at + (1 + wire[at] if isinstance(part, str) else part)
            parts.append(wire[at:after])
        if after > end:
            raise MalformedError("record data ends before its fields do")
        at = after
    parts.append(wire[at:end])
    return b"".join(parts)


class _Writer:
    """Bytes of a message in the making, with the names that may be pointed to."""

    def __init__(self, message: Message) -> None:
        sections = (message.answer, message.authority, message.additional)
        self.out = bytearray(
            _HEADER.pack(
                message.id, message.flags, int(message.question is not None), *map(len, sections)
            )
        )
        self._offsets: dict[bytes, int] = {}
        if message.question is not None:
            self._name(message.question.name)
            self.out += _QUESTION.pack(message.question.type, message.question.cls)
        for section in sections:
            for record in section:
                self._record(record)

    def _name(self, name: bytes) -> None:
        at = 0
        while name[at]:
            rest = name[at:]
            known = self._offsets.get(rest)
            if known is not None:
                self.out += (0xC000 | known).to_bytes(2, "big")
                return
            if len(self.out) < 0x4000:
                self._offsets[rest] = len(self.out)
            end = at + 1 + name[at]
            self.out += name[at:end]
            at = end
        self.out += ROOT

    def _record(self, record: Record) -> None:
        self._name(record.name)
        self.out += _RECORD.pack(record.type, record.cls, record.ttl, 0)
        start = len(self.out)
        if record.type in _COMPRESSED_WHEN_SENT and record.data:
            self._data(record)
        else:
            self.out += record.data
        length = len(self.out) - start
        if length > 0xFFFF:
            raise MalformedError("record data longer than 65535 bytes")
        self.out[start - 2 : start] = length.to_bytes(2, "big")

    def _data(self, record: Record) -> None:
        data = record.data
        at = 0
        for part in _DATA_WITH_NAMES[record.type]:
            if part == "n":
                end = skip_name(data, at)
                self._name(data[at:end])
            else:
                end = at + int(part)
                self.out += data[at:end]
            at = end
        self.out += data[at:]


def build(message: Message) -> bytes:
    """The bytes of ``message``, names compressed with their case kept."""
    out = bytes(_Writer(message).out)
    if len(out) > 0xFFFF:
        raise MalformedError("message longer than 65535 bytes")
    return out


def lowest_ttl(records: Iterable[Record], otherwise: int) -> int:
    """The smallest TTL among ``records``."""
    return min((record.ttl for record in records), default=otherwise)
