"""edge64d in a network of its own: the kernel follows the configuration, whole or not at all; the
datapath outlives every process; what is on a link is answered for."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import ExitCode
from tests.netns.daemon_bed import (
    POD,
    SERVER,
    A,
    B,
    Bed,
    Capture,
    arp_answers,
    config,
    until,
)

ARP, IPV6 = 0x0806, 0x86DD


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    runtime = Path(tempfile.mkdtemp(prefix="edge64-test-"))
    runtime.chmod(0o755)  # the resolver and the slow path give up root
    made = Bed(f"cfgd{os.getpid()}", runtime)
    try:
        made.up()
        made.start(config())
        yield made
    finally:
        made.down()


@pytest.fixture(autouse=True)
def as_found(bed: Bed) -> Iterator[None]:
    """Each test begins with a daemon that runs ``config()``."""
    yield
    if not bed.status():
        bed.kill_all()
        bed.start()
    bed.put(config())


def mac_of(bed: Bed, device: str) -> str:
    return bed.run("edge", "cat", f"/sys/class/net/{device}/address").strip()


# --- the kernel follows --------------------------------------------------------------------------


def test_kernel_is_as_configured(bed: Bed) -> None:
    assert "2001:db8:64::1/64" in bed.ip("edge", "-6", "addr", "show", "dev", "pods0")
    assert "192.0.2.1/24" in bed.ip("edge", "-4", "addr", "show", "dev", "uplink0")
    routes = bed.ip("edge", "route", "show")
    assert f"203.0.113.0/24 via {A} dev uplink0 proto 64 metric 100" in routes
    assert "198.51.100.200 dev e64slow proto 64 scope link metric 2048" in routes
    assert "64:ff9b::/96 dev e64slow proto 64 metric 2048" in bed.ip("edge", "-6", "route", "show")
    for name, value in (
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv4.conf.pods0.rp_filter", "0"),
        ("net.ipv4.conf.uplink0.accept_local", "1"),
        ("net.ipv6.conf.pods0.accept_ra", "0"),
        ("net.ipv6.neigh.pods0.proxy_delay", "0"),
    ):
        assert bed.run("edge", "sysctl", "-n", name).strip() == value, name


def test_pod_reaches_the_server(bed: Bed) -> None:
    assert ", 0% packet loss" in bed.ping("-c", "20", "-i", "0.01")


def test_same_configuration_again_changes_nothing(bed: Bed) -> None:
    done = bed.apply(config())
    assert (done.returncode, done.stdout) == (0, "nothing to change\n")


def test_only_its_own_is_removed(bed: Bed) -> None:
    bed.ip("edge", "route", "add", "10.9.0.0/16", "via", B)
    bed.ip("edge", "addr", "add", "192.0.2.9/24", "dev", "uplink0")
    extra = '    - {ipv4: 192.0.2.77, ipv6: "2001:db8:64::77"}\n'
    more = bed.apply(config(eam=extra) + "dns64: {upstreams: [192.0.2.254]}\n")
    assert "address" not in more.stdout
    assert "answer for 192.0.2.77 on uplink0 set" in more.stdout
    assert "192.0.2.77" in bed.ip("edge", "neigh", "show", "proxy")
    less = bed.apply(config())
    assert "translation.eam[1]: removed" in less.stdout
    assert "answer for 192.0.2.77 on uplink0 removed" in less.stdout
    assert "192.0.2.77" not in bed.ip("edge", "neigh", "show", "proxy")
    assert "192.0.2.77" not in bed.ip("edge", "route", "show")
    assert f"10.9.0.0/16 via {B}" in bed.ip("edge", "route", "show")
    assert "192.0.2.9/24" in bed.ip("edge", "addr", "show", "dev", "uplink0")
    bed.ip("edge", "route", "del", "10.9.0.0/16")
    bed.ip("edge", "addr", "del", "192.0.2.9/24", "dev", "uplink0")


def test_address_moves_and_its_routes_come_along(bed: Bed) -> None:
    moved = config().replace("192.0.2.1/24", "192.0.2.2/24")
    done = bed.apply(moved)
    assert "address 192.0.2.2/24 on uplink0 set" in done.stdout
    assert "address 192.0.2.1/24 on uplink0 removed" in done.stdout
    shown = bed.ip("edge", "-4", "addr", "show", "dev", "uplink0")
    assert "192.0.2.2/24" in shown
    assert "192.0.2.1/24" not in shown
    assert f"203.0.113.0/24 via {A}" in bed.ip("edge", "route", "show")


# --- refused, or put back ------------------------------------------------------------------------


def state_of(bed: Bed) -> tuple[str, ...]:
    return (
        bed.ip("edge", "-br", "addr", "show", "dev", "pods0", "scope", "global"),
        bed.ip("edge", "-br", "addr", "show", "dev", "uplink0", "scope", "global"),
        bed.ip("edge", "route", "show"),
        bed.ip("edge", "-6", "route", "show", "proto", "64"),
        bed.ip("edge", "neigh", "show", "proxy"),
        (bed.runtime / "running.yaml").read_text(),
    )


def test_bad_configuration_is_refused_whole(bed: Bed) -> None:
    before = state_of(bed)
    bad = config(gateway="198.18.0.1", eam="    - {ipv4: 192.0.2.78, ipv6: nonsense}\n")
    done = bed.apply(bad)
    assert done.returncode == ExitCode.CONFIG
    assert "routes[0].via (line 6" in done.stderr
    assert "translation.eam[1].ipv6 (line 11" in done.stderr
    assert state_of(bed) == before


def test_interface_that_is_not_there_is_said_and_nothing_touched(bed: Bed) -> None:
    before = state_of(bed)
    done = bed.apply(config().replace("uplink0: {", "uplink9: {role: uplink}\n  uplink0: {"))
    assert done.returncode == ExitCode.SYSTEM
    assert "no interface uplink9 on this machine" in done.stderr
    assert "pods0, uplink0" in done.stderr
    assert state_of(bed) == before


def test_what_fails_half_way_is_put_back_under_load(bed: Bed) -> None:
    """The pod has the address already: duplicate address detection tells, in the middle."""
    before = state_of(bed)
    taken = config(gateway=B).replace("2001:db8:64::1/64", f'2001:db8:64::1/64", "{POD}/64')
    with bed.load() as load:
        done = bed.apply(taken)
    assert done.returncode == ExitCode.SYSTEM
    assert "another host on the link has it; what ran before was put back" in done.stderr
    assert state_of(bed) == before
    assert load.sent > 100
    assert load.lost == []


# --- without a loss ------------------------------------------------------------------------------


def test_change_takes_effect_with_no_packet_lost(bed: Bed) -> None:
    with bed.load() as load:
        for number in range(3):
            eam = f'    - {{ipv4: 192.0.2.{80 + number}, ipv6: "2001:db8:64::{80 + number}"}}\n'
            changes = bed.put(config(eam=eam, more="  flow-label: hash\n"))
            assert "datapath replaced on pods0" in changes
    assert load.sent > 100
    assert load.lost == []


def test_killed_daemon_is_adopted_with_no_packet_lost(bed: Bed) -> None:
    with bed.load() as load:
        bed.kill_all()
        time.sleep(1.5)
        assert bed.processes() == []
        bed.start()  # no --config: what ran last
        time.sleep(0.5)
    assert load.sent > 100
    assert load.lost == []
    assert bed.status()["state"] == "running"


def test_counters_outlive_the_daemon(bed: Bed) -> None:
    bed.ping("-c", "50", "-i", "0.002")
    before = bed.jobs()["pods0", "6to4"]
    bed.kill_all()
    bed.start()
    assert bed.jobs()["pods0", "6to4"] >= before >= 49


def test_port_with_another_mac_is_committed_anew(bed: Bed) -> None:
    before = mac_of(bed, "pods0")
    bed.ip("edge", "link", "set", "pods0", "address", "02:00:00:00:64:01")
    try:
        assert until(lambda: bed.status()["interfaces"][0]["mac"] == "02:00:00:00:64:01")
        bed.ip("pod", "neigh", "flush", "dev", "eth0")
        start = bed.jobs()["pods0", "6to4"]
        assert until(
            lambda: bed.ping("-c", "5", "-i", "0.01") and bed.jobs()["pods0", "6to4"] > start
        )
    finally:
        bed.ip("edge", "link", "set", "pods0", "address", before)
        bed.ip("pod", "neigh", "flush", "dev", "eth0")


def test_second_daemon_is_refused(bed: Bed) -> None:
    done = bed.edge64("daemon")
    assert done.returncode == ExitCode.FAILED
    assert "another edge64d (process " in done.stderr


def test_interface_that_comes_late_is_taken_up(bed: Bed) -> None:
    later = config().replace("uplink0: {", "late0: {role: uplink, xdp: off}\n  uplink0: {")
    bed.kill_all()
    bed.start(later)
    assert bed.status()["state"] == "waiting"
    bed.ip("edge", "link", "add", "late0", "type", "veth", "peer", "name", "late1")
    assert until(lambda: bed.status()["state"] == "running")
    bed.ip("edge", "link", "del", "late0")


# --- answered for --------------------------------------------------------------------------------


def test_ipv4_address_on_the_link_is_announced_and_answered(bed: Bed) -> None:
    mac = mac_of(bed, "uplink0")
    with Capture(bed.netns("a"), ARP) as seen:
        bed.put(config(eam='    - {ipv4: 192.0.2.77, ipv6: "2001:db8:64::c9"}\n'))
        assert until(lambda: ("192.0.2.77", mac, 1) in arp_answers(seen.frames))
        # A ping to it makes a ask; the box answers at once.
        bed.run("a", "ping", "-n", "-q", "-c", "1", "-W", "1", "192.0.2.77", check=False)
        assert until(lambda: ("192.0.2.77", mac, 2) in arp_answers(seen.frames))
    assert f"192.0.2.77 dev eth0 lladdr {mac}" in bed.ip("a", "neigh", "show")


def test_ipv6_address_of_an_ipv4_host_is_announced_and_answered(bed: Bed) -> None:
    mac = mac_of(bed, "pods0")
    eam = f'    - {{ipv4: {SERVER}, ipv6: "2001:db8:64::80", host: ipv4}}\n'
    with Capture(bed.netns("pod"), IPV6) as seen:
        bed.put(config(eam=eam))
        address = bytes.fromhex("20010db8006400000000000000000080")
        assert until(
            lambda: any(
                f[54] == 136 and f[62:78] == address for _, f in list(seen.frames) if f[20] == 58
            )
        )
    assert ", 0% packet loss" in bed.ping("-c", "5", "-i", "0.01", to="2001:db8:64::80")
    assert f"2001:db8:64::80 dev eth0 lladdr {mac}" in bed.ip("pod", "neigh", "show")


def test_link_that_comes_up_is_told_again(bed: Bed) -> None:
    bed.put(config(eam='    - {ipv4: 192.0.2.77, ipv6: "2001:db8:64::c9"}\n'))
    mac = mac_of(bed, "uplink0")
    with Capture(bed.netns("a"), ARP) as seen:
        bed.ip("link", "link", "set", "edge", "down")
        time.sleep(0.3)
        bed.ip("link", "link", "set", "edge", "up")
        assert until(lambda: ("192.0.2.77", mac, 1) in arp_answers(seen.frames))
    assert until(lambda: f"203.0.113.0/24 via {A}" in bed.ip("edge", "route", "show"))
    assert until(lambda: ", 0% packet loss" in bed.ping("-c", "3", "-i", "0.01"))


# --- next hops are true --------------------------------------------------------------------------


def all_kept(bed: Bed) -> bool:
    """Whether packets go by kept next hops, without the FIB."""
    before = bed.reason("next-hop-uncached")
    bed.ping("-c", "20", "-i", "0.005")
    return bed.reason("next-hop-uncached") == before


def test_next_hops_are_kept_while_the_watcher_lives(bed: Bed) -> None:
    assert until(lambda: all_kept(bed))


def test_route_change_under_load(bed: Bed) -> None:
    assert until(lambda: all_kept(bed))
    with Capture(bed.netns("a"), 0x0800) as a, Capture(bed.netns("b"), 0x0800) as b:
        bed.run("b", "ping", "-n", "-q", "-c", "1", "192.0.2.1")  # so that its MAC is known
        with bed.load():
            assert until(lambda: len(a.to_server()) > 50)
            bed.ip("edge", "route", "replace", "203.0.113.0/24", "via", B, "proto", "64",
                   "metric", "100")  # fmt: skip
            changed = time.monotonic()
            time.sleep(1.0)
    assert [when for when in a.to_server() if when > changed + 0.1] == []
    assert len([when for when in b.to_server() if when > changed + 0.1]) > 100


def test_gateways_mac_change_under_load(bed: Bed) -> None:
    assert until(lambda: all_kept(bed))
    old = bed.run("a", "cat", "/sys/class/net/eth0/address").strip()
    new = "02:00:00:00:00:aa"
    with Capture(bed.netns("a"), 0x0800) as a:
        with bed.load():
            assert until(lambda: len(a.to_server()) > 50)
            bed.ip("a", "link", "set", "eth0", "address", new)
            bed.ip(
                "edge", "neigh", "replace", A, "lladdr", new, "dev", "uplink0", "nud", "reachable"
            )
            changed = time.monotonic()
            time.sleep(1.0)
        seen = [
            (when, frame[:6].hex(":"))
            for when, frame in a.frames
            if frame[30:34] == b"\xcb\0\x71\x50"
        ]
    assert [mac for when, mac in seen if when > changed + 0.1 and mac == old] == []
    assert len([mac for when, mac in seen if when > changed + 0.1 and mac == new]) > 100
    bed.ip("a", "link", "set", "eth0", "address", old)
    bed.ip("edge", "neigh", "flush", "dev", "uplink0")


def test_link_down_under_load(bed: Bed) -> None:
    """The route by the link goes with it, the other one takes over."""
    assert until(lambda: all_kept(bed))
    bed.ip(
        "edge",
        "link",
        "add",
        "other0",
        "type",
        "veth",
        "peer",
        "name",
        "eth1",
        "netns",
        bed.netns("b"),
    )
    bed.ip("edge", "addr", "add", "192.0.99.1/24", "dev", "other0")
    bed.ip("edge", "link", "set", "other0", "up")
    bed.ip("b", "addr", "add", "192.0.99.2/24", "dev", "eth1")
    bed.ip("b", "link", "set", "eth1", "up")
    bed.ip("edge", "route", "add", "203.0.113.0/24", "via", "192.0.99.2", "metric", "900")
    with Capture(bed.netns("a"), 0x0800) as a:
        with bed.load():
            assert until(lambda: len(a.to_server()) > 50)
            bed.ip("edge", "link", "set", "uplink0", "down")
            changed = time.monotonic()
            time.sleep(0.7)
        assert [when for when in a.to_server() if when > changed + 0.1] == []
    bed.ip("edge", "link", "set", "uplink0", "up")
    bed.ip("edge", "link", "del", "other0")
    assert until(lambda: f"203.0.113.0/24 via {A}" in bed.ip("edge", "route", "show"))


def test_all_dead_and_everything_changed(bed: Bed) -> None:
    assert until(lambda: all_kept(bed))
    bed.run("b", "ping", "-n", "-q", "-c", "1", "192.0.2.1")
    with Capture(bed.netns("a"), 0x0800) as a, Capture(bed.netns("b"), 0x0800) as b, bed.load():
        assert until(lambda: len(a.to_server()) > 50)
        bed.kill_all()
        bed.ip(
            "edge", "route", "replace", "203.0.113.0/24", "via", B, "proto", "64", "metric", "100"
        )
        changed = time.monotonic()
        time.sleep(2.0)
    assert [when for when in a.to_server() if when > changed + 1.0] == []
    assert len([when for when in b.to_server() if when > changed + 1.0]) > 100


def test_more_specific_route_for_one_address_splits_its_block(bed: Bed) -> None:
    """A block of kept next hops may not hide a route that is longer than any before."""
    assert until(lambda: all_kept(bed))
    bed.run("b", "ping", "-n", "-q", "-c", "1", "192.0.2.1")
    with Capture(bed.netns("a"), 0x0800) as a, Capture(bed.netns("b"), 0x0800) as b:
        with bed.load():
            bed.ip("edge", "route", "add", f"{SERVER}/32", "via", B)
            changed = time.monotonic()
            time.sleep(1.5)
            assert bed.watcher()["route-bits"]["ipv4"] == 32
        bed.ip("edge", "route", "del", f"{SERVER}/32")
    assert [when for when in a.to_server() if when > changed + 0.1] == []
    assert len(b.to_server()) > 100
    assert until(lambda: bed.watcher()["route-bits"]["ipv4"] == 24)


def test_rule_that_looks_at_the_source_stops_the_keeping(bed: Bed) -> None:
    bed.ip("edge", "rule", "add", "from", "198.51.100.0/24", "table", "100")
    try:
        assert until(lambda: bed.watcher()["next-hops-kept"] is False)
        time.sleep(1)
        assert not all_kept(bed)
        assert bed.ping("-c", "3", "-i", "0.01").count(" 0% packet loss") == 1
    finally:
        bed.ip("edge", "rule", "del", "from", "198.51.100.0/24", "table", "100")
    assert until(lambda: bed.watcher()["next-hops-kept"] is True)
    assert until(lambda: all_kept(bed))


def test_next_hops_in_use_are_managed_by_the_kernel(bed: Bed) -> None:
    def managed() -> bool:
        bed.ping("-c", "2", "-i", "0.01")
        shown = bed.ip("edge", "neigh", "show")
        return all(
            any(line.startswith(f"{hop} ") and " managed " in line for line in shown.splitlines())
            for hop in (A, POD)
        )

    assert until(managed), bed.ip("edge", "neigh", "show")


def test_many_neighbours_that_come_and_go_stale_forget_nothing(bed: Bed) -> None:
    hosts = [f"192.0.2.{n}" for n in range(10, 70)]
    batch = bed.runtime / "neighbours"

    def all_to(state: str) -> None:
        lines = (f"neigh replace {h} lladdr 02:00:00:00:01:{i:02x} dev uplink0 nud {state}\n"
                 for i, h in enumerate(hosts))  # fmt: skip
        batch.write_text("".join(lines))
        bed.run("edge", "ip", "-batch", str(batch))

    all_to("reachable")
    time.sleep(1.5)
    before = bed.watcher()
    for _ in range(5):
        all_to("stale")
        all_to("reachable")
    assert until(lambda: bed.watcher()["events"] >= before["events"] + 600)
    assert bed.watcher()["invalidations"] == before["invalidations"]
    bed.ip("edge", "neigh", "flush", "dev", "uplink0", "nud", "all")


def test_watcher_that_dies_is_started_again(bed: Bed) -> None:
    pid = bed.watcher()["pid"]
    os.kill(pid, 9)
    assert until(lambda: bed.watcher()["pid"] != pid)
    assert until(lambda: all_kept(bed))


# --- under supervisor ----------------------------------------------------------------------------


def test_whole_appliance_under_supervisor(bed: Bed, tmp_path: Path) -> None:
    bed.kill_all()
    resolver = "dns64: {upstreams: [192.0.2.254], workers: 2, port: 5353}\n"
    bed.start(config() + resolver, program="run")

    def states() -> dict[str, str]:
        return {one["name"]: one["state"] for one in bed.status().get("processes", [])}

    wanted = {"edge64d", "slowpath", "dns64-0", "dns64-1"}
    assert until(lambda: states() == dict.fromkeys(wanted, "running")), bed.log()
    # Another number of workers, then no resolver at all; the daemon itself stays.
    daemon = bed.status()["daemon"]["pid"]
    bed.put(config() + resolver.replace("workers: 2", "workers: 1"))
    assert until(lambda: states() == dict.fromkeys(wanted - {"dns64-1"}, "running")), bed.log()
    bed.put(config())
    assert until(lambda: states().get("dns64-0") in (None, "stopped")), states()
    assert bed.status()["daemon"]["pid"] == daemon
    # Only supervisor is killed: the next run ends what it left, and packets notice nothing.
    with bed.load() as load:
        os.kill(int((bed.runtime / "supervisord.pid").read_text()), 9)
        assert daemon in bed.processes()
        for process in bed.started:
            process.wait()
        bed.started.clear()
        bed.start(program="run")
        assert until(lambda: states().get("slowpath") == "running"), bed.log()
    assert daemon not in bed.processes()
    assert load.lost == []
