"""The lab itself: real wires, real neighbours, several at once, and nothing left behind."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.lab import client, protocol
from appliance.lab.client import Lab
from appliance.lab.errors import LabError
from appliance.lab.plan import CLIENT, NATIVE_IPV6, REMOTE, WEB, Pod
from appliance.lab.waiting import until
from tests.netns.conftest import unique

POD1, POD2 = Pod(1), Pod(2)
SECONDS = 20
ETH_P_ALL = 3


def namespaces_in_use(kind: str) -> set[str]:
    """Namespaces that any process of this machine is in."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(str((process / "ns" / kind).readlink()))
        except OSError:
            continue  # it ended meanwhile
    return found


def traces() -> dict[str, object]:
    """What a lab could leave behind on the machine."""
    return {
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "mounts": Path("/proc/self/mounts").read_text(),
        "run": sorted(path.name for path in Path("/run").iterdir()),
    }


@contextmanager
def leaves_nothing(name: str) -> Iterator[Callable[[Lab], None]]:
    """Fails unless all of the lab that was shown to it has gone by the end."""
    before = traces()
    pids: set[str] = set()

    def watch(lab: Lab) -> None:
        pids.add(str(Path(f"/proc/{lab.pid}/ns/pid").readlink()))
        assert len(lab.describe()["running"]) >= 5

    try:
        yield watch
    except BaseException:
        if name in protocol.lab_names():
            Lab(name).down()
        raise
    assert until(lambda: name not in protocol.lab_names(), SECONDS)
    assert until(lambda: not pids & namespaces_in_use("pid"), SECONDS)
    after = traces()
    ours = ("edge64-lab", "pods0", "uplink0")
    assert not [line for line in after["mounts"].splitlines() if "edge64-lab" in line]  # type: ignore[attr-defined]
    for kind in ("interfaces", "run"):
        new = set(after[kind]) - set(before[kind])  # type: ignore[call-overload]
        assert not [one for one in new if one.startswith(ours)]


def console(*arguments: str) -> "subprocess.Popen[str]":
    """`edge64 lab …` as a person's shell starts it."""
    code = "import sys; from appliance.console.lab import lab; lab(prog_name='edge64 lab')"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


# --- the wires -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "destination"),
    [
        ("pod1", str(NATIVE_IPV6)),
        ("pod1", str(POD2.ipv6)),
        ("native", str(POD1.ipv6)),
        ("servers", str(REMOTE)),
        ("remote", str(WEB)),
    ],
)
def test_neighbours_find_each_other(bare_lab: Lab, node: str, destination: str) -> None:
    bare_lab.run(node, "ping", "-c", "1", "-W", "5", destination, check=True)


def test_no_neighbour_is_set_by_hand(bare_lab: Lab) -> None:
    for node in bare_lab.nodes:
        assert bare_lab.run(node, "ip", "neigh", "show", "nud", "permanent").stdout == ""


def test_pods_have_no_ipv4_and_the_world_no_ipv6(bare_lab: Lab) -> None:
    for node in ("pod1", "pod2", "native"):
        assert bare_lab.run(node, "ip", "-4", "addr").stdout == ""
        assert bare_lab.run(node, "ip", "-4", "route").stdout == ""
    for node in ("world", "servers", "branch", "remote"):
        assert bare_lab.run(node, "ip", "-6", "addr").stdout == ""


def test_the_world_has_a_narrow_path(bare_lab: Lab) -> None:
    ping = ("ping", "-c", "1", "-W", "5", "-M", "do", "-s")
    refused = bare_lab.run("servers", *ping, "1472", str(REMOTE))
    assert refused.returncode == 1
    assert "mtu = 1400" in refused.stdout or "mtu=1400" in refused.stdout
    bare_lab.run("servers", *ping, "1372", str(REMOTE), check=True)


def test_frames_reach_the_appliance_with_finished_checksums(bare_lab: Lab) -> None:
    """A veth that leaves checksums to a NIC would feed XDP packets that no wire carries."""
    with bare_lab.network("edge"):
        capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with bare_lab.network("pod1"):
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    payload = b"checked" * 100
    with capture, sender:
        capture.bind(("pods0", 0))
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
        sender.setsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, _index(bare_lab, "pod1", "eth0")
        )
        sender.sendto(payload, ("ff02::1", 4660))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and select.select([capture], [], [], SECONDS)[0]:
            frame = capture.recv(65535)
            if payload in frame:
                break
        else:
            pytest.fail("the datagram did not arrive")
    packet = frame[14:]
    pseudo = packet[8:40] + len(packet[40:]).to_bytes(4, "big") + b"\0\0\0\x11"
    assert _folded(pseudo + packet[40:]) == 0xFFFF


def _index(lab: Lab, node: str, interface: str) -> int:
    with lab.network(node):
        return socket.if_nametoindex(interface)


