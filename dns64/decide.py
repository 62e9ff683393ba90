"""RFC 6147 section 5 as functions from messages to messages: no sockets, no clocks, no state.

``judge_aaaa`` looks at what the AAAA question brought: an answer for the client, or a ``Denial``,
after which A is asked. ``judge_a`` makes the answer out of the denial and what A brought.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dns64.edns import Ede, ExtendedError
from dns64.names import is_under, replace_suffix
from dns64.policy import Rules
from dns64.query import Query
from dns64.reply import Answer, Reply, Rule, failure, passed, servfail
from dns64.wire import (
    AAAA,
    AD,
    CNAME,
    DNAME,
    IN,
    NOERROR,
    NXDOMAIN,
    OPT,
    QR,
    RA,
    RRSIG,
    SOA,
    A,
    Message,
    Record,
    build,
    layout,
)

TTL_WITHOUT_SOA = 600  # RFC 6147 section 5.1.7
LONGEST_CHAIN = 32

SYNTHESIZED = ExtendedError(Ede.SYNTHESIZED)
NO_ANSWER = ExtendedError(Ede.NO_REACHABLE_AUTHORITY, b"no upstream answered in time")
LOOP = ExtendedError(Ede.OTHER, b"CNAME chain loops or is too long")
BOGUS = ExtendedError(Ede.DNSSEC_BOGUS)
GARBAGE = ExtendedError(Ede.OTHER, b"upstream sent address records of a wrong size")


@dataclass(frozen=True, slots=True)
class Chain:
    """The aliases from a name to where its data is: CNAME, DNAME and their signatures, in order.

    ``end`` keeps the case that the upstream gave it.
    """

    records: tuple[Record, ...]
    end: bytes
    endless: bool = False


@dataclass(frozen=True, slots=True)
class Denial:
    """There is no AAAA that counts. ``ttl`` bounds what is made of A records.

    When A brings nothing that can be mapped the client gets ``native``, the real AAAA records that
    translate-all set aside, or else ``nodata``, the upstream's own denial.
    """

    ttl: int
    secure: bool = False
    native: Answer | None = None
    nodata: Answer | None = None


def covers(record: Record, *types: int) -> bool:
    """Whether ``record`` is a signature over one of ``types``."""
    return record.type == RRSIG and int.from_bytes(record.data[:2], "big") in types


def follow(records: Iterable[Record], name: bytes) -> Chain:
    """The chain that begins at ``name`` (RFC 6147 section 5.1.5, RFC 6672 for DNAME)."""
    by_owner: dict[bytes, list[Record]] = {}
    for record in records:
        if record.cls == IN and (record.type in (CNAME, DNAME) or covers(record, CNAME, DNAME)):
            by_owner.setdefault(record.name.lower(), []).append(record)
    kept: list[Record] = []
    seen: set[bytes] = set()
    while by_owner:
        key = name.lower()
        if key in seen or len(seen) > LONGEST_CHAIN:
            return Chain(tuple(kept), name, endless=True)
        seen.add(key)
        target: bytes | None = None
        for owner, there in by_owner.items():
            dname = _first(there, DNAME)
            if dname is None or owner == key or not is_under(key, owner):
                continue
            if dname not in kept:
                kept += [dname, *(record for record in there if covers(record, DNAME))]
            target = replace_suffix(name, owner, dname.data)
            break
        here = by_owner.get(key, [])
        cname = _first(here, CNAME)
        if cname is not None:
            kept += [cname, *(record for record in here if covers(record, CNAME))]
            target = cname.data
        elif target is not None:
            kept.append(Record(name, CNAME, IN, kept[-1].ttl, target))
        if target is None:
            break
        name = target
    return Chain(tuple(kept), name)


def _first(records: Iterable[Record], kind: int) -> Record | None:
    return next((record for record in records if record.type == kind), None)


def at_end(message: Message, chain: Chain, kind: int) -> tuple[Record, ...]:
    """The records of ``kind`` at the end of the chain."""
    end = chain.end.lower()
    return tuple(
        record
        for record in message.answer
        if record.type == kind and record.cls == IN and record.name.lower() == end
    )


def unfinished(reply: Reply, name: bytes, kind: int) -> bytes | None:
    """The name that an upstream left for us to ask on: a chain's end of which it says nothing."""
    message = reply.message
    if reply.rcode != NOERROR or not message.answer or _first(message.authority, SOA):
        return None
    chain = follow(message.answer, name)
    if chain.endless or not chain.records or at_end(message, chain, kind):
        return None
    return chain.end


def join(first: Reply, second: Reply) -> Reply:
    """``first``, whose chain is unfinished, with what ``second`` says of its end."""
    head, tail = first.message, second.message
    secure = head.flags & tail.flags & AD
    extra = tuple(record for record in tail.additional if record.type != OPT)
    wire = build(
        Message(
            head.id,
            tail.flags & ~AD | secure,
            head.question,
            head.answer + tail.answer,
            tail.authority,
            extra,
        )
    )
    return Reply(wire, layout(wire), first.trusted and second.trusted)


