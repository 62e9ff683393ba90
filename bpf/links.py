"""Links: an XDP program bound to a device, replaceable at once, outliving us when pinned."""

import errno
import socket
from ctypes import byref, sizeof
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bpf.errors import BpfError
from bpf.handles import Handle, open_pin
from bpf.native import (
    LinkCreateOpts,
    LinkUpdateOpts,
    RawLinkInfo,
    XdpQueryOpts,
    check,
    error_name,
    libbpf,
    read_info,
)
from bpf.programs import Program

_ATTACH_XDP = 37
_TYPE_XDP = 6
_FLAG_GENERIC = 1 << 1
_FLAG_NATIVE = 1 << 2
_REPLACE = 1 << 2
_MODE_GENERIC = 2


@dataclass(frozen=True)
class LinkInfo:
    """``ifindex`` is 0 after the device went away, or the link was detached."""

    id: int
    program_id: int
    ifindex: int


@dataclass(frozen=True)
class XdpAttachment:
    """What a device runs."""

    program_id: int
    generic: bool


class Link(Handle):
    """An XDP link. Closing the last descriptor detaches it, unless it is pinned."""

    noun = "link"

    def __init__(self, fd: int) -> None:
        """Takes over ``fd``."""
        super().__init__(fd)
        info = RawLinkInfo()
        read_info(fd, info)
        if info.type != _TYPE_XDP:
            self.close()
            raise BpfError(f"link {info.id} is no XDP link (type {info.type})")
        self.id: int = info.id

    @classmethod
    def attach_xdp(cls, program: Program, ifindex: int, generic: bool = False) -> Self:
        """Attach by the driver's own XDP, or the kernel's generic one; never the other one."""
        options = LinkCreateOpts(sizeof(LinkCreateOpts), _FLAG_GENERIC if generic else _FLAG_NATIVE)
        fd = int(libbpf.bpf_link_create(program.fd, ifindex, _ATTACH_XDP, byref(options)))
        if fd < 0:
            raise _attach_error(-fd, program, ifindex, generic)
        return cls(fd)

    @classmethod
    def open_pinned(cls, path: Path) -> Self:
        """The link pinned at ``path``."""
        return cls(open_pin(path, cls.noun))

    def info(self) -> LinkInfo:
        info = RawLinkInfo()
        read_info(self.fd, info)
        return LinkInfo(info.id, info.prog_id, info.xdp_ifindex)

    def update(self, program: Program, expected: Program | None = None) -> None:
        """Swap the program; each packet meets the old or the new one, none meets neither.

        ``expected``: refuse when another than this one runs.
        """
        options = LinkUpdateOpts(sizeof(LinkUpdateOpts), 0, 0)
        if expected is not None:
            options.flags, options.old_prog_fd = _REPLACE, expected.fd
        result = int(libbpf.bpf_link_update(self.fd, program.fd, byref(options)))
        if result == -errno.EPERM and expected is not None:
            raise BpfError(f"link {self.id} does not run program {expected.id} any more")
        if result == -errno.ENOLINK:
            raise BpfError(f"link {self.id}: its device is gone", "attach anew")
        check(
            result,
            f"replace the program of link {self.id}",
            "XDP programs with the same frags setting replace each other",
        )

    def detach(self) -> None:
        """Take the program off the device now, also when the link is pinned."""
        check(int(libbpf.bpf_link_detach(self.fd)), f"detach link {self.id}")


def attached_xdp(ifindex: int) -> XdpAttachment | None:
    """What XDP program a device of this network namespace runs, and how."""
    options = XdpQueryOpts(sz=sizeof(XdpQueryOpts))
    check(int(libbpf.bpf_xdp_query(ifindex, 0, byref(options))), f"ask about device {ifindex}")
    number = options.prog_id or options.drv_prog_id or options.skb_prog_id
    return XdpAttachment(number, options.attach_mode == _MODE_GENERIC) if number else None


def _exists(ifindex: int) -> bool:
    try:
        socket.if_indextoname(ifindex)
    except OSError:
        return False
    return True


def _attach_error(number: int, program: Program, ifindex: int, generic: bool) -> BpfError:
    mode = "generic" if generic else "native"
    what = f"cannot attach {program.name} to device {ifindex} by {mode} XDP: {error_name(number)}"
    if not _exists(ifindex):
        return BpfError(f"there is no device {ifindex} in this network namespace")
    if number == errno.EOPNOTSUPP and not generic:
        return BpfError(
            f"the driver of device {ifindex} has no native XDP", "set `generic: true` for it"
        )
    if number == errno.EBUSY:
        try:
            other = attached_xdp(ifindex)
        except BpfError:
            other = None
        by = f" (program {other.program_id})" if other else ""
        return BpfError(f"device {ifindex} already runs an XDP program{by}", "detach that one")
    if number == errno.EEXIST:
        return BpfError(
            f"device {ifindex} already runs XDP in the other mode", "detach that one first"
        )
    if number in (errno.ERANGE, errno.EINVAL):
        return BpfError(what, "a large MTU needs a program of xdp.frags; LRO must be off")
    return BpfError(what)
