"""How a lab's holder is spoken to: JSON messages on a socket in the abstract namespace.

Such a name is no file: it is taken as long as the holder lives, and gone with it. One request, one
answer, perhaps with descriptors; only the holder's own user (root) is answered.
"""

import json
import socket
import struct
from typing import Any

_PREFIX = "\0edge64-lab/"
_MAX_BYTES = 65536
_MAX_DESCRIPTORS = 8
_CREDENTIALS = struct.Struct("3i")

Message = dict[str, Any]


def socket_name(lab: str) -> str:
    return _PREFIX + lab


def lab_names() -> list[str]:
    """Labs that are up, seen from this network namespace."""
    with open("/proc/net/unix", encoding="ascii", errors="replace") as table:
        names = (line.split()[-1] for line in table)
        prefix = "@" + _PREFIX[1:]
        return sorted({name.removeprefix(prefix) for name in names if name.startswith(prefix)})


def send(to: socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> None:
    data = json.dumps(message).encode()
    if descriptors:
        socket.send_fds(to, [data], list(descriptors))
    else:
        to.send(data)


def receive(of: socket.socket) -> tuple[Message | None, list[int]]:
    """None: the other side is gone."""
    data, descriptors, _, _ = socket.recv_fds(of, _MAX_BYTES, _MAX_DESCRIPTORS)
    return (json.loads(data) if data else None), descriptors


def peer(of: socket.socket) -> tuple[int, int]:
    """Process and user at the other end."""
    data = of.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid
