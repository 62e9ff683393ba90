"""Links and addresses that something else changed: the daemon puts things right again."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from appliance.daemon import rtnl

SETTLE_SECONDS = 0.1


log = logging.getLogger("edge64d")


@dataclass(frozen=True)
class _Seen:
    """What matters of a link. ``ups``: how often its carrier came."""

    name: str
    running: bool
    ups: int
    mac: bytes
    mtu: int


class LinkEvents:
    """Calls ``heal`` in a thread a moment after events, and ``came_up`` with a device's name."""

    def __init__(self, heal: Callable[[], None], came_up: Callable[[str], None]) -> None:
        self._heal = heal
        self._came_up = came_up
        self._socket = rtnl.open_socket(
            (rtnl.GROUP_LINK, rtnl.GROUP_IPV4_ADDR, rtnl.GROUP_IPV6_ADDR)
        )
        self._socket.setblocking(False)
        self._links: dict[int, _Seen] = {}
        self._news = asyncio.Event()
        self._up: set[str] = set()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        with rtnl.Rtnl() as kernel:
            for message in kernel.dump(rtnl.GETLINK, rtnl.LINK.pack(0, 0, 0, 0, 0)):
                self._take(message)
        self._up.clear()
        self._news.clear()
        loop.add_reader(self._socket, self._read)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._news.clear()
            up, self._up = self._up, set()
            try:
                await asyncio.to_thread(self._heal)
                for device in sorted(up):
                    await asyncio.to_thread(self._came_up, device)
            except Exception:  # a fault of our own must not end the listening
                log.exception("after a link's event")

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        try:
            buffer = self._socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:  # events were lost: look at everything
            self._news.set()
            return
        for message in rtnl.messages(buffer):
            self._take(message)

    def _take(self, message: rtnl.Message) -> None:
        if message.kind in (rtnl.NEWADDR, rtnl.DELADDR):
            self._news.set()
        if message.kind not in (rtnl.NEWLINK, rtnl.DELLINK):
            return
        family, _, index, flags, _ = rtnl.LINK.unpack_from(message.data)
        if family:  # a bridge's view of its port
            return
        if message.kind == rtnl.DELLINK:
            self._links.pop(index, None)
            self._news.set()
            return
        values = rtnl.attributes(message.data, rtnl.LINK.size)
        running = bool(flags & rtnl.IFF_UP and flags & rtnl.IFF_RUNNING)
        name = values.get(rtnl.IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        now = _Seen(
            name,
            running,
            # A short flap is told once, when it is over: only the count shows it.
            rtnl.as_number(values.get(rtnl.IFLA_CARRIER_UP_COUNT)),
            values.get(rtnl.IFLA_ADDRESS, b""),
            rtnl.as_number(values.get(rtnl.IFLA_MTU)),
        )
        before = self._links.get(index)
        if now == before:
            return
        self._links[index] = now
        self._news.set()
        if running and (not before or (before.running, before.ups) != (running, now.ups)):
            self._up.add(name)
