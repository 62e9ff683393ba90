"""The few system calls on namespaces and mounts that Python 3.11 does not offer."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
_MNT_DETACH = 0x2

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    """Moves the calling thread (CLONE_NEWPID: its future children) into a namespace."""
    _checked(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(
    source: str, target: str | Path, kind: str = "", flags: int = 0, options: str = ""
) -> None:
    _checked(
        _libc.mount(
            ctypes.c_char_p(source.encode()),
            ctypes.c_char_p(str(target).encode()),
            ctypes.c_char_p(kind.encode() or None),
            ctypes.c_ulong(flags),
            ctypes.c_char_p(options.encode() or None),
        ),
        f"mount {kind or source} on {target}",
    )


def unmount(target: str) -> None:
    """Takes a mount away at once, busy or not."""
    _checked(_libc.umount2(ctypes.c_char_p(target.encode()), _MNT_DETACH), f"unmount {target}")


def die_with_parent(signal_number: int) -> None:
    """The kernel sends this process ``signal_number`` when the thread that made it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")


@contextmanager
def inside_network(net: int) -> Iterator[None]:
    """The calling thread is in the network namespace ``net``; sockets made here stay there."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(net, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(own, CLONE_NEWNET)
    finally:
        os.close(own)
