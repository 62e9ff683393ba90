"""Sockets that clients reach: bound by whoever may, served by the worker's loop."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, cast

from dns64.errors import Dns64Error
from dns64.front import Front
from dns64.settings import Limits, Listen
from dns64.stats import Stats

_BATCH = 32
_LARGEST_QUERY = 4096
_RECEIVE_BUFFER = 1 << 20
_BACKLOG = 256
_PIPELINED = 64

# Not in Python's socket module (linux/in.h).
_IP_FREEBIND = 15
_IP_PKTINFO = 8
_PKTINFO4 = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")

_Peer: TypeAlias = tuple[Any, ...]
_Ancillary: TypeAlias = list[tuple[int, int, bytes]]


class Bound:
    """The UDP and the TCP socket of one listening address, shared by port with other workers."""

    def __init__(self, listen: Listen) -> None:
        self.listen = listen
        self.udp = _bind(listen, socket.SOCK_DGRAM)
        try:
            self.tcp = _bind(listen, socket.SOCK_STREAM)
            self.tcp.listen(_BACKLOG)
        except OSError:
            self.udp.close()
            raise

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


def _bind(listen: Listen, kind: socket.SocketKind) -> socket.socket:
    six = listen.address.version == 6
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if kind == socket.SOCK_STREAM:
            # Over connections that are still closing; for UDP it would let anyone share the port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The control plane may put the address on its interface later than we start.
        sock.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_DGRAM:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            if listen.address.is_unspecified:
                # The answer must come from the address that was asked.
                if six:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                else:
                    sock.setsockopt(socket.SOL_IP, _IP_PKTINFO, 1)
        sock.bind((str(listen.address), listen.port))
    except OSError:
        sock.close()
        raise
    return sock


def bind(listen: Listen) -> Bound:
    """Both sockets, or Dns64Error; PermissionError where privileges are what lacks."""
    try:
        return Bound(listen)
    except PermissionError:
        raise
    except OSError as error:
        raise Dns64Error(
            f"cannot listen at {listen.address} port {listen.port}: {error.strerror}",
            "another server may hold the port",
        ) from None


class UdpListener:
    """Datagrams in, datagrams out."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bound: Bound,
        front: Callable[[], Front],
        stats: Stats,
    ) -> None:
        self._loop = loop
        self._socket = bound.udp
        self._front = front
        self._stats = stats
        self._open = True
        wildcard = bound.listen.address.is_unspecified
        loop.add_reader(
            self._socket.fileno(), self._read_wildcard if wildcard else self._read_plain
        )

    def _read_plain(self) -> None:
        front = self._front()
        for _ in range(_BATCH):
            try:
                data, peer = self._socket.recvfrom(_LARGEST_QUERY)
            except OSError:
                return  # nothing left, or an ICMP error for an earlier answer
            front.handle(data, peer[0], "udp", partial(self._send, peer))

    def _send(self, peer: _Peer, out: bytes) -> None:
        if not self._open:
            return
        try:
            self._socket.sendto(out, peer)
        except OSError:
            self._stats.count("send_failed")

    def _read_wildcard(self) -> None:
        front = self._front()
        for _ in range(_BATCH):
            try:
                data, ancillary, _, peer = self._socket.recvmsg(_LARGEST_QUERY, 128)
            except OSError:
                return
            source = [_as_source(*item) for item in ancillary]
            front.handle(data, peer[0], "udp", partial(self._send_from, source, peer))

    def _send_from(self, source: _Ancillary, peer: _Peer, out: bytes) -> None:
        if not self._open:
            return
        try:
            self._socket.sendmsg([out], source, 0, peer)
        except OSError:
            self._stats.count("send_failed")

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()


def _as_source(level: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
    """Packet information as received, for the answer: same address, route decides the interface."""
    if level == socket.IPPROTO_IPV6 and len(data) >= _PKTINFO6.size:
        address, index = _PKTINFO6.unpack_from(data)
        link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
        return level, kind, _PKTINFO6.pack(address, index if link_local else 0)
    if level == socket.SOL_IP and len(data) >= _PKTINFO4.size:
        _, local, _ = _PKTINFO4.unpack_from(data)
        return level, kind, _PKTINFO4.pack(0, local, b"\0" * 4)
    return level, kind, data


class TcpListener:
    """Connections from clients, bounded in all and for each."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bound: Bound,
        front: Callable[[], Front],
        stats: Stats,
        limits: Callable[[], Limits],
        connections: "set[TcpConnection]",
    ) -> None:
        self.loop = loop
        self.front = front
        self.stats = stats
        self.limits = limits
        self.connections = connections
        self._socket = bound.tcp
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await self.loop.create_server(
            lambda: TcpConnection(self), sock=self._socket, backlog=_BACKLOG
        )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class TcpConnection(asyncio.Protocol):
    """Messages with a length before each (RFC 1035 section 4.2.2), answered as they get ready."""

    def __init__(self, listener: TcpListener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self.client = ""
        self._buffer = bytearray()
        self._waiting = 0
        self._reading = True
        self._writable = True
        self._ended = False
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listener = self._listener
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        limits = listener.limits()
        of_client = sum(other.client == self.client for other in listener.connections)
        if (
            not peer
            or len(listener.connections) >= limits.tcp
            or of_client >= limits.tcp_per_client
        ):
            listener.stats.count("tcp_connections", "refused")
            cast(asyncio.Transport, transport).abort()
            return
        listener.stats.count("tcp_connections", "accepted")
        listener.connections.add(self)
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._restart_idle()

    def _restart_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._listener.loop.call_later(self._listener.limits().tcp_idle_s, self._idled)

    def _idled(self) -> None:
        if self._transport is None:
            return
        if self._waiting and self._writable:
            self._restart_idle()
            return
        self._listener.stats.count("tcp_connections", "timed-out")
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._take()

    def _take(self) -> None:
        """Handle the whole messages that are there, as far as the bounds allow."""
        while self._transport is not None and self._waiting < _PIPELINED and self._writable:
            size = int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < 2 or len(self._buffer) < 2 + size:
                break
            message = bytes(self._buffer[2 : 2 + size])
            del self._buffer[: 2 + size]
            self._restart_idle()
            self._waiting += 1
            if not self._listener.front().handle(message, self.client, "tcp", self._reply):
                self._waiting -= 1
                self.close()  # a stream with something else in it cannot be trusted further
        self._pace()

    def _pace(self) -> None:
        """Stop reading from a client that is ahead of its answers, so that memory is bounded."""
        wanted = self._waiting < _PIPELINED and self._writable
        if self._transport is None or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _reply(self, out: bytes) -> None:
        self._waiting -= 1
        if self._transport is None:
            return
        self._transport.write(len(out).to_bytes(2, "big") + out)
        if self._ended and not self._waiting:
            self.close()
        elif self._waiting == _PIPELINED - 1:
            self._listener.loop.call_soon(self._take)

    def pause_writing(self) -> None:
        self._writable = False
        self._pace()

    def resume_writing(self) -> None:
        self._writable = True
        self._take()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._listener.connections.discard(self)
        if self._idle is not None:
            self._idle.cancel()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def eof_received(self) -> bool:
        """A client may shut its side down and still wait for answers (RFC 7766 section 6.2.3)."""
        self._ended = True
        return self._waiting > 0
