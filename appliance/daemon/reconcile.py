"""Holds the kernel and the datapath to a configuration.

Three steps, so that packets are not lost in between: what is new is added, the datapath is
committed, what is no longer wanted is removed. Each step compares first, so a second run with the
same configuration changes nothing, and going back is a run with the former one.
"""

import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from pyroute2 import IPRoute

from appliance.config.schema import Xdp
from appliance.config.values import Appliance
from appliance.daemon.addresses import (
    add_addresses,
    box_addresses,
    read_addresses,
    remove_addresses,
)
from appliance.daemon.announce import announce
from appliance.daemon.datapath import DatapathLike
from appliance.daemon.desired import KernelWant, ProxyWant, desired, slow_device_sysctls
from appliance.daemon.links import Link, ensure_slow_link, read_links, sync_links
from appliance.daemon.proxies import add_proxies, remove_proxies, summary
from appliance.daemon.routes import add_routes, remove_routes
from appliance.daemon.rtnl import Rtnl, RtnlError
from appliance.daemon.sysctl import sync_sysctls
from appliance.errors import ApplianceError, SystemLacks
from bpf.errors import BpfError
from bpf.model import BoxAddresses, Port, Translation

DAD_SECONDS = 4.0
_DAD_POLL_SECONDS = 0.05
ANNOUNCE_SECONDS = (0.0, 2.0, 10.0, 35.0)

Committed = tuple[tuple[Port, ...], Translation, BoxAddresses]


@dataclass(frozen=True)
class Outcome:
    """``changes``: what was done, one line each. ``missing``: interfaces that are not there."""

    changes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Reconciler:
    """``apply`` is the whole of it. One thread at a time."""

    def __init__(self, datapath: DatapathLike) -> None:
        self._datapath = datapath
        self._committed: Committed | None = None
        self._proxies: frozenset[ProxyWant] = frozenset()
        self._links: dict[str, int] = {}

    def apply(
        self, appliance: Appliance, *, missing_allowed: bool = False, healing: bool = False
    ) -> Outcome:
        """Raises ApplianceError when something cannot be done; what was done so far stays.

        ``missing_allowed``: a configured interface that does not exist is left for later (at
        boot, drivers may be slow) instead of being an error. ``healing``: after something else
        changed the kernel; what a hand did to a link that edge64 had brought up is left alone.
        """
        try:
            with IPRoute() as ipr, Rtnl() as kernel:
                return self._apply(appliance, ipr, kernel, missing_allowed or healing, healing)
        except RtnlError as error:
            raise ApplianceError(str(error)) from error
        except BpfError as error:
            raise ApplianceError(f"the datapath: {error}", error.hint) from error

    @property
    def own(self) -> BoxAddresses:
        """The box's addresses as of the last commit."""
        return self._committed[2] if self._committed else BoxAddresses()

    def announce_all(self, device: str | None = None) -> None:
        """Tells the link's hosts again where the answered addresses are (a link came up)."""
        self._announce({one for one in self._proxies if device in (None, one.device)})

    def _announce(self, proxies: set[ProxyWant]) -> None:
        if proxies:
            threading.Thread(target=self._announce_some, args=(proxies,), daemon=True).start()

    def _announce_some(self, proxies: set[ProxyWant]) -> None:
        """More than once: a switch that spans a tree forwards nothing for half a minute."""
        before = 0.0
        for when in ANNOUNCE_SECONDS:
            time.sleep(when - before)
            before = when
            by_device: dict[str, list[IPv4Address | IPv6Address]] = {}
            for one in proxies & self._proxies:
                by_device.setdefault(one.device, []).append(one.address)
            with IPRoute() as ipr:
                links = read_links(ipr)
            for device, addresses in by_device.items():
                if device in links:
                    announce(device, links[device].mac, addresses)

    def _apply(
        self,
        appliance: Appliance,
        ipr: IPRoute,
        kernel: Rtnl,
        missing_allowed: bool,
        healing: bool,
    ) -> Outcome:
        links = read_links(ipr)
        _check_present(appliance, links, missing_allowed)
        known = {name for name, index in self._links.items() if _index(links, name) == index}
        changes = ensure_slow_link(ipr, lambda: sync_sysctls(slow_device_sysctls()))
        want = desired(appliance, frozenset())
        changes += sync_links(
            ipr, [one for one in want.links if not (healing and one.name in known)]
        )
        links = read_links(ipr)
        self._links = {one.name: _index(links, one.name) for one in want.links}
        want = desired(appliance, frozenset(links))
        # A link that is down takes no route; when it comes up, this runs again.
        routes = frozenset(one for one in want.routes if links[one.device].up)
        indexes = {name: link.index for name, link in links.items()}

        changes += _sync_hostname(want.hostname)
        changes += sync_sysctls(want.sysctls)
        changes += add_addresses(kernel, want.addresses, indexes)
        _wait_for_addresses(kernel, want, links)
        changes += add_routes(kernel, routes, indexes)
        new_proxies = add_proxies(kernel, want.proxies, indexes)
        changes += summary(new_proxies, "set")

        changes += self._commit(appliance, links, kernel, want, indexes)

        gone = remove_proxies(kernel, want.proxies, indexes)
        changes += summary(gone, "removed")
        changes += remove_routes(kernel, want.routes, indexes)
        removed = remove_addresses(kernel, want.addresses, indexes)
        if removed:  # the kernel may have taken routes along
            add_routes(kernel, routes, indexes)
        changes += removed
        self._proxies = want.proxies
        self._announce(new_proxies)
        missing = [one.name for one in appliance.interfaces if one.name not in links]
        return Outcome(changes, missing)

    def _commit(
        self,
        appliance: Appliance,
        links: Mapping[str, Link],
        kernel: Rtnl,
        want: KernelWant,
        indexes: Mapping[str, int],
    ) -> list[str]:
        wanted = {(indexes[one.device], one.address) for one in want.addresses}
        held = [
            one
            for one in read_addresses(kernel)
            if not one.own or (one.index, one.address) in wanted
        ]
        ports = ports_of(appliance, links)
        committed = (ports, appliance.translation, BoxAddresses(*box_addresses(held)))
        if committed == self._committed:
            return []
        report = self._datapath.commit(*committed)
        self._committed = committed
        changes = [f"datapath attached to {name}" for name in report.attached]
        changes += [f"datapath replaced on {name}" for name in report.replaced]
        changes += [f"datapath taken off {name}" for name in report.detached]
        return changes


