"""The product's own bpffs, where pins live."""

import ctypes
import os
from pathlib import Path

from bpf.errors import BpfError
from bpf.native import error_name, libc

_BPFFS_MAGIC = 0xCAFE4A11
_STATFS_BYTES = 256


def is_bpffs(path: Path) -> bool:
    """Whether ``path`` exists and lies on a bpffs."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        return False
    return ctypes.c_ulong.from_buffer(buffer).value == _BPFFS_MAGIC


def mount_bpffs(path: Path) -> bool:
    """Make ``path`` (created if missing) a bpffs; True when this call mounted it.

    Nothing happens where it is one already. A folder that holds files is refused: a mount would
    hide them.
    """
    if is_bpffs(path):
        return False
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(path.iterdir()):
            raise BpfError(f"{path} is not a bpffs and not empty", "name an empty folder")
    except OSError as error:
        raise BpfError(f"cannot make {path} a mount point: {error.strerror}") from error
    if libc.mount(b"bpf", os.fsencode(path), b"bpf", 0, b"mode=0700") != 0:
        number = ctypes.get_errno()
        raise BpfError(f"cannot mount a bpffs at {path}: {error_name(number)}", "root is needed")
    return True


def unmount_bpffs(path: Path) -> bool:
    """Undo ``mount_bpffs``: pins in it are gone then. True when there was something to unmount."""
    if not is_bpffs(path) or not os.path.ismount(path):
        return False
    if libc.umount2(os.fsencode(path), 0) != 0:
        number = ctypes.get_errno()
        raise BpfError(f"cannot unmount {path}: {error_name(number)}")
    return True
