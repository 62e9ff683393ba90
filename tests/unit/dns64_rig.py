"""A scripted upstream and a real worker on loopback, and questions to it over UDP and TCP."""

import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dnslib import EDNS0, QTYPE, RCODE, RR, DNSError, DNSRecord

ROOT = Path(__file__).parents[2]
PATIENCE_S = 10.0
SOA_LINE = "@ 100 IN SOA ns.ex. h.ex. 1 3600 900 604800 60"


@dataclass
class Later:
    """A reply that comes after a while, or from somewhere else than it was asked."""

    data: bytes
    seconds: float = 0.0
    from_elsewhere: bool = False


Reply = bytes | Later | None
Script = Callable[[DNSRecord, str], Reply | Sequence[Reply]]


class Zone:
    """An upstream's knowledge: ``lines`` of a zone file with origin ex., and words for the rest.

    ``overrides``: query type to an RCODE's name, "silence", or a function. ``follows``: whether
    aliases are followed within the zone, as a resolver does.
    """

    def __init__(
        self,
        lines: Sequence[str],
        overrides: dict[str, str] | None = None,
        follows: bool = True,
    ) -> None:
        self.records = [
            record
            for line in lines
            for record in RR.fromZone(line.replace("\t", " "), origin="ex.", ttl=300)
        ]
        self.overrides = overrides or {}
        self.follows = follows

    def __call__(self, query: DNSRecord, transport: str) -> bytes | None:
        reply = query.reply(ra=1, aa=0)
        reply.header.cd = query.header.cd
        kind = QTYPE[query.q.qtype]
        override = self.overrides.get(kind)
        if override == "silence":
            return None
        if override == "empty":
            return bytes(reply.pack())
        if override and override != "NXDOMAIN":
            reply.header.rcode = getattr(RCODE, override)
            return bytes(reply.pack())
        soa = [record for record in self.records if record.rtype == QTYPE.SOA]
        if override:
            reply.header.rcode = RCODE.NXDOMAIN
            reply.auth += soa
            return bytes(reply.pack())
        self._answer(reply, str(query.q.qname).lower(), query.q.qtype, soa)
        return bytes(reply.pack())

    def _answer(self, reply: DNSRecord, name: str, kind: int, soa: list[RR]) -> None:
        for _ in range(16):
            here = [record for record in self.records if str(record.rname).lower() == name]
            found = [record for record in here if kind in (record.rtype, QTYPE.ANY)]
            reply.rr += found
            if found:
                return
            alias = [record for record in here if record.rtype == QTYPE.CNAME]
            if not alias:
                below = any(str(r.rname).lower().endswith("." + name) for r in self.records)
                if not here and not below:
                    reply.header.rcode = RCODE.NXDOMAIN
                reply.auth += soa
                return
            reply.rr += alias
            name = str(alias[0].rdata.label).lower()
            if not self.follows:
                return


class Upstream:
    """Answers with ``script`` on one UDP and TCP port of ``address``; keeps what it was asked."""

    def __init__(self, script: Script, address: str = "127.0.0.1") -> None:
        self.script = script
        self.asked: list[tuple[str, str, str]] = []
        self.raw: list[bytes] = []
        self.peers: list[tuple[str, int]] = []
        self._udp, self._tcp = _pair(address)
        self._elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._elsewhere.bind((address, 0))
        self.address, self.port = self._udp.getsockname()[:2]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._udp, selectors.EVENT_READ)
            selector.register(self._tcp, selectors.EVENT_READ)
            while not self._end.is_set():
                for key, _ in selector.select(0.05):
                    if key.fileobj is self._udp:
                        self._one_datagram()
                    else:
                        threading.Thread(target=self._one_stream, daemon=True).start()
                        time.sleep(0.001)

    def _replies(self, data: bytes, transport: str) -> Sequence[Reply]:
        try:
            query = DNSRecord.parse(data)
        except DNSError:
            return [None]  # dnslib takes no label that is not UTF-8
        self.raw.append(data)
        self.asked.append((transport, str(query.q.qname), QTYPE[query.q.qtype]))
        replies = self.script(query, transport)
        return [replies] if isinstance(replies, bytes | Later | None) else replies

    def _one_datagram(self) -> None:
        data, peer = self._udp.recvfrom(65535)
        self.peers.append(peer[:2])
        for reply in self._replies(data, "udp"):
            if reply is None:
                continue
            later = Later(reply) if isinstance(reply, bytes) else reply
            sender = self._elsewhere if later.from_elsewhere else self._udp
            if later.seconds:
                threading.Timer(later.seconds, _send, (sender, later.data, peer)).start()
            else:
                sender.sendto(later.data, peer)

    def _one_stream(self) -> None:
        try:
            self._tcp.settimeout(0.2)
            connection, _ = self._tcp.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(PATIENCE_S)
            data = receive_stream(connection)
            for reply in self._replies(data, "tcp") if data else ():
                if reply is not None:
                    wire = reply if isinstance(reply, bytes) else reply.data
                    connection.sendall(len(wire).to_bytes(2, "big") + wire)

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        for sock in (self._udp, self._tcp, self._elsewhere):
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _send(sender: socket.socket, data: bytes, peer: tuple[str, int]) -> None:
    with suppress(OSError):  # the test may be over
        sender.sendto(data, peer)


