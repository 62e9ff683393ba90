"""One query to one upstream over one socket of its own; the answer comes by callback."""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from dns64.settings import Upstream

Received = Callable[[bytes], None]
Lost = Callable[[str], None]

_BATCH = 16


class UdpExchange:
    """A socket with a port that the kernel picks at random, connected: only its peer is heard.

    ``received`` is called for every datagram until ``close``, ``lost`` at most once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        upstream: Upstream,
        wire: bytes,
        received: Received,
        lost: Lost,
    ) -> None:
        self._loop = loop
        self._received = received
        self._lost = lost
        family = socket.AF_INET6 if upstream.address.version == 6 else socket.AF_INET
        self._socket: socket.socket | None = None
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError:
            loop.call_soon(lost, "no-socket")
            return
        try:
            sock.connect((str(upstream.address), upstream.port))
            sock.send(wire)
        except OSError as error:
            sock.close()
            loop.call_soon(lost, _reason(error))
            return
        self._socket = sock
        loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                data = self._socket.recv(65535)
            except BlockingIOError:
                return
            except OSError as error:
                self.close()
                self._lost(_reason(error))
                return
            self._received(data)

    def close(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None


class TcpExchange(asyncio.Protocol):
    """A connection for one query (RFC 7766); ``received`` or ``lost`` is called at most once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        upstream: Upstream,
        wire: bytes,
        received: Received,
        lost: Lost,
    ) -> None:
        self._wire = wire
        self._received = received
        self._lost = lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._over = False
        self._connecting = loop.create_task(
            self._connect(loop, str(upstream.address), upstream.port)
        )

    async def _connect(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        try:
            await loop.create_connection(lambda: self, host, port)
        except OSError as error:
            if not self._over:
                self._over = True
                self._lost("tcp-" + _reason(error))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        if self._over:
            self._transport.abort()
            return
        self._transport.write(len(self._wire).to_bytes(2, "big") + self._wire)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._over or len(self._buffer) < 2:
            return
        size = int.from_bytes(self._buffer[:2], "big")
        if len(self._buffer) >= 2 + size:
            message = bytes(self._buffer[2 : 2 + size])
            self.close()
            self._received(message)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._lost("tcp-closed")

    def close(self) -> None:
        self._over = True
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        elif not self._connecting.done():
            self._connecting.cancel()


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return "unreachable"
