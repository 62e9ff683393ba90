"""A plan made real: namespaces held by descriptors, veth wires, addresses and routes.

Everything hangs on descriptors and mounts of the calling process, so its end is the end of it
all. The caller is alone in a mount and PID namespace (``holder``) and has one thread.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from pathlib import Path

from pyroute2 import IPRoute

from appliance.lab import ethtool, syscalls
from appliance.lab.plan import End, Node, Plan
from bpf.libbpf import Object
from bpf.links import Link
from bpf.objects import object_path

ROOT = Path("/run/edge64-lab")
BRIDGE = "segment"
HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


@dataclass(frozen=True)
class Namespaces:
    """Descriptors of one node's namespaces."""

    net: int
    mnt: int
    uts: int

    @contextmanager
    def links(self) -> Iterator[IPRoute]:
        """Netlink in the node's network namespace."""
        with syscalls.inside_network(self.net):
            netlink = IPRoute()
        with netlink:
            yield netlink

    def join(self) -> None:
        """Moves the calling process into the node; for a child about to run something there."""
        syscalls.setns(self.mnt, syscalls.CLONE_NEWNS)
        syscalls.setns(self.net, syscalls.CLONE_NEWNET)
        syscalls.setns(self.uts, syscalls.CLONE_NEWUTS)


def private_root() -> None:
    """Gives the calling process, first of its PID namespace, mounts that nobody else sees."""
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if (mounted_on := line.split()[1]).startswith("/run/"):
            syscalls.unmount(mounted_on)  # our copy of, say, a namespace's name would hold it
    safe = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("proc", "/proc", "proc", safe | syscalls.MS_NOEXEC)
    resolv_conf = Path(os.path.realpath("/etc/resolv.conf"))
    syscalls.mount("edge64-lab", "/run", "tmpfs", safe, "mode=755")
    for folder in (ROOT, ROOT / "etc", ROOT / "log", ROOT / "tmp"):
        folder.mkdir()
    if not resolv_conf.exists():  # it was a link into the /run that is hidden now
        resolv_conf.parent.mkdir(parents=True, exist_ok=True)
        resolv_conf.touch()


def make_node(node: Node) -> Namespaces:
    """New network, mount and UTS namespaces for ``node``, with its own /sys and /etc files."""
    etc = ROOT / "etc" / node.name
    etc.mkdir()
    (etc / "hosts").write_text(HOSTS)
    (etc / "nsswitch.conf").write_text("hosts: files dns\n")
    (etc / "resolv.conf").write_text(f"nameserver {node.resolver}\n" if node.resolver else "")
    ready_in, ready_out = os.pipe()
    release_in, release_out = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(release_out)
            syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
            socket.sethostname(node.name)
            syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
            _mount_sys()
            for file in etc.iterdir():
                if (target := Path("/etc", file.name)).exists():
                    syscalls.mount(str(file), target, flags=syscalls.MS_BIND)
            os.write(ready_out, b"+")
            os.read(release_in, 1)
            status = 0
        except OSError as error:
            os.write(ready_out, str(error).encode())
        finally:
            os._exit(status)
    os.close(ready_out)
    os.close(release_in)
    try:
        said = os.read(ready_in, 1000)
        if said != b"+":
            raise OSError(f"namespaces of {node.name}: {said.decode() or 'the maker died'}")
        flags = os.O_RDONLY | os.O_CLOEXEC
        return Namespaces(
            *(os.open(f"/proc/{child}/ns/{kind}", flags) for kind in ("net", "mnt", "uts"))
        )
    finally:
        os.close(ready_in)
        os.close(release_out)
        os.waitpid(child, 0)


def _mount_sys() -> None:
    """A /sys that shows this network namespace, with tracefs where the kernel has it."""
    safe = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("sysfs", "/sys", "sysfs", safe)
    if Path("/sys/kernel/tracing").is_dir():
        try:
            syscalls.mount("tracefs", "/sys/kernel/tracing", "tracefs", safe)
        except OSError:
            pass  # only kernel tracing misses it, and says so