def _pair(address: str) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket with the same free port."""
    for _ in range(100):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((address, 0))
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            continue
        tcp.listen(64)
        return udp, tcp
    raise OSError("no free port for UDP and TCP")


def free_port() -> int:
    """A port that nobody has on 127.0.0.1 and ::1, and that no socket gets by itself."""
    for _ in range(100):
        port = random.SystemRandom().randrange(20000, 32768)
        with ExitStack() as stack:
            try:
                for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                        sock = stack.enter_context(socket.socket(family, kind))
                        if family == socket.AF_INET6:
                            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                        sock.bind((address, port))
            except OSError:
                continue
        return port
    raise OSError("no free port")


def receive_stream(connection: socket.socket) -> bytes:
    """One message with its length before it; empty: the connection ended."""
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        more = connection.recv(65535)
        if not more:
            return b""
        data += more
    return data[2 : 2 + int.from_bytes(data[:2], "big")]


@dataclass
class Server:
    """A running worker."""

    process: subprocess.Popen[bytes]
    settings_path: Path
    port: int
    settings: dict[str, Any]
    addresses: tuple[str, ...] = field(default=("127.0.0.1", "::1"))

    def exchange(self, wire: bytes, transport: str = "udp", address: str = "127.0.0.1") -> bytes:
        """Send bytes, return the bytes of the answer."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        with socket.socket(family, kind) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect((address, self.port))
            if transport == "udp":
                sock.send(wire)
                return sock.recv(65535)
            sock.sendall(len(wire).to_bytes(2, "big") + wire)
            return receive_stream(sock)

    def ask(
        self,
        name: str,
        kind: str,
        transport: str = "udp",
        address: str = "127.0.0.1",
        flags: Sequence[str] = ("RD",),
        edns: int | None = None,
    ) -> DNSRecord:
        wire = question(name, kind, flags, edns)
        answer = DNSRecord.parse(self.exchange(wire, transport, address))
        assert answer.header.id == int.from_bytes(wire[:2], "big")
        assert answer.header.qr == 1
        assert str(answer.q.qname) == name.rstrip(".") + "."
        assert QTYPE[answer.q.qtype] == kind
        return answer

    def is_silent(self, wire: bytes, seconds: float = 0.3) -> bool:
        """Whether a datagram gets no answer, while another after it does."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", self.port))
            sock.settimeout(seconds)
            sock.send(wire)
            try:
                sock.recv(65535)
            except TimeoutError:
                return self.alive()
            return False

    def alive(self) -> bool:
        return self.process.poll() is None and len(self.ask("ipv4only.arpa", "A").rr) == 2

    def counters(self) -> dict[str, list[dict[str, Any]]]:
        """The counters in the stats file, at least as new as this call."""
        path = Path(self.settings["stats_dir"]) / "worker-0.json"
        asked = time.time()
        wait_until(lambda: path.exists() and json.loads(path.read_text())["written"] > asked)
        found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())["counters"]
        return found

    def reload(self, **changes: Any) -> None:
        """Write changed settings and send SIGHUP; returns at once."""
        self.settings = {**self.settings, **changes}
        self.settings_path.write_text(json.dumps(self.settings))
        self.process.send_signal(signal.SIGHUP)


def question(
    name: str, kind: str, flags: Sequence[str] = ("RD",), edns: int | None = None
) -> bytes:
    """A query's bytes. Flags: RD, AD, CD, and DO, which brings EDNS with it."""
    query = DNSRecord.question(name, kind)
    query.header.rd = int("RD" in flags)
    query.header.ad = int("AD" in flags)
    query.header.cd = int("CD" in flags)
    if edns is not None or "DO" in flags:
        query.add_ar(EDNS0(flags="do" if "DO" in flags else "", udp_len=edns or 1232))
    return bytes(query.pack())


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.01)


@contextmanager
def serving(
    folder: Path,
    upstreams: Sequence[Upstream | dict[str, Any]],
    start: Sequence[str] = ("-m", "dns64"),
    groups: Sequence[int] | None = None,
    **settings: Any,
) -> Iterator[Server]:
    """A worker that asks these upstreams, in a process of its own."""
    port = free_port()
    listed = [
        upstream
        if isinstance(upstream, dict)
        else {"address": upstream.address, "port": upstream.port}
        for upstream in upstreams
    ]
    data: dict[str, Any] = {
        "listen": [{"address": "127.0.0.1", "port": port}, {"address": "::1", "port": port}],
        "upstreams": listed,
        "stats_dir": str(folder / "stats"),
        **settings,
    }
    path = folder / "dns64.json"
    path.write_text(json.dumps(data))
    process = subprocess.Popen(
        [sys.executable, *start, "--settings", path],
        cwd=ROOT,
        stderr=(folder / "log").open("wb"),
        extra_groups=groups,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        server = Server(process, path, port, data)
        wait_until(lambda: process.poll() is not None or b"answers at" in log(server))
        assert process.poll() is None, log(server).decode()
        yield server
        assert process.poll() is None, log(server).decode()
        assert b"Traceback" not in log(server), log(server).decode()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def log(server: Server) -> bytes:
    return (server.settings_path.parent / "log").read_bytes()


def records(section: Sequence[RR]) -> list[str]:
    """``owner TYPE data`` of each record, without last dots, less OPT."""
    return [
        " ".join(
            [
                str(record.rname).rstrip("."),
                QTYPE[record.rtype],
                *(word.rstrip(".") for word in str(record.rdata).split()),
            ]
        )
        for record in section
        if record.rtype != QTYPE.OPT
    ]


def extended_errors(answer: DNSRecord) -> list[int]:
    """The info codes of the extended errors in an answer."""
    return [
        int.from_bytes(option.data[:2], "big")
        for record in answer.ar
        if record.rtype == QTYPE.OPT
        for option in record.rdata
        if option.code == 15
    ]
