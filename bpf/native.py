"""The C border: libbpf.so.1 and libc through ctypes, with every prototype declared once.

Works with libbpf 1.1 (Debian 12) and later. libbpf's own messages never reach stderr; they are
kept per thread and can be collected with ``captured_log``.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char,
    c_char_p,
    c_int,
    c_size_t,
    c_ubyte,
    c_uint32,
    c_uint64,
    c_ulong,
    c_void_p,
    sizeof,
)
from typing import Any

from bpf.errors import BpfError

_LOG_LIMIT = 1 << 20


class XdpMd(Structure):
    """``struct xdp_md`` of the kernel's UAPI."""

    _fields_ = [
        ("data", c_uint32),
        ("data_end", c_uint32),
        ("data_meta", c_uint32),
        ("ingress_ifindex", c_uint32),
        ("rx_queue_index", c_uint32),
        ("egress_ifindex", c_uint32),
    ]


class TestRunOpts(Structure):
    """``struct bpf_test_run_opts`` of libbpf."""

    _fields_ = [
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    ]


class LinkCreateOpts(Structure):
    """The head of ``struct bpf_link_create_opts``: all that an XDP link has."""

    _fields_ = [("sz", c_size_t), ("flags", c_uint32), ("pad", c_uint32)]


class LinkUpdateOpts(Structure):
    """``struct bpf_link_update_opts`` of libbpf."""

    _fields_ = [("sz", c_size_t), ("flags", c_uint32), ("old_prog_fd", c_uint32)]


class BatchOpts(Structure):
    """``struct bpf_map_batch_opts`` of libbpf."""

    _fields_ = [("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64)]


class XdpQueryOpts(Structure):
    """The head of ``struct bpf_xdp_query_opts``, as libbpf 1.1 has it."""

    _fields_ = [
        ("sz", c_size_t),
        ("prog_id", c_uint32),
        ("drv_prog_id", c_uint32),
        ("hw_prog_id", c_uint32),
        ("skb_prog_id", c_uint32),
        ("attach_mode", c_ubyte),
        ("pad", c_ubyte * 7),
    ]


class RawMapInfo(Structure):
    """``struct bpf_map_info`` of the kernel's UAPI."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * 16),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_id", c_uint32),
        ("map_extra", c_uint64),
    ]


class RawProgInfo(Structure):
    """``struct bpf_prog_info`` of the kernel's UAPI."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_ubyte * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * 16),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
        ("attach_btf_obj_id", c_uint32),
        ("attach_btf_id", c_uint32),
        ("pad", c_uint32),
    ]


class RawLinkInfo(Structure):
    """``struct bpf_link_info`` of the kernel's UAPI, the union cut to what an XDP link has."""

    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("pad", c_uint32),
        ("xdp_ifindex", c_uint32),
        ("union_rest", c_ubyte * 60),
    ]


class RawBtfInfo(Structure):
    """``struct bpf_btf_info`` of the kernel's UAPI."""

    _fields_ = [
        ("btf", c_uint64),
        ("btf_size", c_uint32),
        ("id", c_uint32),
        ("name", c_uint64),
        ("name_len", c_uint32),
        ("kernel_btf", c_uint32),
    ]


# A va_list argument is a pointer in both ABIs that we run on (x86-64 and AArch64).
_PRINT_FUNCTION = CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
SAMPLE_FUNCTION = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)

