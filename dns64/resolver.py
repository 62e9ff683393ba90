"""Queries being worked on: drives the steps of each, joins equal ones, keeps the bounds."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dns64.edns import Ede, ExtendedError
from dns64.policy import Rules
from dns64.query import Query
from dns64.reply import Answer, Reply, Rule, servfail
from dns64.settings import Limits
from dns64.stats import Stats
from dns64.steps import Ask, Steps, answer
from dns64.upstream import Upstreams

_log = logging.getLogger("dns64")

Done = Callable[[Answer], None]
TOO_MANY = ExtendedError(Ede.OTHER, b"too many queries outstanding")
FAULT = ExtendedError(Ede.OTHER, b"internal fault")


@dataclass(slots=True)
class _Running:
    key: tuple[object, ...]
    query: Query
    steps: Steps
    started: float
    waiters: list[tuple[str, Done]] = field(default_factory=list)


class Resolver:
    """What all listeners of a worker hand their queries to."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        upstreams: Upstreams,
        limits: Limits,
        stats: Stats,
    ) -> None:
        self._loop = loop
        self.upstreams = upstreams
        self.limits = limits
        self._stats = stats
        self._running: dict[tuple[object, ...], _Running] = {}
        self._per_client: Counter[str] = Counter()

    @property
    def outstanding(self) -> int:
        """Answers that clients wait for."""
        return self._per_client.total()

    def resolve(self, query: Query, client: str, rules: Rules | None, done: Done) -> None:
        """Work on ``query``; ``done`` gets its answer once, possibly before this returns."""
        question = query.question
        key = (
            question.name.lower(),
            question.type,
            question.cls,
            query.rd,
            query.ad,
            query.cd,
            query.do,
            id(rules),
        )
        running = self._running.get(key)
        if running is None:
            running = _Running(key, query, answer(query, rules), self._loop.time())
            ask = self._advance(running, None)
            if isinstance(ask, Answer):
                done(ask)
                return
            if len(self._running) >= self.limits.outstanding:
                self._too_many(query, "limit", done)
                return
        else:
            ask = None
        if self._per_client.get(client, 0) >= self.limits.outstanding_per_client:
            self._too_many(query, "client-limit", done)
            return
        self._per_client[client] += 1
        running.waiters.append((client, done))
        if ask is None:
            self._stats.count("joined")
            return
        self._running[key] = running
        self._ask(running, ask)

    def _too_many(self, query: Query, reason: str, done: Done) -> None:
        self._stats.count("refused", reason)
        done(servfail(query.question, Rule.REFUSED, TOO_MANY))

    def _advance(self, running: _Running, reply: Reply | None) -> Ask | Answer:
        """The next question of a query's steps, or its answer."""
        try:
            return running.steps.send(reply)
        except StopIteration as stop:
            result: Answer = stop.value
            return result
        except Exception:
            # One query must not take the worker with it; the log has what to mend.
            _log.exception("fault while answering %r", running.query.question)
            self._stats.count("internal_errors")
            return servfail(running.query.question, Rule.ERROR, FAULT)

    def _ask(self, running: _Running, ask: Ask) -> None:
        def answered(reply: Reply | None) -> None:
            following = self._advance(running, reply)
            if isinstance(following, Answer):
                self._finish(running, following)
            else:
                self._ask(running, following)

        self.upstreams.ask(ask, running.started + ask.until, answered)

    def _finish(self, running: _Running, result: Answer) -> None:
        del self._running[running.key]
        for client, done in running.waiters:
            left = self._per_client[client] - 1
            if left > 0:
                self._per_client[client] = left
            else:
                del self._per_client[client]
            done(result)
