"""Network interfaces: what is there, and making it so (pyroute2)."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance.daemon.desired import SLOW_DEVICE, SLOW_MTU, LinkWant
from appliance.daemon.tun import ensure_slow_device
from appliance.errors import ApplianceError, SystemLacks

_IFF_UP, _IFF_RUNNING = 0x1, 0x40


@dataclass(frozen=True)
class Link:
    """An interface as the kernel has it. ``parent`` is an ifindex, 0 for none."""

    name: str
    index: int
    mac: bytes
    mtu: int
    up: bool
    running: bool
    parent: int = 0
    vlan_id: int = 0


def read_links(ipr: IPRoute) -> dict[str, Link]:
    """Every interface of this network namespace by name."""
    return {link.name: link for link in map(_link, ipr.get_links())}


def _link(message: Any) -> Link:
    vlan = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_VLAN_ID")
    mac = str(message.get_attr("IFLA_ADDRESS") or "")
    flags = int(message["flags"])
    parent = message.get_attr("IFLA_LINK")
    return Link(
        name=str(message.get_attr("IFLA_IFNAME")),
        index=int(message["index"]),
        mac=bytes.fromhex(mac.replace(":", "")) if len(mac) == 17 else bytes(6),
        mtu=int(message.get_attr("IFLA_MTU")),
        up=bool(flags & _IFF_UP),
        running=bool(flags & _IFF_RUNNING),
        parent=parent if isinstance(parent, int) else 0,
        vlan_id=vlan if isinstance(vlan, int) else 0,
    )


def sync_links(ipr: IPRoute, wanted: Iterable[LinkWant]) -> list[str]:
    """VLANs made, MTU set, everything up. Interfaces that are missing are left for later."""
    changes: list[str] = []
    links = read_links(ipr)
    # Parents first: a VLAN's MTU is bounded by its parent's.
    for want in sorted(wanted, key=lambda one: one.vlan is not None):
        if want.name not in links and want.vlan and want.vlan.parent in links:
            with _explained(f"cannot make VLAN interface {want.name}"):
                parent = links[want.vlan.parent].index
                ipr.link("add", ifname=want.name, kind="vlan", link=parent, vlan_id=want.vlan.id)
            changes.append(f"VLAN interface {want.name} made")
            links = read_links(ipr)
        link = links.get(want.name)
        if link is None:
            continue
        _check_vlan(want, link, links)
        if link.mtu != want.mtu:
            with _explained(f"cannot set the MTU of {want.name} to {want.mtu}"):
                ipr.link("set", index=link.index, mtu=want.mtu)
            changes.append(f"MTU of {want.name} = {want.mtu} (was {link.mtu})")
        if not link.up:
            with _explained(f"cannot bring {want.name} up"):
                ipr.link("set", index=link.index, state="up")
            changes.append(f"{want.name} brought up")
    return changes


def _check_vlan(want: LinkWant, link: Link, links: dict[str, Link]) -> None:
    if want.vlan is None:
        return
    parent = links.get(want.vlan.parent)
    if parent is None or (link.parent, link.vlan_id) != (parent.index, want.vlan.id):
        raise SystemLacks(
            f"{want.name} exists, but is not VLAN {want.vlan.id} of {want.vlan.parent}",
            "remove it, or name the VLAN interface otherwise",
        )


def ensure_slow_link(ipr: IPRoute, sysctls: Callable[[], list[str]]) -> list[str]:
    """The slow path's device: there, up, its MTU as large as can be."""
    changes = [f"{SLOW_DEVICE} made"] if ensure_slow_device() else []
    changes += sysctls()
    link = read_links(ipr)[SLOW_DEVICE]
    if link.mtu != SLOW_MTU or not link.up:
        with _explained(f"cannot bring {SLOW_DEVICE} up"):
            ipr.link("set", index=link.index, mtu=SLOW_MTU, state="up")
    return changes


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise ApplianceError(f"{what}: {error.args[-1]}") from error