_LIBBPF_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "libbpf_set_print": (c_void_p, [_PRINT_FUNCTION]),
    "libbpf_num_possible_cpus": (c_int, []),
    "bpf_object__open_file": (c_void_p, [c_char_p, c_void_p]),
    "bpf_object__load": (c_int, [c_void_p]),
    "bpf_object__close": (None, [c_void_p]),
    "bpf_object__next_map": (c_void_p, [c_void_p, c_void_p]),
    "bpf_object__next_program": (c_void_p, [c_void_p, c_void_p]),
    "bpf_map__fd": (c_int, [c_void_p]),
    "bpf_map__name": (c_char_p, [c_void_p]),
    "bpf_map__type": (c_int, [c_void_p]),
    "bpf_map__key_size": (c_uint32, [c_void_p]),
    "bpf_map__value_size": (c_uint32, [c_void_p]),
    "bpf_map__max_entries": (c_uint32, [c_void_p]),
    "bpf_map__map_flags": (c_uint32, [c_void_p]),
    "bpf_map__map_extra": (c_uint64, [c_void_p]),
    "bpf_map__btf_key_type_id": (c_uint32, [c_void_p]),
    "bpf_map__btf_value_type_id": (c_uint32, [c_void_p]),
    "bpf_map__is_internal": (c_bool, [c_void_p]),
    "bpf_map__set_max_entries": (c_int, [c_void_p, c_uint32]),
    "bpf_map__set_pin_path": (c_int, [c_void_p, c_char_p]),
    "bpf_map__reuse_fd": (c_int, [c_void_p, c_int]),
    "bpf_map__initial_value": (c_void_p, [c_void_p, POINTER(c_size_t)]),
    "bpf_program__fd": (c_int, [c_void_p]),
    "bpf_program__name": (c_char_p, [c_void_p]),
    "bpf_program__section_name": (c_char_p, [c_void_p]),
    "bpf_program__set_autoload": (c_int, [c_void_p, c_bool]),
    "bpf_program__autoload": (c_bool, [c_void_p]),
    "bpf_program__set_log_level": (c_int, [c_void_p, c_uint32]),
    "bpf_obj_get_info_by_fd": (c_int, [c_int, c_void_p, POINTER(c_uint32)]),
    "bpf_obj_pin": (c_int, [c_int, c_char_p]),
    "bpf_obj_get": (c_int, [c_char_p]),
    "bpf_btf_get_fd_by_id": (c_int, [c_uint32]),
    "bpf_prog_get_fd_by_id": (c_int, [c_uint32]),
    "bpf_map_lookup_elem": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_map_update_elem": (c_int, [c_int, c_void_p, c_void_p, c_uint64]),
    "bpf_map_delete_elem": (c_int, [c_int, c_void_p]),
    "bpf_map_get_next_key": (c_int, [c_int, c_void_p, c_void_p]),
    "bpf_map_freeze": (c_int, [c_int]),
    "bpf_map_lookup_batch": (
        c_int,
        [c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p],
    ),
    "bpf_map_update_batch": (c_int, [c_int, c_void_p, c_void_p, POINTER(c_uint32), c_void_p]),
    "bpf_prog_test_run_opts": (c_int, [c_int, POINTER(TestRunOpts)]),
    "bpf_link_create": (c_int, [c_int, c_int, c_int, POINTER(LinkCreateOpts)]),
    "bpf_link_update": (c_int, [c_int, c_int, POINTER(LinkUpdateOpts)]),
    "bpf_link_detach": (c_int, [c_int]),
    "bpf_xdp_query": (c_int, [c_int, c_int, POINTER(XdpQueryOpts)]),
    "bpf_enable_stats": (c_int, [c_int]),
    "ring_buffer__new": (c_void_p, [c_int, SAMPLE_FUNCTION, c_void_p, c_void_p]),
    "ring_buffer__free": (None, [c_void_p]),
    "ring_buffer__poll": (c_int, [c_void_p, c_int]),
    "ring_buffer__consume": (c_int, [c_void_p]),
    "ring_buffer__epoll_fd": (c_int, [c_void_p]),
}

_LIBC_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "vasprintf": (c_int, [POINTER(c_void_p), c_char_p, c_void_p]),
    "free": (None, [c_void_p]),
    "mount": (c_int, [c_char_p, c_char_p, c_char_p, c_ulong, c_char_p]),
    "umount2": (c_int, [c_char_p, c_int]),
    "statfs": (c_int, [c_char_p, c_void_p]),
}


def _open(name: str, prototypes: dict[str, tuple[Any, list[Any]]], hint: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(name, use_errno=True)
        for function, (result, arguments) in prototypes.items():
            handle = getattr(library, function)
            handle.restype = result
            handle.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise BpfError(f"{name} cannot be used: {error}", hint) from error
    return library


libc = _open("libc.so.6", _LIBC_PROTOTYPES, "edge64 runs on glibc (Debian 12 or later)")
libbpf = _open("libbpf.so.1", _LIBBPF_PROTOTYPES, "install the Debian package libbpf1")

_kept = threading.local()


def _keep_message(level: int, template: bytes, arguments: int) -> int:
    """libbpf's print callback: into the list of the thread that asked, else nowhere."""
    sink: list[str] | None = getattr(_kept, "sink", None)
    if sink is None or level > _kept.level:
        return 0
    text = c_void_p()
    length = libc.vasprintf(byref(text), template, arguments)
    if length >= 0 and text.value is not None:
        # A verifier log can have 16 MB; its end is what tells the reason.
        start = max(0, length - _LOG_LIMIT)
        sink.append(ctypes.string_at(text.value + start, length - start).decode(errors="replace"))
        libc.free(text)
    return 0


_print = _PRINT_FUNCTION(_keep_message)  # libbpf keeps only its address
libbpf.libbpf_set_print(_print)


@contextmanager
def captured_log(verbose: bool = False) -> Iterator[list[str]]:
    """Collect libbpf's messages of this thread; ``verbose`` keeps its debug messages too."""
    sink: list[str] = []
    _kept.sink, _kept.level = sink, 2 if verbose else 1
    try:
        yield sink
    finally:
        _kept.sink = None


def error_name(number: int) -> str:
    """``17`` to ``EEXIST: File exists``."""
    return f"{errno.errorcode.get(number, number)}: {os.strerror(number)}"


def check(result: int, doing: str, hint: str = "") -> int:
    """``result`` of a libbpf call that returns -errno; raises BpfError("cannot <doing>: …")."""
    if result >= 0:
        return result
    if -result == errno.EPERM and not hint:
        hint = "root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, are needed"
    raise BpfError(f"cannot {doing}: {error_name(-result)}", hint)


def read_info(fd: int, info: Structure) -> None:
    """Fill ``info`` (a Raw…Info) with what the kernel tells about ``fd``."""
    length = c_uint32(sizeof(info))
    check(libbpf.bpf_obj_get_info_by_fd(fd, byref(info), byref(length)), "ask about a descriptor")


def possible_cpus() -> int:
    """How many CPUs a per-CPU value has one element for."""
    return check(int(libbpf.libbpf_num_possible_cpus()), "count the possible CPUs")
