"""Network namespaces without names: they live while this process does, and die with it.

A run works in a mount namespace of its own too, so that bpffs and sysfs mounts vanish with it,
whether it ends by itself, by Ctrl-C or by SIGKILL.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
PR_SET_PDEATHSIG = 1

ROOT = Path(__file__).parents[2]

libc = ctypes.CDLL(None, use_errno=True)
started: list[subprocess.Popen[str]] = []


def checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: Path, kind: str) -> None:
    """Mounts a file system that has no device on a new folder."""
    target.mkdir(parents=True)
    checked(
        libc.mount(source.encode(), str(target).encode(), kind.encode(), 0, None),
        f"mount {kind} on {target}",
    )


def mount_scratch(folder: Path) -> None:
    """An empty folder in memory, seen by this process and its children only."""
    folder.mkdir(parents=True, exist_ok=True)
    checked(
        libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, None), f"mount tmpfs on {folder}"
    )


def private_mounts() -> None:
    """From here on this process mounts for itself alone."""
    checked(libc.unshare(CLONE_NEWNS), "unshare mounts")
    checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")


class Namespace:
    """A network namespace; ``ip`` is a netlink socket in it."""

    def __init__(self, title: str, folder: Path) -> None:
        self.title = title
        with open("/proc/thread-self/ns/net") as home:
            checked(libc.unshare(CLONE_NEWNET), "unshare network")
            try:
                self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                self.sys = folder / f"sys-{title}"
                mount("sysfs", self.sys, "sysfs")
                self.ip = IPRoute()
                self.ip.link("set", index=1, state="up")
            finally:
                checked(libc.setns(home.fileno(), CLONE_NEWNET), "return to the network namespace")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread, and processes that it starts, are in this namespace."""
        with open("/proc/thread-self/ns/net") as home:
            checked(libc.setns(self.fd, CLONE_NEWNET), f"enter {self.title}")
            try:
                yield
            finally:
                checked(libc.setns(home.fileno(), CLONE_NEWNET), f"leave {self.title}")

    def index(self, name: str) -> int:
        found: list[int] = self.ip.link_lookup(ifname=name)
        return found[0]

    def sysctl(self, path: str, value: int) -> None:
        with self.inside():
            Path("/proc/sys/net", path).write_text(str(value))

    def run(self, *command: str) -> None:
        with self.inside():
            subprocess.run(command, check=True, capture_output=True, text=True)

    def start(self, command: Sequence[str], cpu: int | None = None) -> subprocess.Popen[str]:
        """Starts a process in the namespace that ends with this one."""

        def prepare() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})

        with self.inside():
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=prepare,
                cwd=ROOT,
            )
        started.append(process)
        return process

    def close(self) -> None:
        self.ip.close()
        os.close(self.fd)


def end(process: subprocess.Popen[str]) -> None:
    """Ends one process and waits for it."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_all() -> None:
    """Ends whatever was started and still runs."""
    for process in started:
        if process.poll() is None:
            end(process)


def veth(left: Namespace, name: str, right: Namespace, peer: str, mtu: int = 1500) -> None:
    """A cable between two namespaces, up at both ends."""
    left.ip.link(
        "add",
        ifname=name,
        kind="veth",
        mtu=mtu,
        peer={"ifname": peer, "net_ns_fd": right.fd, "mtu": mtu},
    )
    for space, end in ((left, name), (right, peer)):
        space.sysctl(f"ipv6/conf/{end}/accept_dad", 0)
        space.ip.link("set", index=space.index(end), state="up")


def mac(space: Namespace, name: str) -> bytes:
    link = space.ip.get_links(space.index(name))[0]
    return bytes.fromhex(link.get_attr("IFLA_ADDRESS").replace(":", ""))
