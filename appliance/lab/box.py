"""The appliance in the lab: its configuration, and the product's own way to start it."""

import shlex
import sys
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import appliance
from appliance.lab.build import ROOT
from appliance.lab.plan import (
    EDGE_IPV4,
    EDGE_IPV6,
    EMBEDDED_RANGE,
    NAME_SERVER,
    NATIVE_IPV4,
    NATIVE_IPV6,
    PREF64,
    SECOND_EDGE_IPV4,
    SECOND_WORLD,
    WORLD,
    Plan,
    embedded,
)
from appliance.lab.service import Service
from appliance.lab.waiting import answers_dns

AAAA = 28
CONFIGURATION = ROOT / "edge64.yaml"
RUNTIME = Path("/run/edge64")  # the lab's own /run
COMMANDS = ROOT / "bin"
COMMAND = (
    str(COMMANDS / "edge64"),
    "run",
    "--config",
    str(CONFIGURATION),
    "--runtime-dir",
    str(RUNTIME),
)

DOCUMENT = """\
version: 1
interfaces:
  pods0:
    role: pods
    addresses: [{pods0_addresses}]
    xdp: {xdp}
{uplinks}routes:
  - to: 0.0.0.0/0
    via: {world}
  - to: {embedded_network}   # pods' secondary addresses are on the link
    dev: pods0
{second_route}translation:
  pref64:
    - prefix: {pref64}
      ipv6-hosts: [{embedded_range}]
  eam:
{eam}\
dns64:
  upstreams: [{name_server}]
"""

UPLINK = """\
  {name}:
    role: uplink
    addresses: [{address}]
    xdp: {xdp}
"""
SECOND_ROUTE = """\
  - to: 0.0.0.0/0
    via: {via}
    metric: 200
"""


def _embedded_network(network: IPv4Network) -> str:
    return f"{embedded(network.network_address)}/{96 + network.prefixlen}"


def document(plan: Plan, native_too: bool = False, xdp: str = "native") -> str:
    """The lab's configuration. ``native_too``: with an IPv4 address for the native server."""
    pairs = [(pod.ipv4, pod.ipv6) for pod in plan.pods]
    if native_too:
        pairs.append((NATIVE_IPV4, NATIVE_IPV6))
    inside, outside = f"{EDGE_IPV6}/64", f"{EDGE_IPV4}/24"
    uplinks = {} if plan.one_armed else {"uplink0": outside}
    if plan.second_uplink:
        uplinks["uplink1"] = f"{SECOND_EDGE_IPV4}/30"
    return DOCUMENT.format(
        pods0_addresses=f"{inside}, {outside}" if plan.one_armed else inside,
        uplinks="".join(
            UPLINK.format(name=name, address=address, xdp=xdp) for name, address in uplinks.items()
        ),
        second_route=SECOND_ROUTE.format(via=SECOND_WORLD) if plan.second_uplink else "",
        world=WORLD,
        embedded_network=_embedded_network(EMBEDDED_RANGE),
        embedded_range=EMBEDDED_RANGE,
        pref64=PREF64,
        name_server=NAME_SERVER,
        xdp=xdp,
        eam="".join(f"    - ipv4: {ipv4}\n      ipv6: {ipv6}\n" for ipv4, ipv6 in pairs),
    )


def write_command() -> None:
    """`edge64` for people in a lab's shell, whatever is installed."""
    COMMANDS.mkdir()
    command = COMMANDS / "edge64"
    repository = Path(appliance.__file__).parent.parent
    start = "import sys; sys.argv[0] = 'edge64'; from appliance.console.main import main; main()"
    command.write_text(
        "#!/bin/sh\n"
        f"export PYTHONPATH={shlex.quote(str(repository))}\n"
        f'exec {shlex.quote(sys.executable)} -c {shlex.quote(start)} "$@"\n'
    )
    command.chmod(0o755)


def services(plan: Plan) -> list[Service]:
    CONFIGURATION.write_text(document(plan))
    return [
        Service(
            name="edge64",
            node="edge",
            argv=COMMAND,
            ready=partial(answers_dns, str(EDGE_IPV6), "v4only.example", AAAA),
            asked_from=plan.pods[0].name,
            seconds=60,
            what="the resolver answers a pod",
        )
    ]
