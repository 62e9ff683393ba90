"""The network changes under load: nothing goes to the old place for long, with and without
user space, and nothing is lost to edge64's own changes."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from appliance.lab import box, client
from appliance.lab.client import Lab
from appliance.lab.plan import (
    CLIENT,
    EDGE_IPV4,
    NATIVE_IPV4,
    NATIVE_IPV6,
    POD_RANGE,
    WEB,
    Pod,
    embedded,
)
from appliance.lab.waiting import until
from tests.netns import control
from tests.netns.conftest import unique
from tests.netns.load import Record, Stream, lost

POD1, POD2 = Pod(1), Pod(2)
NEW_MAC = "02:64:64:64:64:01"
SECOND_ROUTER = "192.0.2.253"
SECONDS_TO_SEE = 0.5


@pytest.fixture(scope="module")
def changing() -> Iterator[Lab]:
    """A lab whose network these tests change; each puts back what it changed."""
    lab = client.start(unique("changes"), second_uplink=True)
    lab.run(
        "edge", "sysctl", "-qw", "net.ipv4.conf.uplink0.ignore_routes_with_linkdown=1", check=True
    )
    lab.run("world", "sysctl", "-qw", "net.ipv4.conf.edge.arp_notify=1", check=True)
    # An address is answered for by its own interface alone, not by every one of its host.
    lab.run("world", "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", check=True)
    lab.run("pod1", "sysctl", "-qw", "net.ipv6.conf.eth0.ndisc_notify=1", check=True)
    yield lab
    lab.down()


@pytest.fixture(params=["with user space", "without user space"])
def limit(changing: Lab, request: pytest.FixtureRequest) -> Iterator[float]:
    """Seconds after which nothing may go to the old place."""
    if request.param == "with user space":
        yield 0.1
        return
    control.kill_everything(changing)
    yield 1.0
    control.start(changing)


def mac(lab: Lab, node: str, interface: str) -> bytes:
    said = lab.run(node, "ip", "-o", "link", "show", "dev", interface, check=True).stdout
    found = re.search(r"link/ether (\S+)", said)
    assert found
    return bytes.fromhex(found[1].replace(":", ""))


@dataclass(frozen=True)
class Change:
    """``first`` is done before the load, ``do`` under it; ``undo`` and ``last`` afterwards."""

    to_ipv6: bool
    first: tuple[str, ...]
    do: str
    undo: str
    last: tuple[str, ...] = ()


CHANGES = {
    "IPv4 route": Change(
        to_ipv6=False,
        first=(
            "world ip link add link edge name second type macvlan mode bridge",
            f"world ip address add {SECOND_ROUTER}/32 dev second",
            "world ip link set second up",
        ),
        do=f"edge ip route add 203.0.113.0/25 via {SECOND_ROUTER} dev uplink0",
        undo="edge ip route del 203.0.113.0/25",
        last=("world ip link del second",),
    ),
    "IPv6 route": Change(
        to_ipv6=True,
        first=(f"pod2 ip address add {POD1.embedded_ipv6}/128 dev lo",),
        do=f"edge ip route add {POD1.embedded_ipv6}/128 via {POD2.ipv6} dev pods0",
        undo=f"edge ip route del {POD1.embedded_ipv6}/128",
        last=(f"pod2 ip address del {POD1.embedded_ipv6}/128 dev lo",),
    ),
    "IPv4 neighbour": Change(
        to_ipv6=False,
        first=(),
        do=f"world ip link set dev edge address {NEW_MAC}",
        undo="world ip link set dev edge address OLD",
    ),
    "IPv6 neighbour": Change(
        to_ipv6=True,
        first=(),
        do=f"pod1 ip link set dev eth0 address {NEW_MAC}",
        undo="pod1 ip link set dev eth0 address OLD",
    ),
}


def command(lab: Lab, line: str) -> None:
    node, *argv = line.split()
    lab.run(node, *argv, check=True)


def load(lab: Lab, to_ipv6: bool) -> Stream:
    if to_ipv6:
        return Stream(lab, "servers", POD1.embedded_ipv4, source=CLIENT)
    return Stream(lab, "pod1", embedded(CLIENT), source=POD1.ipv6)


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_goes_to_the_old_place(changing: Lab, limit: float, name: str) -> None:
    change = CHANGES[name]
    far = ("pod1", "eth0") if change.to_ipv6 else ("world", "edge")
    old = mac(changing, *far)
    with ExitStack() as afterwards:
        for line in change.first:
            command(changing, line)
        for line in change.last:
            afterwards.callback(command, changing, line)
        segment = ("podnet", "edge") if change.to_ipv6 else ("world", "edge")
        with Record(changing, *segment) as record, load(changing, change.to_ipv6) as stream:
            assert until(lambda: len(record.arrivals) > 500, 10)
            command(changing, change.do)
            changed_at = time.time()
            undo = change.undo.replace("OLD", old.hex(":"))
            afterwards.callback(command, changing, undo)
            assert until(lambda: time.time() > changed_at + limit + SECONDS_TO_SEE, 10)
    before = [one for one in record.arrivals if one.at < changed_at - 0.05]
    assert {one.to for one in before} == {old}
    late = [one for one in record.arrivals if one.to == old and one.at > changed_at + limit]
    assert not late, f"{len(late)} packets, the last {late[-1].at - changed_at:.3f} s after"
    after = [one for one in record.arrivals if one.to != old]
    assert len(after) > 100
    assert not lost(stream, record), "every packet went somewhere"


def test_a_link_that_goes_down(changing: Lab, limit: float) -> None:
    """The way through the second uplink takes over."""
    with (
        Record(changing, "servers", "eth0") as record,
        load(changing, to_ipv6=False) as stream,
        ExitStack() as afterwards,
    ):
        assert until(lambda: len(record.arrivals) > 500, 10)
        command(changing, "world ip link set dev edge down")
        down_at = time.time()
        # Its way back went with the link. (What was pushed last is done first.)
        afterwards.callback(command, changing, f"world ip route add {POD_RANGE} via {EDGE_IPV4}")
        afterwards.callback(command, changing, "world ip link set dev edge up")
        assert until(lambda: time.time() > down_at + limit + SECONDS_TO_SEE, 10)
        up_at = time.time()
    gone = lost(stream, record, since=down_at + limit, until=up_at - 0.05)
    assert not gone, (
        f"{len(gone)} packets lost, the last sent "
        f"{stream.sent[gone[-1]] - down_at:.3f} s after the link went down"
    )


def pages(lab: Lab) -> None:
    """Both directions work."""
    said = lab.run("pod1", "curl", "-sS", "--max-time", "5", "http://v4only.example/").stdout
    assert said == f"I am {WEB} and have no IPv6\n"
    said = lab.run("servers", "curl", "-sS", "--max-time", "5", f"http://{POD2.ipv4}/").stdout
    assert said == f"I am {POD2.name}, {POD2.ipv6}, without IPv4\n"


def losing_nothing(lab: Lab, do: Callable[[], None]) -> None:
    """Load in both directions while something is done; every datagram arrives."""
    with (
        Record(lab, "servers", "eth0") as to_ipv4,
        Record(lab, "pod1", "eth0") as to_ipv6,
        load(lab, to_ipv6=False) as up,
        load(lab, to_ipv6=True) as down,
    ):
        assert until(lambda: min(len(to_ipv4.arrivals), len(to_ipv6.arrivals)) > 200, 10)
        do()
        sent = len(up.sent)
        assert until(lambda: len(up.sent) > sent + 500, 10)
    assert not lost(up, to_ipv4), f"{len(lost(up, to_ipv4))} of {len(up.sent)} lost, 6 to 4"
    assert not lost(down, to_ipv6), f"{len(lost(down, to_ipv6))} of {len(down.sent)} lost, 4 to 6"


def test_settings_change_under_load(changing: Lab) -> None:
    def change_to_and_fro() -> None:
        for native_too in (True, False, True, False):
            control.apply(changing, box.document(changing.plan, native_too=native_too))
            said = changing.run(
                "servers", "curl", "-sS", "--max-time", "1", f"http://{NATIVE_IPV4}/"
            )
            page = f"I am {NATIVE_IPV6} and have no IPv4\n"
            assert (said.stdout == page) is native_too

    losing_nothing(changing, change_to_and_fro)


def test_everything_in_user_space_dies_and_comes_back(changing: Lab) -> None:
    def die() -> None:
        control.kill_everything(changing)
        # Longer than the heartbeat is believed.
        dead_at = time.monotonic()
        assert until(lambda: time.monotonic() > dead_at + 1, 5)
        control.start(changing)

    losing_nothing(changing, die)
    pages(changing)


def test_the_daemon_alone_dies_and_comes_back(changing: Lab) -> None:
    def die() -> None:
        killed = changing.run("edge", "pkill", "-KILL", "-f", "appliance.daemon")
        assert killed.returncode == 0
        assert until(lambda: changing.run("edge", "edge64", "status").returncode == 0, 30)

    losing_nothing(changing, die)
    pages(changing)


def state(lab: Lab) -> list[str]:
    """What a commit sets: the running document, addresses, routes, and the programs attached."""
    return [
        lab.path(box.RUNTIME / "running.yaml").read_text(),
        lab.run("edge", "ip", "address", check=True).stdout,
        lab.run("edge", "ip", "-4", "route", check=True).stdout,
        lab.run("edge", "ip", "-6", "route", check=True).stdout,
        lab.run("edge", "ip", "-d", "link", check=True).stdout,
    ]


def test_a_bad_configuration_changes_nothing(changing: Lab) -> None:
    good = box.document(changing.plan)
    before = state(changing)
    bad = good.replace("192.0.2.254", "192.0.3.254").replace("64:ff9b::/96", "64:ff9b::/95")

    def refused() -> None:
        changing.path(box.CONFIGURATION).write_text(bad)
        said = changing.run("edge", "edge64", "apply", str(box.CONFIGURATION))
        assert said.returncode == 3
        assert "translation.pref64" in said.stdout
        assert "routes" in said.stdout

    losing_nothing(changing, refused)
    changing.path(box.CONFIGURATION).write_text(good)
    assert state(changing) == before
    pages(changing)


def test_generic_xdp_is_asked_for_works_and_is_said(changing: Lab) -> None:
    try:
        control.apply(changing, box.document(changing.plan, xdp="generic"))
        links = changing.run("edge", "ip", "-o", "link", "show", "dev", "pods0").stdout
        assert "xdpgeneric" in links
        assert "generic" in changing.run("edge", "edge64", "status", check=True).stdout
        pages(changing)
        fetch = "curl -sS --fail http://v4only.example/100MB.bin | sha256sum"
        said = changing.run("pod1", "sh", "-c", fetch, seconds=60, check=True).stdout
        assert said.split()[0] == changing.facts["sha256"]
    finally:
        control.apply(changing, box.document(changing.plan))
    links = changing.run("edge", "ip", "-o", "link", "show", "dev", "pods0").stdout
    assert "xdpgeneric" not in links
    assert "xdp" in links
    pages(changing)
