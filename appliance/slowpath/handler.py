"""What happens with one packet from the device: translated, answered, or counted and gone."""

import sys
import time
import traceback
from collections.abc import Callable

from appliance.slowpath.counters import Counters
from appliance.slowpath.limiter import RateLimiter
from appliance.slowpath.settings import Settings
from appliance.slowpath.translate import Translator
from appliance.slowpath.verdict import Context, Drop, HopLimit, Translated, UpTranslated

_MOST_TRACEBACKS = 10  # a flood of packets that hit a fault of ours must not fill the log


class PacketHandler:
    """``send`` gives a packet back to the kernel and raises OSError if it does not take it."""

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        send: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._translator = Translator(settings.translation, settings.own)
        self._limiter = RateLimiter(settings.translation.icmp_error_rate, clock)
        self._counters = counters
        self._send = send
        self._tracebacks = 0
        self._context = Context(
            mtu4=settings.mtu4,
            mtu6=settings.mtu6,
            ipv4=settings.ipv4,
            ipv6=settings.ipv6,
            egress_ipv4=settings.ipv4,
            egress_ipv6=settings.ipv6,
            hop_limit=HopLimit.RESTORE,
            allow_slow=False,
            own_sources=True,
        )

    def handle(self, packet: bytes) -> None:
        """Takes any bytes; never raises on their account."""
        self._counters.packets["received"] += 1
        try:
            verdict = self._translator.translate(packet, self._context)
        except Exception:
            self._report_fault(packet)
            return
        match verdict:
            case Translated(packets, direction):
                self._counters.packets[direction.value] += 1
                for translated in packets:
                    self._give_back(translated)
            case UpTranslated(translated, direction):
                self._counters.packets[direction.value] += 1
                self._give_back(translated)
            case Drop():
                self._drop(verdict)
            case _:
                # It came here by a route, and by its address it is native: nobody has it.
                self._counters.packets["not-for-translation"] += 1

    def _drop(self, drop: Drop) -> None:
        self._counters.drops[drop.reason] += 1
        if drop.unsent:
            self._counters.icmp_errors["no-own-address"] += 1
        elif drop.error is not None:
            if self._limiter.allows():
                self._counters.icmp_errors["sent"] += 1
                self._give_back(drop.error)
            else:
                self._counters.icmp_errors["icmp-rate-limited"] += 1

    def _give_back(self, packet: bytes) -> None:
        try:
            self._send(packet)
        except OSError:
            self._counters.packets["not-taken-by-kernel"] += 1
        else:
            self._counters.packets["sent"] += 1

    def _report_fault(self, packet: bytes) -> None:
        self._counters.packets["internal-error"] += 1
        if self._tracebacks < _MOST_TRACEBACKS:
            self._tracebacks += 1
            print(f"slowpath: fault on the packet {packet[:128].hex()}", file=sys.stderr)
            traceback.print_exc()
