"""What a client asks, read from its message, and the answers to what is no question."""

import struct
from dataclasses import dataclass

from dns64.edns import Opt, read_opt
from dns64.errors import MalformedError
from dns64.wire import AD, BADVERS, CD, FORMERR, NOTIMP, OPCODE, QR, RD, Question, layout

_NOT_FORWARDED = frozenset({41, 249, 250, 251, 252})  # OPT, TKEY, TSIG, IXFR, AXFR


@dataclass(frozen=True, slots=True)
class Query:
    """A well-formed query with one question."""

    id: int
    question: Question
    rd: bool = True
    ad: bool = False
    cd: bool = False
    opt: Opt | None = None

    @property
    def do(self) -> bool:
        return self.opt is not None and self.opt.do

    @property
    def wants_ad(self) -> bool:
        """Whether the client understands AD in an answer (RFC 6840 sections 5.7 and 5.8)."""
        return self.ad or self.do

    @property
    def transferable(self) -> bool:
        """Whether this kind of question can be forwarded at all."""
        return self.question.type not in _NOT_FORWARDED


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that is answered with ``rcode`` at once."""

    id: int
    flags: int
    rcode: int
    question: Question | None = None
    opt: Opt | None = None


def read_query(wire: bytes) -> Query | Refusal | None:
    """None: silence (too short for a header, or itself a reply)."""
    if len(wire) < 12:
        return None
    number, flags = struct.unpack_from("!HH", wire)
    if flags & QR:
        return None
    if flags & OPCODE:
        return Refusal(number, flags, NOTIMP)
    try:
        found = layout(wire)
        opt = read_opt(wire, found.opt) if found.opt else None
    except MalformedError:
        return Refusal(number, flags, FORMERR)
    if found.question is None:
        return Refusal(number, flags, FORMERR, None, opt)
    if opt is not None and opt.version != 0:
        return Refusal(number, flags, BADVERS, found.question, opt)
    return Query(number, found.question, bool(flags & RD), bool(flags & AD), bool(flags & CD), opt)
