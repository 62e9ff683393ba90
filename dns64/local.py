"""Names that edge64 answers for itself: ipv4only.arpa (RFC 8880), and the reverse tree of the
prefixes (RFC 6147 section 5.3.1), which leads on into in-addr.arpa."""

from dataclasses import dataclass

from dns64.decide import NO_ANSWER, SYNTHESIZED, at_end, follow
from dns64.edns import ExtendedError
from dns64.names import from_labels, from_text, is_under, labels
from dns64.policy import Carrier, Rules, embed, extract
from dns64.query import Query
from dns64.reply import Answer, Reply, Rule, failure, servfail
from dns64.wire import (
    AAAA,
    CNAME,
    IN,
    NOERROR,
    NXDOMAIN,
    PTR,
    QR,
    RA,
    RRSIG,
    SOA,
    A,
    Message,
    Record,
    build,
    lowest_ttl,
)

IPV4ONLY = from_text("ipv4only.arpa")
IPV4ONLY_A = (bytes((192, 0, 0, 170)), bytes((192, 0, 0, 171)))
IP6_ARPA = from_text("ip6.arpa")
IN_ADDR_ARPA = from_text("in-addr.arpa")
_IPV4ONLY_REVERSE = {
    from_text(f"{last}.0.0.192.in-addr.arpa"): bytes((192, 0, 0, last)) for last in (170, 171)
}

_IPV4ONLY_TTL = 86400
# How long a client may hold on to a prefix that it discovered and that was since taken away.
_PREFIX_TTL = 3600
_REVERSE_TTL = 600
_HEX = {ord(digit): value for value, digit in enumerate("0123456789abcdef")}


def _soa(owner: bytes, main: bytes, mailbox: bytes, ttl: int, *timers: int) -> Record:
    data = main + mailbox + b"".join(timer.to_bytes(4, "big") for timer in timers)
    return Record(owner, SOA, IN, ttl, data)


_IPV4ONLY_SOA = _soa(
    IPV4ONLY,
    from_text("sns.dns.icann.org"),
    from_text("noc.dns.icann.org"),
    _PREFIX_TTL,
    *(2020040300, 7200, 3600, 604800, 3600),
)


def _say(
    query: Query,
    rule: Rule,
    rcode: int,
    answer: tuple[Record, ...] = (),
    authority: tuple[Record, ...] = (),
    errors: tuple[ExtendedError, ...] = (),
) -> Answer:
    body = build(Message(0, QR | RA | rcode, query.question, answer, authority))
    return Answer(body, query.question, rcode, rule, errors)


def ipv4only(query: Query, rules: Rules) -> Answer | None:
    """The answer for ipv4only.arpa and its two reverse names; None: another name."""
    name = query.question.name.lower()
    kind = query.question.type
    owner = query.question.name
    if name in _IPV4ONLY_REVERSE:
        if kind == PTR:
            pointer = Record(owner, PTR, IN, _IPV4ONLY_TTL, IPV4ONLY)
            return _say(query, Rule.IPV4ONLY, NOERROR, (pointer,))
        return _say(query, Rule.IPV4ONLY, NOERROR)
    if not is_under(name, IPV4ONLY):
        return None
    if name != IPV4ONLY:
        return _say(query, Rule.IPV4ONLY, NXDOMAIN, authority=(_IPV4ONLY_SOA,))
    if kind == A:
        found = tuple(Record(owner, A, IN, _IPV4ONLY_TTL, data) for data in IPV4ONLY_A)
        return _say(query, Rule.IPV4ONLY, NOERROR, found)
    if kind == AAAA and not query.cd:
        made = tuple(
            Record(owner, AAAA, IN, _PREFIX_TTL, embed(carrier.pref64.prefix, data))
            for carrier in rules.carriers
            for data in IPV4ONLY_A
        )
        return _say(query, Rule.IPV4ONLY, NOERROR, made, errors=(SYNTHESIZED,))
    if kind == SOA:
        return _say(query, Rule.IPV4ONLY, NOERROR, (_IPV4ONLY_SOA,))
    return _say(query, Rule.IPV4ONLY, NOERROR, authority=(_IPV4ONLY_SOA,))


