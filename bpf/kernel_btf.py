"""The types that a live map was made with, asked of the kernel."""

import os
from ctypes import addressof, create_string_buffer

from bpf.btf import Btf
from bpf.errors import BpfError
from bpf.maps import Map
from bpf.native import RawBtfInfo, check, libbpf, read_info


def kernel_layout(live: Map) -> str | None:
    """The layout of a map's values (``Btf.layout``), None if it was made without BTF."""
    if not live.btf_id or not live.btf_value_type_id:
        return None
    return kernel_btf(live.btf_id).layout(live.btf_value_type_id)


def kernel_btf(number: int) -> Btf:
    """The BTF of that id."""
    fd = check(int(libbpf.bpf_btf_get_fd_by_id(number)), f"open BTF {number}")
    try:
        info = RawBtfInfo()
        read_info(fd, info)
        size = info.btf_size
        buffer = create_string_buffer(size)
        info = RawBtfInfo(btf=addressof(buffer), btf_size=size)
        read_info(fd, info)
    finally:
        os.close(fd)
    if info.btf_size != size:
        raise BpfError(f"BTF {number} changed while it was read")
    return Btf.parse(buffer.raw, f"BTF {number}")
