"""Messages of an upstream, and answers on their way to a client.

An answer's body is a whole message without id and OPT record: what is the same for every client
that asked the same. ``render`` adds what is each client's own.
"""

import struct
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from dns64.edns import SMALLEST_UDP, ExtendedError, Opt, opt_bytes, read_opt
from dns64.query import Query, Refusal
from dns64.wire import (
    CD,
    OPT,
    QR,
    RA,
    RD,
    SERVFAIL,
    TC,
    Layout,
    Message,
    Question,
    build,
    layout,
    parse,
)

_COUNTS = struct.Struct("!HHHH")


class Rule(Enum):
    """Which decision an answer came from; the names are in counters and in `dns query`."""

    PASSED = "passed"
    SYNTHESISED = "synthesised"
    FILTERED = "filtered"
    FROM_A = "from-a"
    BOGUS = "bogus"
    REVERSE = "reverse"
    IPV4ONLY = "ipv4only"
    UPSTREAM_FAILED = "upstream-failed"
    REFUSED = "refused"
    ERROR = "error"


@dataclass(frozen=True)
class Reply:
    """An upstream's reply that answers our question, its structure checked.

    ``trusted``: it comes from the validator on this box, whose extended errors count.
    """

    wire: bytes
    layout: Layout
    trusted: bool = False

    @cached_property
    def opt(self) -> Opt | None:
        return read_opt(self.wire, self.layout.opt) if self.layout.opt else None

    @property
    def rcode(self) -> int:
        """All twelve bits."""
        high = self.opt.rcode_high if self.opt else 0
        return high << 4 | self.wire[3] & 15

    @cached_property
    def message(self) -> Message:
        return parse(self.wire)

    @property
    def errors(self) -> tuple[ExtendedError, ...]:
        return self.opt.errors if self.opt else ()


@dataclass(frozen=True, slots=True)
class Answer:
    """``body``: the message with id 0 and no OPT; ``rcode``: all twelve bits."""

    body: bytes
    question: Question
    rcode: int
    rule: Rule
    errors: tuple[ExtendedError, ...] = ()


def passed(reply: Reply, question: Question, rule: Rule = Rule.PASSED) -> Answer:
    """The reply as it came, less the OPT record, which is between two neighbours only."""
    wire, span = reply.wire, reply.layout.opt
    if span is not None:
        if span[1] == len(wire):
            more = reply.layout.counts[2] - 1
            wire = wire[:10] + more.to_bytes(2, "big") + wire[12 : span[0]]
        else:
            # Compression pointers behind it would lead astray, so it is built anew.
            message = reply.message
            kept = tuple(record for record in message.additional if record.type != OPT)
            wire = build(replace(message, additional=kept))
    if reply.layout.question is None:
        wire = wire[:4] + b"\0\1" + wire[6:12] + question.wire + wire[12:]
    return Answer(wire, question, reply.rcode, rule, reply.errors)


def failure(
    question: Question,
    rcode: int,
    rule: Rule,
    *errors: ExtendedError,
    flags: int = QR | RA,
) -> Answer:
    """An answer of our own with nothing but an RCODE."""
    body = build(Message(0, flags | rcode & 15, question))
    return Answer(body, question, rcode, rule, errors)


def render(answer: Answer, query: Query, udp_size: int, limit: int) -> bytes:
    """The bytes for this client; longer than ``limit``: cut to the question with TC set.

    ``udp_size`` is the size that we announce. The client's own flags and its spelling of the
    question are echoed.
    """
    body = answer.body
    flags = int.from_bytes(body[2:4], "big") & ~(RD | CD)
    flags |= RD * query.rd | CD * query.cd
    question = query.question.wire
    opt = b""
    if query.opt is not None:
        opt = opt_bytes(udp_size, query.opt.do, answer.rcode, answer.errors)
        if len(body) + len(opt) > limit:
            opt = opt_bytes(udp_size, query.opt.do, answer.rcode)
    if len(body) + len(opt) > limit:
        head = struct.pack("!6H", query.id, flags | TC, 1, 0, 0, int(bool(opt)))
        return head + question + opt
    _, answers, authorities, more = _COUNTS.unpack_from(body, 4)
    head = struct.pack(
        "!6H", query.id, flags, 1, answers, authorities, more + int(query.opt is not None)
    )
    return head + question + body[12 + len(question) :] + opt


def render_refusal(refusal: Refusal, udp_size: int) -> bytes:
    """The answer to a message that was no query, or not one that we speak."""
    flags = QR | refusal.flags & (0x7800 | RD | CD) | refusal.rcode & 15
    opt = b"" if refusal.opt is None else opt_bytes(udp_size, refusal.opt.do, refusal.rcode)
    question = b"" if refusal.question is None else refusal.question.wire
    return struct.pack("!6H", refusal.id, flags, int(bool(question)), 0, 0, int(bool(opt))) + (
        question + opt
    )


def udp_limit(query: Query, largest: int) -> int:
    """How many bytes this client takes over UDP, at most ``largest`` of ours."""
    if query.opt is None:
        return SMALLEST_UDP
    return min(max(query.opt.udp_size, SMALLEST_UDP), max(largest, SMALLEST_UDP))


def servfail(question: Question, rule: Rule, *errors: ExtendedError) -> Answer:
    return failure(question, SERVFAIL, rule, *errors)


def as_reply(answer: Answer) -> Reply:
    """An answer of our own where an upstream's would stand."""
    return Reply(answer.body, layout(answer.body), trusted=True)
