"""How things are, as data for the API."""

import json
import os
import time
from typing import Any

from pyroute2 import IPRoute

from appliance.config.schema import Xdp
from appliance.config.values import Interface
from appliance.daemon.addresses import Held, read_addresses
from appliance.daemon.links import Link, read_links
from appliance.daemon.rtnl import Rtnl
from appliance.daemon.service import Service
from bpf.datapath import PortCounters
from bpf.errors import BpfError
from bpf.links import attached_xdp

STARTED = time.time()


def status(service: Service) -> dict[str, Any]:
    """Daemon, configuration, interfaces, processes and the watcher."""
    with IPRoute() as ipr, Rtnl() as kernel:
        links = read_links(ipr)
        held = read_addresses(kernel)
    appliance = service.appliance
    return {
        "state": _state(service),
        "failure": service.failure,
        "daemon": {"pid": os.getpid(), "started": STARTED},
        "configuration": {
            "applied": service.applied_at,
            "interfaces": len(appliance.interfaces),
            "routes": len(appliance.routes),
            "pref64": [str(one.prefix) for one in appliance.translation.pref64],
            "eam": len(appliance.translation.eam),
        },
        "interfaces": [_interface(one, links.get(one.name), held) for one in appliance.interfaces],
        "processes": [
            {"name": one.name, "state": one.state, "pid": one.pid}
            for one in service.children.states()
        ],
        "next-hops": _watcher(service),
    }


def _state(service: Service) -> str:
    if service.failure:
        return "failed"
    if service.running is None:
        return "unconfigured"
    return "waiting" if service.missing else "running"


def _interface(want: Interface, link: Link | None, held: list[Held]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": want.name,
        "role": want.role.value,
        "state": "missing",
        "xdp": {"wanted": want.xdp.value, "running": "off"},
        "addresses": [],
    }
    if link is None:
        return found
    found["state"] = "up" if link.running else "no carrier" if link.up else "down"
    found["mac"] = link.mac.hex(":")
    found["mtu"] = link.mtu
    found["xdp"]["running"] = _xdp_of(link, want)
    found["addresses"] = [
        {"address": str(one.address), "own": one.own, "usable": not one.tentative}
        for one in held
        if one.index == link.index
    ]
    return found


def _xdp_of(link: Link, want: Interface) -> str:
    try:
        running = attached_xdp(link.parent if want.vlan else link.index)
    except BpfError:
        return "unknown"
    if running is None:
        return Xdp.OFF.value
    return Xdp.GENERIC.value if running.generic else Xdp.NATIVE.value


def _watcher(service: Service) -> dict[str, Any]:
    """What the watcher wrote last; empty while there is none."""
    try:
        found = json.loads(service.paths.watcher_status.read_text())
        os.kill(found["pid"], 0)
    except (OSError, ValueError, KeyError):
        return {}
    return dict(found)


def counters(found: list[PortCounters]) -> list[dict[str, Any]]:
    """Counters as data; what is zero is left out."""
    return [
        {
            "interface": one.port,
            "cpu": one.cpu,
            "jobs": {
                name: {"packets": job.packets, "bytes": job.bytes}
                for name, job in one.jobs.items()
                if job.packets
            },
            "reasons": {name: count for name, count in one.reasons.items() if count},
        }
        for one in found
    ]