def judge_aaaa(query: Query, reply: Reply | None, rules: Rules) -> Answer | Denial:
    """What the AAAA question brought; None: nothing in time (RFC 6147 section 5.1.3)."""
    question = query.question
    if reply is None:
        return Denial(TTL_WITHOUT_SOA)
    if reply.rcode == NXDOMAIN:
        return passed(reply, question)
    if reply.rcode != NOERROR:
        return Denial(TTL_WITHOUT_SOA)
    message = reply.message
    chain = follow(message.answer, question.name)
    if chain.endless:
        return servfail(question, Rule.ERROR, LOOP)
    if not rules.break_dnssec and query.do and _signed(message):
        return passed(reply, question)
    found = at_end(message, chain, AAAA)
    kept = [
        record for record in found if len(record.data) == 16 and not rules.excluded(record.data)
    ]
    if not found:
        soa = _first(message.authority, SOA)
        ttl = TTL_WITHOUT_SOA if soa is None else soa.ttl
        return Denial(ttl, bool(message.flags & AD), nodata=passed(reply, question))
    answer: Answer | None = None
    if kept:
        whole = len(kept) == len(found)
        answer = passed(reply, question) if whole else _filtered(query, message, found, kept)
    if rules.ipv4_only(question.name.lower()) or rules.ipv4_only(chain.end.lower()):
        return Denial(TTL_WITHOUT_SOA)
    if answer is not None and not rules.translate_all:
        return answer
    return Denial(TTL_WITHOUT_SOA, native=answer)


def judge_a(query: Query, denial: Denial, reply: Reply | None, rules: Rules) -> Answer:
    """The answer to the AAAA question out of the denial and what the A question brought."""
    question = query.question
    if reply is None:
        return denial.native or servfail(question, Rule.UPSTREAM_FAILED, NO_ANSWER)
    if reply.rcode not in (NOERROR, NXDOMAIN):
        return denial.native or failure(question, reply.rcode, Rule.FROM_A, *reply.errors)
    message = reply.message
    chain = follow(message.answer, question.name)
    if chain.endless:
        return servfail(question, Rule.ERROR, LOOP)
    found = at_end(message, chain, A)
    if reply.rcode == NXDOMAIN or not found:
        return _nothing(query, denial, reply, chain, message.authority)
    whole = [record for record in found if len(record.data) == 4]
    if not whole:
        return servfail(question, Rule.ERROR, GARBAGE)
    if not rules.break_dnssec and query.do and _signed(message):
        return _nothing(query, denial, reply, chain, ())
    made: dict[bytes, Record] = {}
    for record in whole:
        data = rules.synthetic(record.data)
        if data is not None:
            ttl = min(record.ttl, denial.ttl)
            made.setdefault(data, Record(_spelt(query, chain.end), AAAA, IN, ttl, data))
    if not made:
        return _nothing(query, denial, reply, chain, ())
    return _answer(
        query,
        reply,
        Rule.SYNTHESISED,
        chain.records + tuple(made.values()),
        message.authority,
        secure=denial.secure,
        errors=(SYNTHESIZED, *reply.errors),
    )


def _spelt(query: Query, name: bytes) -> bytes:
    asked = query.question.name
    return asked if name.lower() == asked.lower() else name


def _signed(message: Message) -> bool:
    return any(record.type == RRSIG for record in message.answer + message.authority)


def _nothing(
    query: Query, denial: Denial, reply: Reply, chain: Chain, authority: tuple[Record, ...]
) -> Answer:
    """A brought nothing that can be mapped (RFC 6147 section 5.1.6)."""
    if denial.native is not None:
        return denial.native
    if denial.nodata is not None and reply.rcode == NOERROR:
        return denial.nodata
    return _answer(query, reply, Rule.FROM_A, chain.records, authority, more=False)


def _answer(
    query: Query,
    reply: Reply,
    rule: Rule,
    records: tuple[Record, ...],
    authority: tuple[Record, ...],
    *,
    secure: bool = False,
    more: bool = True,
    errors: tuple[ExtendedError, ...] = (),
) -> Answer:
    """An answer of our own making, with the rest of A's reply (RFC 6147 section 5.3.2)."""
    message = reply.message
    additional = tuple(record for record in message.additional if more and record.type != OPT)
    flags = QR | message.flags & RA | message.rcode
    if secure and query.wants_ad:
        flags |= message.flags & AD
    body = build(Message(0, flags, query.question, records, authority, additional))
    return Answer(body, query.question, reply.rcode, rule, errors)


def _filtered(
    query: Query, message: Message, found: tuple[Record, ...], kept: list[Record]
) -> Answer:
    """The reply without the AAAA records that are excluded, and without their signature."""
    owner = found[0].name.lower()
    gone = [record for record in found if record not in kept]
    answer = tuple(
        record
        for record in message.answer
        if record not in gone and not (record.name.lower() == owner and covers(record, AAAA))
    )
    additional = tuple(record for record in message.additional if record.type != OPT)
    body = build(
        replace(message, id=0, flags=message.flags & ~AD, answer=answer, additional=additional)
    )
    return Answer(body, query.question, NOERROR, Rule.FILTERED)
