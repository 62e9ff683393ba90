"""The order of questions behind one answer (RFC 6147 section 5.1), without doing any of them.

``answer`` is a generator: it yields an ``Ask``, is sent the upstream's ``Reply`` (None: nothing in
time), and returns the ``Answer``. Whoever drives it owns sockets and clocks.
"""

from collections.abc import Generator
from dataclasses import dataclass

from dns64.decide import (
    BOGUS,
    NO_ANSWER,
    Denial,
    join,
    judge_a,
    judge_aaaa,
    unfinished,
)
from dns64.edns import VALIDATION_FAILED, Ede, ExtendedError
from dns64.errors import MalformedError
from dns64.local import Reverse, ipv4only, judge_reverse, reverse
from dns64.policy import Rules
from dns64.query import Query
from dns64.reply import Answer, Reply, Rule, as_reply, failure, passed, servfail
from dns64.wire import AAAA, IN, NOERROR, NXDOMAIN, PTR, REFUSED, SERVFAIL, A, Question

# Seconds after the client asked: RFC 6147 section 5.1.3 with the client's patience in mind. The
# whole answer, or SERVFAIL, is out within 4 s.
AAAA_UNTIL = 1.5
RECHECK_UNTIL = 2.0
UNTIL = 3.8

MAX_CHASED = 8

CANNOT_FORWARD = ExtendedError(Ede.NOT_SUPPORTED, b"this type of question is not forwarded")
UNREADABLE = ExtendedError(Ede.OTHER, b"upstream's reply is malformed")


@dataclass(frozen=True, slots=True)
class Ask:
    """A question for an upstream, waited for until ``until`` seconds after the client asked."""

    question: Question
    rd: bool
    ad: bool
    cd: bool
    do: bool
    until: float


_PLAIN = Rules()

Steps = Generator[Ask, Reply | None, Answer]


def answer(query: Query, rules: Rules | None) -> Steps:
    """All the steps to the answer; ``rules`` None: plain forwarding."""
    question = query.question
    if not query.transferable:
        return failure(question, REFUSED, Rule.REFUSED, CANNOT_FORWARD)
    try:
        if rules is not None and question.cls == IN:
            local = ipv4only(query, rules)
            if local is not None:
                return local
            found = reverse(query, rules)
            if isinstance(found, Reverse):
                return (yield from _reverse(query, found))
            if found is not None:
                return found
            if _may_synthesise(query, rules):
                return (yield from _dns64(query, rules))
        reply = yield _ask(query, question.type, UNTIL)
        if reply is None:
            return servfail(question, Rule.UPSTREAM_FAILED, NO_ANSWER)
        return passed(reply, question)
    except MalformedError:
        return servfail(question, Rule.ERROR, UNREADABLE)


def _may_synthesise(query: Query, rules: Rules) -> bool:
    return (
        query.question.type == AAAA
        and not query.cd
        and not (rules.recursive_only and not query.rd)
        and not rules.never_synthesise(query.question.name.lower())
    )


def _ask(query: Query, kind: int, until: float, name: bytes = b"", *, cd: bool = False) -> Ask:
    question = query.question
    if name or kind != question.type:
        question = Question(name or question.name, kind, question.cls)
    return Ask(question, query.rd, query.ad, query.cd or cd, query.do, until)


def _dns64(query: Query, rules: Rules) -> Steps:
    reply = yield from _asked(query, query.question.name, AAAA, AAAA_UNTIL)
    if reply is not None and reply.rcode == SERVFAIL:
        bogus = yield from _is_bogus(query, reply)
        if bogus:
            return servfail(query.question, Rule.BOGUS, *(reply.errors or (BOGUS,)))
    verdict = judge_aaaa(query, reply, rules)
    if not isinstance(verdict, Denial):
        return verdict
    reply = yield from _asked(query, query.question.name, A, UNTIL)
    return judge_a(query, verdict, reply, rules)


def _asked(
    query: Query, name: bytes, kind: int, until: float
) -> Generator[Ask, Reply | None, Reply | None]:
    """Ask, and ask on along an alias that the upstream did not follow. Unreadable is None."""
    reply = yield _ask(query, kind, until, name)
    ends: set[bytes] = set()
    while reply is not None and len(ends) < MAX_CHASED:
        try:
            end = unfinished(reply, name, kind)
            if end is None or end.lower() in ends:
                break
            ends.add(end.lower())
            more = yield _ask(query, kind, until, end)
            reply = None if more is None else join(reply, more)
        except MalformedError:
            return None
    return reply


def _is_bogus(query: Query, reply: Reply) -> Generator[Ask, Reply | None, bool]:
    """Whether a SERVFAIL for AAAA means that validation failed: then nothing is made of A.

    Treating it as empty would let whoever breaks a signature choose the path. Only the validator
    on this box is believed when it says so; otherwise the same question goes out unvalidated.
    """
    if reply.trusted and any(error.code in VALIDATION_FAILED for error in reply.errors):
        return True
    check = yield _ask(query, AAAA, RECHECK_UNTIL, cd=True)
    return check is not None and check.rcode in (NOERROR, NXDOMAIN)


def _reverse(query: Query, found: Reverse) -> Steps:
    ours = Query(0, Question(found.target, PTR), query.rd, query.ad, query.cd, query.opt)
    local = ipv4only(ours, _PLAIN)
    if local is not None:
        return judge_reverse(query, found, as_reply(local))
    reply = yield from _asked(query, found.target, PTR, UNTIL)
    return judge_reverse(query, found, reply)