def make_wires(plan: Plan, nodes: dict[str, Namespaces]) -> None:
    """Veth pairs between the nodes, and bridges; everything up, nothing addressed yet."""
    for node in plan.nodes:
        namespaces = nodes[node.name]
        with syscalls.inside_network(namespaces.net):
            _set_families(node)
        with namespaces.links() as links:
            if node.bridge:
                links.link("add", ifname=BRIDGE, kind="bridge", br_mcast_snooping=0)
                links.link("set", ifname=BRIDGE, state="up")
            else:
                _loopback(links, node)
    queues = {"num_tx_queues": plan.queues, "num_rx_queues": plan.queues}
    for near, far in plan.wires:
        with nodes[near.node].links() as links:
            peer = {"ifname": far.name, "net_ns_fd": nodes[far.node].net, **queues}
            links.link("add", ifname=near.name, kind="veth", peer=peer, **queues)
        # Both ends first: a veth learns as it comes up whether its peer takes redirected frames.
        for end in (near, far):
            with syscalls.inside_network(nodes[end.node].net):
                ethtool.behave_like_a_wire(end.name)
        for end in (near, far):
            _raise_end(plan.node(end.node), end, nodes[end.node])


def end_wires(plan: Plan, nodes: dict[str, Namespaces]) -> list[Link]:
    """XDP programs that pass everything, on the ends that face `edge`; they last as the links do.

    A veth only polls for what XDP_TX brought when it has a program itself; for redirected frames
    alone GRO would do.
    """
    facing = [end for a, b in plan.wires for end, other in ((a, b), (b, a)) if other.node == "edge"]
    links = []
    with Object.open(object_path("wire_end")) as loaded:
        loaded.load()
        with loaded.program("wire_end") as program:
            for end in facing:
                with syscalls.inside_network(nodes[end.node].net):
                    links.append(Link.attach_xdp(program, socket.if_nametoindex(end.name)))
    return links


def _set_families(node: Node) -> None:
    settings = {
        "ipv6/conf/{}/disable_ipv6": int(6 not in node.families),
        "ipv6/conf/{}/accept_ra": 0,
        # Nobody else makes addresses here: no second of waiting for duplicates.
        "ipv6/conf/{}/accept_dad": 0 if node.name != "edge" else 1,
        "ipv4/conf/{}/rp_filter": 0,
    }
    for key, value in settings.items():
        for interfaces in ("all", "default"):
            sysctl(key.format(interfaces), value)
    if node.forwards:
        sysctl("ipv4/ip_forward", 1)
        # Routers answer every probe, so that a path seen twice looks the same.
        sysctl("ipv4/icmp_ratelimit", 0)


def sysctl(key: str, value: object) -> None:
    """Sets net.``key`` in the calling thread's network namespace."""
    Path("/proc/sys/net", key).write_text(f"{value}\n")


def _loopback(links: IPRoute, node: Node) -> None:
    index = links.link_lookup(ifname="lo")[0]
    links.link("set", index=index, state="up")
    if 4 not in node.families:
        links.flush_addr(index=index, family=socket.AF_INET)


def _raise_end(node: Node, end: End, namespaces: Namespaces) -> None:
    with namespaces.links() as links:
        index = links.link_lookup(ifname=end.name)[0]
        if node.bridge:
            links.link("set", index=index, master=links.link_lookup(ifname=BRIDGE)[0])
        links.link("set", index=index, mtu=end.mtu, state="up")


def address_nodes(plan: Plan, nodes: dict[str, Namespaces]) -> None:
    """Addresses and routes of every node that has any in the plan."""
    for end in (end for wire in plan.wires for end in wire):
        with nodes[end.node].links() as links:
            index = links.link_lookup(ifname=end.name)[0]
            for interface in map(ip_interface, end.addresses):
                links.addr(
                    "add",
                    index=index,
                    address=str(interface.ip),
                    prefixlen=interface.network.prefixlen,
                )
    for node in plan.nodes:
        with nodes[node.name].links() as links:
            for route in node.routes:
                arguments: dict[str, object] = {"dst": route.to}
                if route.via:
                    arguments["gateway"] = route.via
                if route.dev:
                    arguments["oif"] = links.link_lookup(ifname=route.dev)[0]
                if route.source:
                    arguments["prefsrc"] = route.source
                family = socket.AF_INET6 if ip_network(route.to).version == 6 else socket.AF_INET
                links.route("add", family=family, **arguments)
