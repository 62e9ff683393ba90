"""What maps, programs and links have in common: a descriptor that is owned, and a pin."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from bpf.errors import BpfError
from bpf.native import check, error_name, libbpf

_KERNEL_NOUNS = {"map": "bpf-map", "program": "bpf-prog", "link": "bpf-link"}


class Closing:
    """Closed at the end of ``with``; what is closed is said by ``close``."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Handle(Closing):
    """Owns one descriptor; closed by ``close()``, at the end of ``with``, or when forgotten."""

    noun = "object"

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def fd(self) -> int:
        """The descriptor; still owned by this object."""
        if self._fd < 0:
            raise BpfError(f"this {self.noun} is closed")
        return self._fd

    def pin(self, path: Path) -> None:
        """Give it a name on a bpffs, so that it outlives this process."""
        check(
            libbpf.bpf_obj_pin(self.fd, os.fsencode(path)),
            f"pin a {self.noun} at {path}",
            "the folder must exist on a bpffs, and the name must be free",
        )

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def open_pin(path: Path, noun: str) -> int:
    """A new descriptor for what is pinned at ``path``."""
    fd = int(libbpf.bpf_obj_get(os.fsencode(path)))
    if fd < 0:
        raise BpfError(f"cannot open the {noun} pinned at {path}: {error_name(-fd)}")
    found = (
        str(Path(f"/proc/self/fd/{fd}").readlink()).removeprefix("anon_inode:").replace("_", "-")
    )
    if found != _KERNEL_NOUNS[noun]:
        os.close(fd)
        raise BpfError(f"{path} is no {noun}, it is a {found}")
    return fd


def duplicate(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
