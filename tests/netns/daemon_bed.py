"""A small network for the daemon's tests: a pod, the box, and a link with two routers.

    pod ── edge ── link (bridge) ── a (192.0.2.254), b (192.0.2.253)

Both routers have 203.0.113.80 behind them, so a ping is answered whichever way it went, and a
frame seen at one of them tells where the box sent it.
"""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bpf.bpffs import mount_bpffs, unmount_bpffs

SERVER = "203.0.113.80"
MAPPED_SERVER = "64:ff9b::203.0.113.80"
POD, POD_IPV4 = "2001:db8:64::c8", "198.51.100.200"
A, B = "192.0.2.254", "192.0.2.253"
SECONDS = 30

CONFIG = """\
version: 1
interfaces:
  pods0: {{role: pods, addresses: ["2001:db8:64::1/64"]}}
  uplink0: {{role: uplink, addresses: ["192.0.2.1/24"]}}
routes:
  - {{to: 203.0.113.0/24, via: {gateway}}}
translation:
  pref64: [{{prefix: "64:ff9b::/96"}}]
  eam:
    - {{ipv4: 198.51.100.200, ipv6: "2001:db8:64::c8"}}
{eam}"""


def config(gateway: str = A, eam: str = "", more: str = "") -> str:
    return CONFIG.format(gateway=gateway, eam=eam) + more


def until(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Whether ``condition`` came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in a network namespace."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _setns(there)
        yield
    finally:
        _setns(here)
        os.close(here)
        os.close(there)


def _setns(descriptor: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@dataclass
class Capture:
    """Frames that came to an interface, with their time (monotonic)."""

    namespace: str
    ethertype: int
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Capture":
        with inside(self.namespace):
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ethertype)
            )
        self._socket.bind(("eth0", self.ethertype))
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                frame, sender = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            if sender[2] != socket.PACKET_OUTGOING:
                self.frames.append((time.monotonic(), frame))

    def to_server(self) -> list[float]:
        """When IPv4 packets to SERVER came."""
        wanted = socket.inet_aton(SERVER)
        return [when for when, frame in list(self.frames) if frame[30:34] == wanted]