@dataclass(frozen=True, slots=True)
class Reverse:
    """A full reverse name under a prefix: ``target`` is its in-addr.arpa name."""

    zone: bytes
    target: bytes


def reverse(query: Query, rules: Rules) -> Reverse | Answer | None:
    """What a name in ip6.arpa is to us; None: not under one of the prefixes."""
    name = query.question.name.lower()
    if not is_under(name, IP6_ARPA):
        return None
    parts = labels(name)
    digits = parts[-3::-1]  # most significant first
    values = [_HEX.get(label[0], -1) if len(label) == 1 else -1 for label in digits]
    best: Carrier | None = None
    for carrier in rules.carriers:
        size = carrier.pref64.prefix.prefixlen // 4
        if values[:size] == _nibbles(carrier.pref64.prefix.network_address.packed)[:size] and (
            best is None or size > best.pref64.prefix.prefixlen // 4
        ):
            best = carrier
    if best is None:
        return None
    size = best.pref64.prefix.prefixlen // 4
    zone = from_labels(parts[len(digits) - size :])
    if -1 in values or len(values) > 32:
        return nothing_there(query, zone, NXDOMAIN)
    if len(values) < 32:
        return nothing_there(query, zone, NOERROR)
    packed = bytes(high << 4 | low for high, low in zip(values[::2], values[1::2], strict=True))
    ipv4 = extract(best.pref64.prefix, packed)
    if not best.carries(ipv4):
        return nothing_there(query, zone, NXDOMAIN)
    if query.question.type not in (PTR, CNAME):
        return nothing_there(query, zone, NOERROR)
    octets = [str(octet).encode() for octet in reversed(ipv4)]
    return Reverse(zone, from_labels([*octets, b"in-addr", b"arpa"]))


def _nibbles(packed: bytes) -> list[int]:
    return [nibble for octet in packed for nibble in (octet >> 4, octet & 15)]


def nothing_there(query: Query, zone: bytes, rcode: int) -> Answer:
    """NODATA or NXDOMAIN with an SOA of our own for the prefix's zone (RFC 2308)."""
    soa = _soa(
        zone, zone, from_text("nobody.invalid"), _REVERSE_TTL, 1, 3600, 1200, 604800, _REVERSE_TTL
    )
    if query.question.type == SOA and query.question.name.lower() == zone and rcode == NOERROR:
        return _say(query, Rule.REVERSE, rcode, (soa,))
    return _say(query, Rule.REVERSE, rcode, authority=(soa,))


def judge_reverse(query: Query, found: Reverse, reply: Reply | None) -> Answer:
    """The answer under the prefix out of what the PTR question in in-addr.arpa brought.

    Nothing there is nothing here: no CNAME that points nowhere. Where the in-addr.arpa name is an
    alias itself (RFC 2317) the PTR records are given directly, not by a longer chain.
    """
    question = query.question
    if reply is None:
        return servfail(question, Rule.UPSTREAM_FAILED, NO_ANSWER)
    if reply.rcode not in (NOERROR, NXDOMAIN):
        return failure(question, reply.rcode, Rule.REVERSE, *reply.errors)
    message = reply.message
    chain = follow(message.answer, found.target)
    pointers = () if chain.endless else at_end(message, chain, PTR)
    if reply.rcode == NXDOMAIN or not pointers:
        return nothing_there(query, found.zone, reply.rcode)
    ttl = lowest_ttl(pointers + chain.records, _REVERSE_TTL)
    if chain.records:
        answer = tuple(Record(question.name, PTR, IN, ttl, pointer.data) for pointer in pointers)
    else:
        alias = Record(question.name, CNAME, IN, ttl, found.target)
        signed = tuple(
            record
            for record in message.answer
            if record.type == RRSIG and record.name.lower() == found.target
        )
        answer = (alias,) if question.type == CNAME else (alias, *pointers, *signed)
    return _say(query, Rule.REVERSE, NOERROR, answer, errors=(SYNTHESIZED,))
