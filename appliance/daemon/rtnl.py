"""rtnetlink as bytes: what pyroute2 0.7.7 cannot do, or not fast enough.

It does not know IFA_PROTO and NDA_FLAGS_EXT, and takes some 0.3 ms a message where the watcher
and 65,536 proxied addresses need microseconds. Layouts: linux/netlink.h, rtnetlink.h, if_addr.h,
neighbour.h, if_link.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

# linux/netlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
F_REQUEST, F_ACK, F_DUMP_INTR, F_DUMP = 0x1, 0x4, 0x10, 0x300
F_REPLACE, F_EXCL, F_CREATE = 0x100, 0x200, 0x400
SOL_NETLINK = 270
ADD_MEMBERSHIP, NO_ENOBUFS, CAP_ACK, STRICT_CHK = 1, 5, 10, 12

# linux/rtnetlink.h
NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWRULE, DELRULE, GETRULE = 32, 33, 34
NEWNEXTHOP, DELNEXTHOP = 104, 105
GROUP_LINK, GROUP_NEIGH, GROUP_IPV4_ADDR, GROUP_IPV4_ROUTE = 1, 3, 5, 7
GROUP_IPV4_RULE, GROUP_IPV6_ADDR, GROUP_IPV6_ROUTE, GROUP_IPV6_RULE = 8, 9, 11, 19
GROUP_NEXTHOP = 32

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_PROTO = 1, 2, 4, 8, 11
IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_CARRIER_UP_COUNT = 1, 3, 4, 47
IFF_UP, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x8, 0x40
RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH = 1, 2, 4, 5, 6, 9
RTA_TABLE, RTA_VIA, RTA_NH_ID = 15, 18, 30
RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = 1, 2, 3, 4, 5
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTM_F_CLONED = 0x200
NDA_DST, NDA_LLADDR, NDA_PROTOCOL, NDA_FLAGS_EXT = 1, 2, 12, 15
NTF_USE, NTF_PROXY, NTF_EXT_MANAGED = 0x01, 0x08, 0x01
NUD_NONE, NUD_PERMANENT = 0x00, 0x80
NUD_VALID = 0x80 | 0x40 | 0x02 | 0x10 | 0x04 | 0x08

_DUMPED = frozenset((GETLINK, GETADDR, GETROUTE, GETNEIGH, GETRULE))

OWN_PROTOCOL = 64
"""Marks routes, addresses and neighbours as edge64's own (rtm_protocol, IFA_PROTO, NDA_PROTOCOL);
nothing else is ever removed."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
ADDR = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst len, src len, tos, table, protocol, scope, type
NEIGH = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
RULE = struct.Struct("=BBBBBBBBI")  # family, dst len, src len, tos, table, _, _, action, flags

_RECEIVE_BYTES = 1 << 20
_BATCH = 200


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def number(kind: int, value: int) -> bytes:
    """An attribute with a 32-bit number."""
    return _ATTRIBUTE.pack(8, kind) + value.to_bytes(4, "little" if _LITTLE else "big")


_LITTLE = struct.pack("=H", 1) == b"\1\0"


def as_number(payload: bytes | None, default: int = 0) -> int:
    """The value of a 32-bit attribute."""
    return struct.unpack("=I", payload)[0] if payload and len(payload) == 4 else default


def header(length: int, kind: int, flags: int, seq: int) -> bytes:
    """A message's own header (struct nlmsghdr)."""
    return _HEADER.pack(length, kind, flags, seq, 0)


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """The attributes of a message's payload, from ``offset`` on."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


@dataclass(frozen=True)
class Message:
    """A received message; ``data`` begins with the family's own header."""

    kind: int
    flags: int
    seq: int
    data: bytes


@dataclass(frozen=True)
class Request:
    """What the kernel is asked to do; ``what`` says it to people."""

    kind: int
    flags: int
    data: bytes
    what: str = ""


class RtnlError(Exception):
    """The kernel refused a request."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"{what}: {os.strerror(number)}")
        self.errno = number


def messages(buffer: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    offset = 0
    while offset + 16 <= len(buffer):
        length, kind, flags, seq, _ = _HEADER.unpack_from(buffer, offset)
        if length < 16:
            return
        yield Message(kind, flags, seq, buffer[offset + 16 : offset + length])
        offset += (length + 3) & ~3


def open_socket(groups: Iterable[int] = (), receive_bytes: int = 4 << 20) -> socket.socket:
    """A route netlink socket that is a member of ``groups``."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    opened.setsockopt(SOL_NETLINK, CAP_ACK, 1)
    try:
        opened.setsockopt(socket.SOL_SOCKET, 33, receive_bytes)  # SO_RCVBUFFORCE
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    opened.bind((0, 0))
    for group in groups:
        opened.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
    return opened


class Rtnl:
    """A socket for requests and dumps; not for several threads at once."""

    def __init__(self) -> None:
        self._socket = open_socket()
        self._socket.setsockopt(SOL_NETLINK, STRICT_CHK, 1)
        self._seq = 0

    def __enter__(self) -> "Rtnl":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def dump(self, kind: int, data: bytes) -> list[Message]:
        """Everything that matches ``data`` (a header, as the kernel's strict check wants it).

        A dump that something changed under is taken again.
        """
        for _ in range(8):
            found, whole = self._dump_once(kind, data)
            if whole:
                return found
        return found

    def _dump_once(self, kind: int, data: bytes) -> tuple[list[Message], bool]:
        self._send([Request(kind, F_REQUEST | F_DUMP, data)])
        found: list[Message] = []
        whole = True
        while True:
            for message in messages(self._socket.recv(_RECEIVE_BYTES)):
                if message.seq != self._seq:
                    continue
                whole = whole and not message.flags & F_DUMP_INTR
                if message.kind == NLMSG_DONE:
                    return found, whole
                if message.kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", message.data)[0]
                    if code in (errno.ENOENT, errno.EOPNOTSUPP):
                        return [], True
                    raise RtnlError(code, "cannot read the kernel's tables")
                found.append(message)

    def run(self, requests: Sequence[Request], ignore: Iterable[int] = ()) -> None:
        """Runs requests in order; raises RtnlError for the first that failed with an errno
        that is not in ``ignore``. Later ones of its batch have run all the same."""
        ignored = frozenset(ignore)
        for begin in range(0, len(requests), _BATCH):
            batch = requests[begin : begin + _BATCH]
            for request, code in zip(batch, self._acknowledged(batch), strict=True):
                if code and code not in ignored:
                    raise RtnlError(code, request.what or "a request to the kernel")

    def _acknowledged(self, batch: Sequence[Request]) -> list[int]:
        first = self._seq + 1
        self._send(batch)
        codes: dict[int, int] = {}
        while len(codes) < len(batch):
            for message in messages(self._socket.recv(_RECEIVE_BYTES)):
                if message.kind == NLMSG_ERROR and first <= message.seq <= self._seq:
                    codes[message.seq] = -struct.unpack_from("=i", message.data)[0]
        return [codes[first + index] for index in range(len(batch))]

    def _send(self, batch: Sequence[Request]) -> None:
        out = bytearray()
        for request in batch:
            self._seq += 1
            flags = request.flags | F_REQUEST
            if request.kind not in _DUMPED:
                flags |= F_ACK
            out += _HEADER.pack(16 + len(request.data), request.kind, flags, self._seq, 0)
            out += request.data + b"\0" * (-len(request.data) % 4)
        self._socket.send(out)
