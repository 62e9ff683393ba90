"""Questions to other resolvers: which one, how often, and when to give up."""

import asyncio
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from dns64.edns import opt_bytes
from dns64.errors import MalformedError
from dns64.reply import Reply
from dns64.settings import Upstream
from dns64.stats import Stats
from dns64.steps import Ask
from dns64.transport import TcpExchange, UdpExchange
from dns64.wire import AD, CD, FORMERR, NOTIMP, OPCODE, QR, RD, REFUSED, SERVFAIL, TC, layout

# Seconds. An attempt that is not answered by then is followed by the next; its socket stays open,
# and a late answer still counts.
PATIENCE = 0.4
MOST_ATTEMPTS = 6
TOO_LATE = 0.05
# An upstream that failed so often in a row is asked last for a while, which doubles up to a limit.
FAILURES_UNTIL_DOWN = 2
DOWN_FIRST, DOWN_LONGEST = 1.0, 30.0
NO_EDNS_FOR = 300.0

_WITHOUT_QUESTION = frozenset({FORMERR, SERVFAIL, NOTIMP, REFUSED})


@dataclass
class Health:
    """What was learnt of one upstream. Times are the loop's."""

    upstream: Upstream
    failures: int = 0
    down_until: float = 0.0
    no_edns_until: float = 0.0
    label: str = field(init=False)

    def __post_init__(self) -> None:
        self.label = f"{self.upstream.address}#{self.upstream.port}"

    def failed(self, now: float) -> None:
        self.failures += 1
        if self.failures >= FAILURES_UNTIL_DOWN:
            doubled = DOWN_FIRST * 2 ** min(self.failures - FAILURES_UNTIL_DOWN, 8)
            self.down_until = now + min(doubled, DOWN_LONGEST)

    def answered(self) -> None:
        self.failures = 0
        self.down_until = 0.0


def scramble(name: bytes) -> bytes:
    """The name with the case of its letters at random (the "0x20" bits)."""
    bits = secrets.randbits(len(name))
    out = bytearray(name)
    at = 0
    while out[at]:
        end = at + 1 + out[at]
        for n in range(at + 1, end):
            if chr(out[n]).isascii() and chr(out[n]).isalpha() and bits >> n & 1:
                out[n] ^= 0x20
        at = end
    return bytes(out)


class Upstreams:
    """The configured upstreams, in order."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        upstreams: tuple[Upstream, ...],
        stats: Stats,
        udp_size: int,
        randomise_case: bool,
        known: "Upstreams | None" = None,
    ) -> None:
        """``known``: earlier ones; what they learnt of the same upstreams is kept."""
        self.loop = loop
        self.stats = stats
        self.udp_size = udp_size
        self.randomise_case = randomise_case
        learnt = {health.upstream: health for health in known.health} if known else {}
        self.health: list[Health] = [
            learnt.get(upstream) or Health(upstream) for upstream in upstreams
        ]

    def ask(self, ask: Ask, until: float, done: Callable[[Reply | None], None]) -> None:
        """Ask until the loop's time ``until``; ``done`` is called once, never from within."""
        Exchange(self, ask, until, done).next_attempt()

    def order(self) -> list[Health]:
        """Those that seem to work in the configured order, then the others."""
        now = self.loop.time()
        return sorted(self.health, key=lambda health: health.down_until > now)


class Exchange:
    """One question, over several upstreams and attempts, until the first good answer."""

    def __init__(
        self,
        upstreams: Upstreams,
        ask: Ask,
        until: float,
        done: Callable[[Reply | None], None],
    ) -> None:
        self._up = upstreams
        self._loop = upstreams.loop
        self._ask = ask
        self._until = until
        self._done = done
        self._finished = False
        self._candidates = upstreams.order()
        self._turn = 0
        self._attempts = 0
        self._failing: Reply | None = None
        self._open: list[UdpExchange | TcpExchange] = []
        self._timer: asyncio.TimerHandle | None = None
        self._by_tcp: list[Health] = []
        self._deadline = self._loop.call_at(until, self._give_up)

    def next_attempt(self) -> None:
        """Ask the next upstream that has not failed for good in this exchange."""
        if self._finished:
            return
        self._cancel_timer()
        if not self._candidates:
            self._loop.call_soon(self._finish, self._failing)
            return
        if self._attempts >= MOST_ATTEMPTS or self._loop.time() > self._until - TOO_LATE:
            return  # what is still open may answer until the deadline
        self._attempts += 1
        health = self._candidates[self._turn % len(self._candidates)]
        self._turn += 1
        self._timer = self._loop.call_later(PATIENCE, self._waited, health)
        self._send_udp(health)

    def _waited(self, health: Health) -> None:
        health.failed(self._loop.time())
        self._up.stats.count("upstream_failures", health.label, "timeout")
        self.next_attempt()

    def _message(self, health: Health) -> tuple[int, bytes, bytes]:
        """A query with a fresh id (and case): id, bytes, the question as sent."""
        ask = self._ask
        number = secrets.randbits(16)
        name = ask.question.name
        if self._up.randomise_case:
            name = scramble(name)
        question = name + ask.question.wire[len(name) :]
        edns = health.no_edns_until <= self._loop.time()
        flags = RD * ask.rd | AD * ask.ad | CD * ask.cd
        wire = struct.pack("!6H", number, flags, 1, 0, 0, int(edns)) + question
        if edns:
            wire += opt_bytes(self._up.udp_size, ask.do, 0)
        return number, wire, question

    def _send_udp(self, health: Health) -> None:
        number, wire, question = self._message(health)
        self._up.stats.count("upstream_queries", health.label, "udp")

        def received(data: bytes) -> None:
            self._received(health, number, question, data, udp=True)

        def lost(reason: str) -> None:
            self._lost(health, reason)

        self._open.append(UdpExchange(self._loop, health.upstream, wire, received, lost))

    def _send_tcp(self, health: Health) -> None:
        number, wire, question = self._message(health)
        self._up.stats.count("upstream_queries", health.label, "tcp")

        def received(data: bytes) -> None:
            self._received(health, number, question, data, udp=False)

        def lost(reason: str) -> None:
            self._lost(health, reason)

        self._open.append(TcpExchange(self._loop, health.upstream, wire, received, lost))

    def _over_tcp(self, health: Health) -> None:
        if health not in self._by_tcp:
            self._by_tcp.append(health)
            self._cancel_timer()
            self._timer = self._loop.call_later(2 * PATIENCE, self._waited, health)
            self._send_tcp(health)

    def _received(
        self, health: Health, number: int, question: bytes, data: bytes, *, udp: bool
    ) -> None:
        if self._finished:
            return
        reason = _mismatch(number, question, data, udp=udp, exact=self._up.randomise_case)
        if reason:
            # Not an answer to us: forged or strayed. Over UDP the true one may still come.
            self._up.stats.count("upstream_failures", health.label, reason)
            if not udp:
                self._lost(health, "")
            elif reason == "wrong-case":
                self._over_tcp(health)  # it may not keep the case; a connection is proof enough
            return
        flags = int.from_bytes(data[2:4], "big")
        if flags & TC and udp:
            health.answered()
            self._over_tcp(health)
            return
        try:
            found = layout(data)
            if flags & TC:
                raise MalformedError("cut short over TCP")
            if found.question is not None:
                asked = self._ask.question.wire
                data = data[:12] + asked + data[12 + len(asked) :]
            reply = Reply(data, found, health.upstream.trusted)
            rcode = reply.rcode
        except MalformedError:
            self._lost(health, "malformed")
            return
        health.answered()
        if rcode in (0, 3):
            self._finish(reply)
            return
        self._refused(health, reply, rcode)

    def _refused(self, health: Health, reply: Reply, rcode: int) -> None:
        """A reply that is an error: the next upstream may know better."""
        now = self._loop.time()
        no_edns = rcode in (FORMERR, NOTIMP) and reply.opt is None
        if no_edns and health.no_edns_until <= now:
            # RFC 6891 section 7: it may not know the OPT record.
            health.no_edns_until = now + NO_EDNS_FOR
            self._send_udp(health)
            return
        if no_edns:
            health.no_edns_until = 0.0  # it was not that
        self._up.stats.count("upstream_failures", health.label, f"rcode-{rcode}")
        self._failing = self._failing or reply
        self._drop(health)

    def _lost(self, health: Health, reason: str) -> None:
        """This upstream cannot answer here: refused connection, malformed reply."""
        if self._finished:
            return
        if reason:
            self._up.stats.count("upstream_failures", health.label, reason)
        health.failed(self._loop.time())
        self._drop(health)

    def _drop(self, health: Health) -> None:
        if health in self._candidates:
            at = self._candidates.index(health)
            self._candidates.remove(health)
            if at < self._turn % (len(self._candidates) + 1):
                self._turn -= 1
        self.next_attempt()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self._finished:
            self._finish(self._failing)

    def _finish(self, reply: Reply | None) -> None:
        if self._done is _nobody:
            return
        done, self._done = self._done, _nobody
        self._finished = True
        self._cancel_timer()
        self._deadline.cancel()
        for exchange in self._open:
            exchange.close()
        self._open.clear()
        done(reply)


def _nobody(_: Reply | None) -> None:
    """Who waits once the answer was given."""


def _mismatch(number: int, question: bytes, data: bytes, *, udp: bool, exact: bool) -> str:
    """Why ``data`` is no reply to the query, or nothing. The source was checked by the socket."""
    if len(data) < 12:
        return "runt"
    found, flags, questions = struct.unpack_from("!HHH", data)
    if found != number:
        return "wrong-id"
    if not flags & QR or flags & OPCODE:
        return "no-reply"
    if questions == 0 and flags & 15 in _WITHOUT_QUESTION and data[6:8] == b"\0\0":
        return ""
    echoed = data[12 : 12 + len(question)]
    if questions != 1 or echoed.lower() != question.lower() or (echoed[-4:] != question[-4:]):
        return "wrong-question"
    if exact and udp and echoed != question:
        return "wrong-case"
    return ""
