"""Offload settings by the SIOCETHTOOL ioctl."""

import ctypes
import fcntl
import socket
import struct
from enum import IntEnum

_SIOCETHTOOL = 0x8946
_IFREQ = struct.Struct("16sP16x")


class Offload(IntEnum):
    """The ethtool command that sets an offload (linux/ethtool.h)."""

    TX_CHECKSUM = 0x17
    SCATTER_GATHER = 0x19
    TSO = 0x1F
    GSO = 0x24
    GRO = 0x2C


def set_offload(interface: str, offload: Offload, on: bool) -> None:
    """Switches an offload of an interface of the calling thread's network namespace."""
    value = ctypes.create_string_buffer(struct.pack("=II", offload, on), 8)
    request = _IFREQ.pack(interface.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError as error:
            raise OSError(
                error.errno, f"{interface}: {offload.name} {'on' if on else 'off'}: {error}"
            ) from error


def behave_like_a_wire(interface: str) -> None:
    """Frames leave with finished checksums and in their own size, and the peer may redirect here.

    A veth hands on what a NIC would still have to finish, which XDP on the peer must not touch.
    XDP_REDIRECT out of the peer arrives only where this end polls, which GRO makes it do.
    """
    for offload in (Offload.TSO, Offload.GSO, Offload.TX_CHECKSUM):
        set_offload(interface, offload, False)
    set_offload(interface, Offload.GRO, True)
