"""Request-response latency through a lane."""

import socket
from statistics import median
from time import perf_counter_ns

from tests.bench.wire import CLIENT6, SERVER4, SERVER6, Lane

PORT = 7
WAIT_S = 1.0


class Echo:
    """One UDP client in the source and one server in the sink.

    Both ends are run by one thread, which sends a request, answers it and reads the answer: no
    process has to be woken, so that what differs between two lanes is the box. Over veth a packet
    travels inside the call that sent it, unless the box hands it to a process.
    """

    def __init__(self, lane: Lane) -> None:
        family = socket.AF_INET if lane.translated else socket.AF_INET6
        with lane.sink.inside():
            self.server = socket.socket(family, socket.SOCK_DGRAM)
            self.server.bind((str(SERVER4 if lane.translated else SERVER6), PORT))
        with lane.source.inside():
            self.client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.client.bind((str(CLIENT6), 0))
            self.client.connect((str(SERVER6), PORT))
        self.server.setblocking(False)
        self.client.setblocking(False)
        self.connect()

    def connect(self) -> None:
        """The first exchange; the server's socket then has a peer, as the client's has."""
        self.client.send(b"first")
        deadline = perf_counter_ns() + int(WAIT_S * 1e9)
        while True:
            try:
                _, peer = self.server.recvfrom(64)
                break
            except BlockingIOError:
                if perf_counter_ns() > deadline:
                    raise RuntimeError("no request arrived") from None
        self.server.connect(peer)

    def exchange_ns(self) -> int:
        """One request and its answer."""
        client, server = self.client, self.server
        begin = perf_counter_ns()
        client.send(b"request")
        receive(server, begin)
        server.send(b"answer")
        receive(client, begin)
        return perf_counter_ns() - begin

    def p50_us(self, exchanges: int) -> float:
        return median(self.exchange_ns() for _ in range(exchanges)) / 1000

    def close(self) -> None:
        self.client.close()
        self.server.close()


def receive(end: socket.socket, begin: int) -> None:
    while True:
        try:
            end.recv(64)
            return
        except BlockingIOError:
            if perf_counter_ns() - begin > WAIT_S * 1e9:
                raise RuntimeError("a request or its answer was lost") from None