def _folded(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


# --- its software ---------------------------------------------------------------------------------


def test_the_world_answers_names_and_pages(bare_lab: Lab) -> None:
    answer = bare_lab.run("world", "dig", "+short", "@203.0.113.53", "v4only.example", "A")
    assert answer.stdout == f"{WEB}\n"
    page = bare_lab.run("world", "curl", "-s", f"http://{WEB}/")
    assert page.stdout == f"I am {WEB} and have no IPv6\n"


def test_the_big_file_is_whole_at_its_server(bare_lab: Lab) -> None:
    line = bare_lab.run(
        "servers", "sh", "-c", f"curl -s http://{WEB}/100MB.bin | sha256sum", check=True
    ).stdout
    assert line.split()[0] == bare_lab.facts["sha256"]


def test_an_upload_is_counted(bare_lab: Lab) -> None:
    said = bare_lab.run(
        "servers", "curl", "-s", "--data-binary", "x" * 5000, f"http://{WEB}/upload", check=True
    ).stdout
    assert said == "5000 bytes arrived\n"


# --- programs in nodes ----------------------------------------------------------------------------


def test_a_program_ends_outside_as_it_does_inside(bare_lab: Lab) -> None:
    assert bare_lab.run("pod1", "sh", "-c", "exit 7").returncode == 7
    assert bare_lab.run("pod1", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    with pytest.raises(FileNotFoundError):
        bare_lab.run("pod1", "no-such-program")
    with pytest.raises(LabError, match="no node 'pod9'"):
        bare_lab.run("pod9", "true")


def test_a_program_that_hangs_is_ended(bare_lab: Lab) -> None:
    with pytest.raises(LabError, match="not done after"):
        bare_lab.run("pod1", "sleep", "4711", seconds=0.3)
    listed = bare_lab.run("pod1", "ps", "ax").stdout
    assert "4711" not in listed


def test_a_signal_reaches_the_program(bare_lab: Lab) -> None:
    sleeping = bare_lab.popen(
        "pod1",
        ["sh", "-c", "trap 'exit 5' TERM; echo on; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with sleeping:
        assert sleeping.stdout and sleeping.stdout.readline() == b"on\n"
        sleeping.terminate()
        assert sleeping.wait(SECONDS) == 5


def test_shell_runs_a_command(bare_lab: Lab) -> None:
    with console("shell", "--name", bare_lab.name, "servers", "sh", "-c", "hostname; exit 3") as it:
        output, _ = it.communicate(timeout=SECONDS)
        assert (output, it.returncode) == ("servers\n", 3)


# --- several, and none ----------------------------------------------------------------------------


def test_two_labs_side_by_side(bare_lab: Lab) -> None:
    other = client.start(unique("other"), product=False, pods=3)
    try:
        assert {bare_lab.name, other.name} <= set(protocol.lab_names())
        page = other.run("servers", "curl", "-s", f"http://{WEB}/", check=True)
        assert page.stdout == bare_lab.run("servers", "curl", "-s", f"http://{WEB}/").stdout
        other.run("pod3", "ping", "-c", "1", str(POD1.ipv6), check=True)
        assert other.facts["sha256"] != bare_lab.facts["sha256"]
        with pytest.raises(LabError, match="is up already"):
            client.start(other.name, product=False)
    finally:
        other.down()
    bare_lab.run("servers", "ping", "-c", "1", str(CLIENT), check=True)


def test_down_leaves_nothing() -> None:
    name = unique("down")
    with leaves_nothing(name) as watch:
        lab = client.start(name, product=False)
        watch(lab)
        lab.down()
    with pytest.raises(LabError, match="is up"):
        Lab(name)


def test_killing_the_lab_leaves_nothing() -> None:
    name = unique("killed")
    with leaves_nothing(name) as watch:
        lab = client.start(name, product=False)
        watch(lab)
        asleep = lab.popen("pod1", ["sleep", "1000"])
        os.kill(lab.pid, signal.SIGKILL)
        assert asleep.wait(SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_maker_that_ends_takes_its_lab_along(how: signal.Signals) -> None:
    """While it is being built, and when it is up but `lab up` has not let go of it."""
    name = unique(f"maker-{how.name}")
    code = (
        "import sys, time; from appliance.lab import client; lab = client.start(sys.argv[1], "
        "product=False); print('up', flush=True); time.sleep(1000)"
    )
    with leaves_nothing(name) as watch:
        maker = subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE)
        with maker:
            assert maker.stdout and maker.stdout.readline() == b"up\n"
            watch(Lab(name))
            maker.send_signal(how)
            maker.wait(SECONDS)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ending_while_it_is_built_leaves_nothing(how: signal.Signals) -> None:
    name = unique(f"half-{how.name}")
    with leaves_nothing(name):
        maker = console("up", "--bare", "--name", name)
        with maker:
            assert until(lambda: name in protocol.lab_names(), SECONDS)
            os.killpg(maker.pid, how)
            output, _ = maker.communicate(timeout=SECONDS)
            assert "is up after" not in output


def test_up_list_and_down_by_command() -> None:
    name = unique("command")
    with leaves_nothing(name) as watch:
        with console("up", "--bare", "--name", name) as it:
            output, _ = it.communicate(timeout=SECONDS)
            assert (it.returncode, "is up after" in output) == (0, True)
        watch(Lab(name))
        with console("list", "--output", "json") as it:
            listed = json.loads(it.communicate(timeout=SECONDS)[0])
        assert [one["ended"] for one in listed if one["name"] == name] == [{}]
        with console("down", "--name", name) as it:
            assert it.communicate(timeout=SECONDS)[0].strip() == f"lab {name} is down"
