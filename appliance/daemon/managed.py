"""Next hops in use, kept fresh by the kernel (NTF_EXT_MANAGED): XDP traffic does not do it."""

import errno
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6

from appliance.daemon import rtnl
from appliance.daemon.netlink import Neighbour, NeighbourKey
from appliance.daemon.rtnl import Request, Rtnl

UNUSED_SECONDS = 60.0

Address = IPv4Address | IPv6Address


class ManagedNeighbours:
    """Marks next hops that are in use, and takes the mark off when they are not for a minute."""

    def __init__(self) -> None:
        self._last_used: dict[tuple[int, Address], float] = {}

    def __len__(self) -> int:
        return len(self._last_used)

    def adopt(self, messages: Iterable[rtnl.Message], now: float) -> None:
        """Marks of an earlier run, from a dump of neighbours; they get their minute."""
        for message in messages:
            family, index, _, _, _ = rtnl.NEIGH.unpack_from(message.data)
            values = rtnl.attributes(message.data, rtnl.NEIGH.size)
            managed = rtnl.as_number(values.get(rtnl.NDA_FLAGS_EXT)) & rtnl.NTF_EXT_MANAGED
            own = values.get(rtnl.NDA_PROTOCOL) == bytes([rtnl.OWN_PROTOCOL])
            raw = values.get(rtnl.NDA_DST)
            if managed and own and raw:
                address = IPv4Address(raw) if family == AF_INET else IPv6Address(raw)
                self._last_used.setdefault((index, address), now)

    def plan(
        self,
        in_use: Iterable[tuple[int, Address]],
        neighbours: Mapping[NeighbourKey, Neighbour],
        now: float,
    ) -> list[Request]:
        """What to ask of the kernel now. Entries that somebody made permanent stay as they are."""
        requests: list[Request] = []
        for index, address in in_use:
            key = (index, address)
            known = neighbours.get((index, address.packed))
            if known is not None and known.permanent:
                continue
            # Marked again when the kernel forgot the neighbour (its link was down).
            if key not in self._last_used or known is None:
                requests.append(_request(index, address, managed=True))
            self._last_used[key] = now
        for key, used in list(self._last_used.items()):
            if now - used > UNUSED_SECONDS:
                del self._last_used[key]
                requests.append(_request(*key, managed=False))
        return requests

    def run(self, kernel: Rtnl, requests: list[Request]) -> None:
        kernel.run(requests, ignore=_GONE)


_GONE = (errno.ENOENT, errno.ENODEV, errno.ENETDOWN, errno.EINVAL, errno.ENOBUFS)


def _request(index: int, address: Address, *, managed: bool) -> Request:
    family = AF_INET if isinstance(address, IPv4Address) else AF_INET6
    flags = 0 if managed else rtnl.NTF_USE  # USE keeps the entry's state; the mark goes
    data = rtnl.NEIGH.pack(family, index, rtnl.NUD_NONE, flags, 0)
    data += rtnl.attribute(rtnl.NDA_DST, address.packed)
    data += rtnl.attribute(rtnl.NDA_PROTOCOL, bytes([rtnl.OWN_PROTOCOL]))
    if managed:
        data += rtnl.number(rtnl.NDA_FLAGS_EXT, rtnl.NTF_EXT_MANAGED)
    create = rtnl.F_CREATE if managed else 0
    return Request(rtnl.NEWNEIGH, rtnl.F_REPLACE | create, data, f"cannot manage {address}")
