"""BPF programs: what the kernel knows of them, and runs of them on a given frame."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_void_p, cast, create_string_buffer, sizeof
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

from bpf.errors import BpfError
from bpf.handles import Handle, open_pin
from bpf.native import RawProgInfo, TestRunOpts, XdpMd, check, libbpf, read_info

_TYPE_XDP = 6
_LIVE_FRAMES = 1 << 1
_STATS_RUN_TIME = 0
_ROOM_TO_GROW = 512


class Verdict(IntEnum):
    """What an XDP program returns (``enum xdp_action``)."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


@dataclass(frozen=True)
class ProgramInfo:
    """``run_time_ns`` and ``run_count`` grow only while ``run_time_statistics`` is on."""

    id: int
    name: str
    type: int
    tag: str
    xlated_bytes: int
    jited_bytes: int
    verified_instructions: int
    run_time_ns: int
    run_count: int
    recursion_misses: int


@dataclass(frozen=True)
class RunResult:
    """What came of a program run.

    ``duration_ns``: the kernel's mean for one run, not the wall clock. ``data_out`` has what the
    program put before the packet (``bpf_xdp_adjust_meta``) cut off; that is ``meta_out``.
    """

    retval: int
    data_out: bytes
    duration_ns: int
    meta_out: bytes = b""


class Program(Handle):
    """A loaded program."""

    noun = "program"

    def __init__(self, fd: int, name: str = "") -> None:
        """Takes over ``fd``. ``name``: the full one, where the kernel's is cut to 15 bytes."""
        super().__init__(fd)
        info = program_info(fd)
        self.id = info.id
        self.name = name or info.name
        self.type = info.type

    @classmethod
    def open_pinned(cls, path: Path) -> Self:
        """The program pinned at ``path``."""
        return cls(open_pin(path, cls.noun))

    @classmethod
    def open_id(cls, number: int) -> Self:
        """The program of that id, as ``Link.info`` tells it."""
        return cls(check(int(libbpf.bpf_prog_get_fd_by_id(number)), f"open program {number}"))

    def info(self) -> ProgramInfo:
        return program_info(self.fd)

    def run(
        self,
        data_in: bytes,
        repeat: int = 1,
        *,
        ingress_ifindex: int = 0,
        rx_queue_index: int = 0,
        linear_bytes: int | None = None,
        live_frames: bool = False,
        batch_size: int = 0,
        data_out_size: int | None = None,
        cpu: int | None = None,
    ) -> RunResult:
        """Run it on one frame (BPF_PROG_TEST_RUN) in this thread's network namespace.

        ``ingress_ifindex``: a device of that namespace; 0 is the loopback device.
        ``repeat`` hands the program its own output again from the second round on.
        ``live_frames``: what it says is done: frames are really sent, redirected or passed up;
        nothing comes back, ``batch_size`` frames (64 if 0, at most 256) go at once.
        ``linear_bytes``: how much of the frame lies in the first buffer, the rest being
        fragments (Linux 6.18). Without it, what exceeds a page (3,520 bytes on x86-64) is
        fragments on every kernel. Only programs of ``xdp.frags`` should see such frames; the
        kernel runs the others too.
        ``data_out_size``: room for the outcome; 512 bytes more than ``data_in`` if None.
        ``cpu``: run there.
        """
        frame = create_string_buffer(data_in, len(data_in))
        options = TestRunOpts(sz=sizeof(TestRunOpts), repeat=repeat, batch_size=batch_size)
        options.data_in, options.data_size_in = cast(frame, c_void_p), len(data_in)
        room = 0 if live_frames else len(data_in) + _ROOM_TO_GROW
        if data_out_size is not None:
            room = data_out_size
        out = create_string_buffer(max(room, 1))
        if room:
            options.data_out, options.data_size_out = cast(out, c_void_p), room
        context_in, context_out = XdpMd(), XdpMd()
        if self.type == _TYPE_XDP:
            context_in.data_end = len(data_in) if linear_bytes is None else linear_bytes
            context_in.ingress_ifindex = ingress_ifindex
            context_in.rx_queue_index = rx_queue_index
            options.ctx_in, options.ctx_size_in = cast(byref(context_in), c_void_p), sizeof(XdpMd)
            if not live_frames:
                options.ctx_out = cast(byref(context_out), c_void_p)
                options.ctx_size_out = sizeof(XdpMd)
        options.flags = _LIVE_FRAMES if live_frames else 0
        with _pinned_to(cpu):
            result = int(libbpf.bpf_prog_test_run_opts(self.fd, byref(options)))
        check(
            result,
            f"run program {self.name} on {len(data_in)} bytes (device {ingress_ifindex})",
            "14 bytes at least; the device must be in this namespace; ENOSPC: the outcome is "
            "larger than data_out_size",
        )
        received = out.raw[: options.data_size_out] if room else b""
        meta = context_out.data
        return RunResult(options.retval, received[meta:], options.duration, received[:meta])

    def call(self) -> int:
        """Run a program of type syscall once, without a context; what it returns."""
        options = TestRunOpts(sz=sizeof(TestRunOpts))
        result = int(libbpf.bpf_prog_test_run_opts(self.fd, byref(options)))
        check(result, f"run program {self.name}")
        return int(options.retval)


def program_info(fd: int) -> ProgramInfo:
    """What the kernel knows of the program behind ``fd``."""
    info = RawProgInfo()
    read_info(fd, info)
    return ProgramInfo(
        id=info.id,
        name=info.name.decode(),
        type=info.type,
        tag=bytes(info.tag).hex(),
        xlated_bytes=info.xlated_prog_len,
        jited_bytes=info.jited_prog_len,
        verified_instructions=info.verified_insns,
        run_time_ns=info.run_time_ns,
        run_count=info.run_cnt,
        recursion_misses=info.recursion_misses,
    )


@contextmanager
def run_time_statistics() -> Iterator[None]:
    """While inside, the kernel counts runs and their time, for every program on the machine."""
    fd = check(int(libbpf.bpf_enable_stats(_STATS_RUN_TIME)), "turn on run-time statistics")
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def _pinned_to(cpu: int | None) -> Iterator[None]:
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        raise BpfError(f"cannot run on CPU {cpu}: {error.strerror}") from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
