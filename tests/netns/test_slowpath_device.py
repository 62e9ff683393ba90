"""The slow path's process on a real TUN device, the kernel on its other side.

One namespace is everybody: a pod at POD6, an IPv4 host at HOST4, the box between them.
"""

import errno
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import IO, Any

import pytest

from appliance.slowpath.settings import Settings, write_settings
from bpf.model import EamEntry, Pref64, Translation
from tests.bpf.namespaces import fresh_namespace, ip

DEVICE = "e64slow"
POD4, POD6 = "198.51.100.7", "2001:db8:1::7"
HOST4 = "203.0.113.9"
HOST6 = "2001:db8:64::203.0.113.9"
BOX4, BOX6 = "192.0.2.1", "2001:db8:6::1"
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IPV6_RECVERR = 10, 0, 25
SECONDS = 10.0
NOBODY = 65534

SETTINGS = Settings(
    Translation(
        pref64=(Pref64(IPv6Network("2001:db8:64::/96")),),
        eam=(EamEntry(IPv4Network(f"{POD4}/32"), IPv6Network(f"{POD6}/128")),),
    ),
    mtu4=1500,
    mtu6=1500,
    ipv4=IPv4Address(BOX4),
    ipv6=IPv6Address(BOX6),
    device=DEVICE,
)


def until(what: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class SlowPath:
    """The process, and what can be seen of it from outside."""

    def __init__(self, folder: Path) -> None:
        self.settings = folder / "settings.json"
        self.counters = folder / "own" / "counters.json"
        self._said = ""
        command = [sys.executable, "-m", "appliance.slowpath", "--settings", str(self.settings)]
        self.process = subprocess.Popen(
            [*command, "--counters", str(self.counters)], stderr=subprocess.PIPE, text=True
        )
        self.said("serving")

    def said(self, words: str) -> None:
        """Waits until it has said so on stderr."""
        stderr: IO[str] | None = self.process.stderr
        assert stderr is not None
        end = time.monotonic() + SECONDS
        while words not in self._said:
            left = end - time.monotonic()
            assert left > 0 and select.select([stderr], [], [], left)[0], self._said
            self._said += os.read(stderr.fileno(), 65536).decode()
            assert self.process.poll() is None, self._said
        self._said = ""

    def counted(self, *path: str) -> int:
        try:
            value: Any = json.loads(self.counters.read_text())
        except FileNotFoundError:
            return 0
        for key in path:
            value = value.get(key, {})
        return value or 0

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


def accept_own_addresses() -> None:
    for name, value in (("rp_filter", "0"), ("accept_local", "1")):
        for device in ("all", DEVICE):
            Path(f"/proc/sys/net/ipv4/conf/{device}/{name}").write_text(value)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Open to everyone, as the runtime directory is: the process has no privileges later."""
    path = Path(tempfile.mkdtemp(prefix="edge64-slowpath-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def running(folder: Path) -> Iterator[SlowPath]:
    with fresh_namespace():
        write_settings(folder / "settings.json", SETTINGS)
        slow = SlowPath(folder)
        try:
            for address in (f"{HOST4}/32", f"{BOX4}/32", f"{POD6}/128", f"{BOX6}/128"):
                ip("address", "add", address, "dev", "lo")
            ip("link", "set", DEVICE, "up", "mtu", "65535")
            ip("route", "add", f"{POD4}/32", "dev", DEVICE, "src", HOST4)
            ip("-6", "route", "add", "2001:db8:64::/96", "dev", DEVICE, "src", POD6)
            accept_own_addresses()
            yield slow
        finally:
            if slow.process.poll() is None:
                slow.process.kill()
            slow.process.wait()
            assert slow.process.stderr is not None
            slow.process.stderr.close()


@contextmanager
def conversation() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(the pod's socket, the IPv4 host's), UDP."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as pod,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host,
    ):
        pod.bind((POD6, 0))
        host.bind((HOST4, 0))
        host.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        pod.settimeout(SECONDS)
        host.settimeout(SECONDS)
        yield pod, host


def speak(size: int = 100) -> None:
    """Pod to host and back, ``size`` bytes back."""
    with conversation() as (pod, host):
        pod.sendto(b"question", (HOST6, host.getsockname()[1]))
        heard, sender = host.recvfrom(65536)
        assert (heard, sender) == (b"question", (POD4, pod.getsockname()[1]))
        answer = bytes(index % 251 for index in range(size))
        host.sendto(answer, sender)
        heard, sender = pod.recvfrom(65536)
        assert heard == answer
        assert IPv6Address(sender[0]) == IPv6Address(HOST6)


def test_both_ways_and_in_fragments(folder: Path) -> None:
    with running(folder) as slow:
        speak()
        speak(5000)
        until("the counters", lambda: slow.counted("packets", "sent") >= 8)
        # Of 5,008 bytes with the UDP header, a fragment carries 1,232.
        assert slow.counted("packets", "sent") == 2 + 1 + 5
        assert slow.counted("packets", "6to4") == 2
        assert slow.counted("packets", "4to6") == 2


def test_own_error_reaches_the_sender(folder: Path) -> None:
    with running(folder) as slow, conversation() as (pod, _):
        pod.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        pod.connect(("2001:db8:64::127.0.0.1", 9))
        pod.send(b"x")
        with pytest.raises(OSError) as refused:
            pod.recv(100)
        assert refused.value.errno == errno.ENETUNREACH  # ICMPv6 1/0, from the box
        until("it is counted", lambda: slow.counted("icmp-errors", "sent") == 1)
        assert slow.counted("drops", "destination-not-translatable") == 1


def test_it_has_no_privileges(folder: Path) -> None:
    with running(folder) as slow:
        status = Path(f"/proc/{slow.process.pid}/status").read_text()
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert lines["Uid"].split() == [str(NOBODY)] * 4
        assert lines["Groups"].strip() == ""
        assert int(lines["CapEff"], 16) == int(lines["CapPrm"], 16) == 0


def test_new_settings_are_taken_and_bad_ones_are_not(folder: Path) -> None:
    with running(folder) as slow:
        speak()
        slow.settings.write_text('{"device": ')
        slow.process.send_signal(signal.SIGHUP)
        slow.said("the old settings stay")
        speak()
        write_settings(slow.settings, replace(SETTINGS, device="other"))
        slow.process.send_signal(signal.SIGHUP)
        slow.said("the old settings stay")
        speak()
        write_settings(slow.settings, replace(SETTINGS, translation=Translation()))
        slow.process.send_signal(signal.SIGHUP)
        slow.said("new settings taken")
        before = slow.counted("packets", "not-for-translation")
        with conversation() as (pod, _):
            pod.sendto(b"question", (HOST6, 9))
            until("it is counted", lambda: slow.counted("packets", "not-for-translation") > before)


def test_the_device_outlives_the_process(folder: Path) -> None:
    with running(folder) as slow:
        slow.process.kill()
        slow.process.wait()
        assert DEVICE in ip("-o", "link", "show", DEVICE)
        again = SlowPath(folder)
        try:
            speak()
        finally:
            status = again.stop()
        assert status == 0
        assert DEVICE in ip("-o", "link", "show", DEVICE)


def test_a_second_process_is_refused_in_one_line(folder: Path) -> None:
    with running(folder) as slow:
        command = [sys.executable, "-m", "appliance.slowpath", "--settings", str(slow.settings)]
        command += ["--counters", str(slow.counters)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode != 0
        assert "cannot use the device e64slow: Device or resource busy" in done.stderr
        assert "Traceback" not in done.stderr
        speak()
