"""Network namespaces and devices for program runs; nothing of them outlives the test."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL("libc.so.6", use_errno=True)


@contextmanager
def fresh_namespace() -> Iterator[None]:
    """This thread lives in a new, nameless network namespace with `lo` up, then returns."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call(_libc.unshare(_CLONE_NEWNET), "unshare")
        try:
            ip("link", "set", "lo", "up")
            yield
        finally:
            _call(_libc.setns(home, _CLONE_NEWNET), "setns")
    finally:
        os.close(home)


def ip(*arguments: str) -> str:
    """Run `ip` in this thread's namespace; what it printed."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def veth(name: str, peer: str, *options: str) -> tuple[int, int]:
    """A pair of devices, up, both ends here; their numbers. ``options`` as `mtu 9000`."""
    ip("link", "add", name, *options, "type", "veth", "peer", "name", peer, *options)
    for each in (name, peer):
        ip("link", "set", each, "up", "addrgenmode", "none")
    return socket.if_nametoindex(name), socket.if_nametoindex(peer)


def received_packets(name: str) -> int:
    """The device's own count."""
    statistics = ip("-s", "-o", "link", "show", name).replace("\\", "\n").splitlines()
    row = next(i for i, line in enumerate(statistics) if line.strip().startswith("RX:"))
    return int(statistics[row + 1].split()[1])


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
