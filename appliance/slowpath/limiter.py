"""A limit on how many own ICMP errors leave in a second (RFC 1812 section 4.3.2.8)."""

from collections.abc import Callable


class RateLimiter:
    """At most ``rate`` in each second of ``clock``; 0 lets none through."""

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._second = 0
        self._used = 0

    def allows(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._used = 0
        if self._used >= self._rate:
            return False
        self._used += 1
        return True