def _index(links: Mapping[str, Link], name: str) -> int:
    return links[name].index if name in links else 0


def ports_of(appliance: Appliance, links: Mapping[str, Link]) -> tuple[Port, ...]:
    """The datapath's ports: configured interfaces that are there and not ``xdp: off``."""
    ports: list[Port] = []
    for interface in appliance.interfaces:
        link = links.get(interface.name)
        if link is None or interface.xdp is Xdp.OFF:
            continue
        ipv6 = [own.ip for own in interface.ipv6 if not own.ip.is_link_local]
        ports.append(
            Port(
                name=interface.name,
                ifindex=link.index,
                mac=link.mac,
                mtu=link.mtu,
                ipv4=interface.ipv4[0].ip if interface.ipv4 else None,
                ipv6=ipv6[0] if ipv6 else None,
                vlan=(link.parent, interface.vlan.id) if interface.vlan else None,
                generic=interface.xdp is Xdp.GENERIC,
            )
        )
    return tuple(ports)


def _check_present(appliance: Appliance, links: Mapping[str, Link], missing_allowed: bool) -> None:
    missing = [
        one.name for one in appliance.interfaces if one.vlan is None and one.name not in links
    ]
    if missing and not missing_allowed:
        there = ", ".join(sorted(name for name in links if name not in ("lo", "e64slow")))
        raise SystemLacks(
            f"no interface {', '.join(missing)} on this machine", f"there are: {there or 'none'}"
        )


def _sync_hostname(hostname: str | None) -> list[str]:
    before = socket.gethostname()
    if hostname is None or hostname == before:
        return []
    try:
        socket.sethostname(hostname)
    except OSError as error:
        raise SystemLacks(f"cannot set the host name: {error.strerror}") from error
    return [f"host name = {hostname} (was {before})"]


def _wait_for_addresses(kernel: Rtnl, want: KernelWant, links: Mapping[str, Link]) -> None:
    """Until duplicate address detection is through: a tentative address cannot be served."""
    wanted = {(links[one.device].index, one.address): one for one in want.addresses}
    running = {link.index for link in links.values() if link.running}
    deadline = time.monotonic() + DAD_SECONDS
    while True:
        held = [one for one in read_addresses(kernel) if (one.index, one.address) in wanted]
        for one in held:
            if one.duplicate:
                raise SystemLacks(
                    f"{wanted[one.index, one.address]}: another host on the link has it",
                    "use another address, or find that host",
                )
        # Without a carrier there is nobody to ask, and the kernel waits for one.
        asked = any(one.tentative and one.index in running for one in held)
        if not asked or time.monotonic() > deadline:
            return
        time.sleep(_DAD_POLL_SECONDS)