@dataclass
class Bed:
    """Namespaces with a common prefix, and one runtime folder."""

    name: str
    runtime: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def netns(self, node: str) -> str:
        return f"{self.name}-{node}"

    def run(self, node: str, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.netns(node), *command],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def ip(self, node: str, *command: str) -> str:
        return self.run(node, "ip", *command)

    def up(self) -> None:
        for node in ("edge", "pod", "link", "a", "b"):
            subprocess.run(["ip", "netns", "add", self.netns(node)], check=True)
            self.ip(node, "link", "set", "lo", "up")
        self.ip("link", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        self.ip("link", "link", "set", "br0", "up")
        self._wire("edge", "pods0", "pod", "eth0")
        self._wire("edge", "uplink0", "link", "edge")
        self._wire("link", "to-a", "a", "eth0")
        self._wire("link", "to-b", "b", "eth0")
        for port in ("edge", "to-a", "to-b"):
            self.ip("link", "link", "set", port, "master", "br0")
        self.ip("pod", "addr", "add", f"{POD}/64", "dev", "eth0", "nodad")
        self.ip("pod", "route", "add", "default", "via", "2001:db8:64::1")
        for node, address in (("a", A), ("b", B)):
            self.ip(node, "addr", "add", f"{address}/24", "dev", "eth0")
            self.ip(node, "addr", "add", f"{SERVER}/32", "dev", "lo")
            self.ip(node, "route", "add", "198.51.100.0/24", "via", "192.0.2.1")
        mount_bpffs(self.runtime / "bpf")

    def _wire(self, node: str, end: str, other: str, other_end: str) -> None:
        netns = self.netns(other)
        self.ip(node, "link", "add", end, "type", "veth", "peer", "name", other_end, "netns", netns)
        for where, name in ((node, end), (other, other_end)):
            if where != "edge":
                self.run(where, "ethtool", "-K", name, "tx", "off", "tso", "off", "gro", "on")
                self.ip(where, "link", "set", name, "up")

    def down(self) -> None:
        self.kill_all()
        unmount_bpffs(self.runtime / "bpf")
        for node in ("edge", "pod", "link", "a", "b"):
            subprocess.run(["ip", "netns", "del", self.netns(node)], check=False)
        shutil.rmtree(self.runtime, ignore_errors=True)

    # --- the product -----------------------------------------------------------------------------

    def edge64(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._edge64(*arguments), capture_output=True, text=True, timeout=120, env=self._env()
        )

    def _edge64(self, *arguments: str) -> list[str]:
        code = "import sys; sys.argv[0] = 'edge64'; from appliance.console.main import main; main()"
        command = [sys.executable, "-c", code, *arguments]
        return ["ip", "netns", "exec", self.netns("edge"), *command]

    def _env(self) -> dict[str, str]:
        return {**os.environ, "EDGE64_RUNTIME_DIR": str(self.runtime)}

    def start(self, text: str | None = None, program: str = "daemon") -> None:
        """edge64d, or the whole under supervisor (``run``), until its heart beats."""
        arguments = [program]
        if text is not None:
            file = self.runtime / "boot.yaml"
            file.write_text(text)
            arguments += ["--config", str(file)]
        log = (self.runtime / "started.log").open("a")
        self.started.append(
            subprocess.Popen(
                self._edge64(*arguments), stdout=log, stderr=log, text=True, env=self._env()
            )
        )
        assert until(lambda: self.status().get("next-hops", {}).get("route-bits")), self.log()

    def api(self, method: str, path: str, content: str | None = None) -> Any:
        """The daemon's answer, without the second that a console takes to start."""
        transport = httpx.HTTPTransport(uds=str(self.runtime / "api.sock"))
        with httpx.Client(transport=transport, base_url="http://edge64", timeout=60) as client:
            reply = client.request(method, path, content=content)
        assert reply.is_success, reply.text
        return reply.json()

    def apply(self, text: str) -> "subprocess.CompletedProcess[str]":
        """By the console, as people do."""
        file = self.runtime / "apply.yaml"
        file.write_text(text)
        return self.edge64("apply", str(file))

    def put(self, text: str) -> list[str]:
        """What applying changed; fails when it is refused."""
        return list(self.api("PUT", "/v1/config", text)["changes"])

    def status(self) -> dict[str, Any]:
        try:
            return dict(self.api("GET", "/v1/status"))
        except httpx.TransportError:
            return {}

    def jobs(self) -> Counter[tuple[str, str]]:
        """Packets by interface and job."""
        total: Counter[tuple[str, str]] = Counter()
        for row in self.api("GET", "/v1/counters"):
            for name, job in row["jobs"].items():
                total[row["interface"], name] += job["packets"]
        return total

    def reason(self, name: str) -> int:
        return sum(row["reasons"].get(name, 0) for row in self.api("GET", "/v1/counters"))

    def watcher(self) -> dict[str, Any]:
        return dict(json.loads((self.runtime / "watcher.json").read_text()))

    def log(self) -> str:
        logs = [self.runtime / "started.log", *(self.runtime / "log").glob("*.log")]
        return "\n".join(f"== {one}\n{one.read_text()[-3000:]}" for one in logs if one.exists())

    def processes(self) -> list[int]:
        """Everything of the product that runs for this folder."""
        wanted = f"EDGE64_RUNTIME_DIR={self.runtime}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def kill_all(self) -> None:
        """kill -9 of everything in user space."""
        while pids := self.processes():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for process in self.started:
                process.wait()
            self.started.clear()
            time.sleep(0.05)

    # --- traffic ---------------------------------------------------------------------------------

    def ping(self, *options: str, to: str = MAPPED_SERVER) -> str:
        return self.run("pod", "ping", "-n", "-q", *options, to, check=False)

    def load(self, interval: float = 0.002) -> "Load":
        """Pings from the pod to the server while inside."""
        return Load(self.netns("pod"), interval)


class Load:
    """Numbered pings at a steady pace; after the end it waits for those still under way.

    ``lost``: the numbers that were never answered, and when they were sent.
    """

    def __init__(self, namespace: str, interval: float) -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self._socket.connect((MAPPED_SERVER, 0))
        self._socket.settimeout(0.05)
        self._interval = interval
        self._stop = threading.Event()
        self._done = threading.Event()
        self._sent: list[float] = []
        self._answered: set[int] = set()
        self._threads = [threading.Thread(target=one) for one in (self._send, self._receive)]

    @property
    def sent(self) -> int:
        return len(self._sent)

    @property
    def lost(self) -> list[tuple[int, float]]:
        return [(n, at) for n, at in enumerate(self._sent) if n not in self._answered]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        assert until(lambda: len(self._answered) > 50)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        until(lambda: not self.lost, 2.0)
        self._done.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _send(self) -> None:
        while not self._stop.is_set():
            number = len(self._sent)
            echo = struct.pack("!BBHHHQ", 128, 0, 0, 0xE64, number & 0xFFFF, number)
            self._sent.append(time.monotonic())
            try:
                self._socket.send(echo)
            except OSError:
                self._sent.pop()  # no route at the pod itself, or an error that came back
            time.sleep(self._interval)

    def _receive(self) -> None:
        while not self._done.is_set():
            try:
                reply = self._socket.recv(2048)
            except OSError:
                continue
            if len(reply) >= 16 and reply[0] == 129 and reply[4:6] == b"\x0e\x64":
                self._answered.add(struct.unpack_from("!Q", reply, 8)[0])


def arp_answers(frames: list[tuple[float, bytes]]) -> list[tuple[str, str, int]]:
    """(sender address, sender MAC, operation) of ARP frames."""
    found = []
    for _, frame in frames:
        operation, mac, address = struct.unpack_from("!H6s4s", frame, 20)
        found.append((socket.inet_ntoa(address), mac.hex(":"), operation))
    return found
