"""The main job through clients and servers that we did not write."""

import json
import re

import pytest

from appliance.lab.client import Lab
from appliance.lab.plan import (
    EDGE_IPV6,
    NAME_SERVER,
    NATIVE_IPV6,
    REMOTE,
    WEB,
    WORLD,
    Pod,
    embedded,
)
from appliance.lab.waiting import until

POD1, POD2 = Pod(1), Pod(2)
UNDER = "64:ff9b::"
WEB_PAGE = f"I am {WEB} and have no IPv6\n"


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("v4only.example", "AAAA", [str(embedded(WEB))]),
        ("v4only.example", "A", [str(WEB)]),
        ("www.example", "AAAA", ["v4only.example.", str(embedded(WEB))]),
        ("dual.example", "AAAA", [str(NATIVE_IPV6)]),
        ("dual.example", "A", [str(WEB)]),
        ("nothing.example", "AAAA", []),
    ],
)
def test_names(lab: Lab, name: str, kind: str, wanted: list[str], transport: str) -> None:
    said = lab.run("pod1", "dig", "+short", transport, name, kind, check=True).stdout
    assert said.split() == wanted


def test_an_answer_too_long_for_udp_comes_by_tcp(lab: Lab) -> None:
    cut = lab.run("pod1", "dig", "+ignore", "many.example", "TXT", check=True).stdout
    assert re.search(r"flags: .*\btc\b", cut)
    whole = lab.run("pod1", "dig", "+short", "many.example", "TXT", check=True).stdout
    assert len(whole.splitlines()) == 40


def test_glibc_resolves(lab: Lab) -> None:
    said = lab.run("pod1", "getent", "ahosts", "www.example", check=True).stdout
    assert {line.split()[0] for line in said.splitlines()} == {str(embedded(WEB))}


# --- 6 to 4 ---------------------------------------------------------------------------------------


def test_page_by_name(lab: Lab) -> None:
    assert lab.run("pod1", "curl", "-sS", "http://v4only.example/", check=True).stdout == WEB_PAGE


def test_page_from_the_embedded_address(lab: Lab) -> None:
    said = lab.run(
        "pod1", "curl", "-sS", "--interface", str(POD1.embedded_ipv6), "http://v4only.example/"
    )
    assert said.stdout == WEB_PAGE


@pytest.mark.parametrize("host", ["v4only.example", "remote.example"])
def test_download_is_whole(lab: Lab, host: str) -> None:
    fetch = f"curl -sS --fail http://{host}/100MB.bin | sha256sum"
    said = lab.run("pod1", "sh", "-c", fetch, seconds=60, check=True).stdout
    assert said.split()[0] == lab.facts["sha256"]


def test_upload_over_a_narrow_path(lab: Lab) -> None:
    send = "head -c 20000000 /dev/zero | curl -sS --data-binary @- http://remote.example/upload"
    said = lab.run("pod2", "sh", "-c", send, seconds=60, check=True).stdout
    assert said == "20000000 bytes arrived\n"
    route = lab.run("pod2", "ip", "-6", "route", "get", f"{UNDER}{REMOTE}", check=True).stdout
    assert "mtu 1420" in route


def test_udp_query_through_the_translator(lab: Lab) -> None:
    said = lab.run("pod1", "dig", "+short", f"@{UNDER}{NAME_SERVER}", "v4only.example", check=True)
    assert said.stdout == f"{WEB}\n"


@pytest.mark.parametrize("size", [0, 8, 56, 1212, 1213, 1400, 1432])
def test_ping(lab: Lab, size: int) -> None:
    command = ("ping", "-c", "5", "-i", "0.02", "-M", "do", "-s", str(size), f"{UNDER}{WEB}")
    said = lab.run("pod1", *command, check=True).stdout
    assert said.count("ttl=62") == 5
    assert "5 received" in said


def test_traceroute_shows_every_hop(lab: Lab) -> None:
    path = [EDGE_IPV6, embedded(WORLD), embedded(WEB)]
    for options in ([], ["-I"], ["-T", "-p", "80"]):
        command = ("traceroute", "-6", "-n", "-q", "1", "-w", "3", *options, f"{UNDER}{WEB}")
        said = lab.run("pod1", *command, seconds=60, check=True).stdout
        assert re.findall(r"^\s*\d+\s+(\S+)", said, re.MULTILINE) == [str(hop) for hop in path]


def test_mtr_shows_every_hop(lab: Lab) -> None:
    command = ("mtr", "-6", "-n", "-c", "2", "-i", "0.2", "--json", f"{UNDER}{REMOTE}")
    said = json.loads(lab.run("pod1", *command, seconds=60, check=True).stdout)
    hops = [hop["host"] for hop in said["report"]["hubs"]]
    branch = "64:ff9b::cb00:7182"
    assert hops == [str(EDGE_IPV6), str(embedded(WORLD)), branch, str(embedded(REMOTE))]
    assert all(hop["Loss%"] == 0 for hop in said["report"]["hubs"])


def test_a_port_that_nobody_listens_on(lab: Lab) -> None:
    said = lab.run("pod1", "curl", "-sS", "--max-time", "5", f"http://[{UNDER}{WEB}]:81/")
    # In the words of the curl of Debian 12, then of Debian 13.
    assert re.search("Couldn't connect|Could not connect", said.stdout)
    assert said.returncode == 7


# --- 4 to 6 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pod", [POD1, POD2])
def test_an_ipv4_client_opens_a_pods_page(lab: Lab, pod: Pod) -> None:
    page = f"I am {pod.name}, {pod.ipv6}, without IPv4\n"
    said = lab.run("servers", "curl", "-sS", "--max-time", "5", f"http://{pod.ipv4}/")
    assert said.stdout == page


@pytest.mark.parametrize("address", [POD1.ipv4, POD1.embedded_ipv4])
def test_an_ipv4_host_pings_a_pod(lab: Lab, address: object) -> None:
    command = ("ping", "-c", "5", "-i", "0.02", "-M", "do", "-s", "1400", str(address))
    said = lab.run("servers", *command, check=True).stdout
    assert said.count("ttl=62") == 5


def test_ipv4_learns_the_mtu(lab: Lab) -> None:
    command = ("ping", "-c", "1", "-W", "3", "-M", "do", "-s", "1472", str(POD2.ipv4))
    said = lab.run("remote", *command[:-2], "1372", str(POD2.ipv4), check=True)
    said = lab.run("servers", *command)
    assert re.search(r"From 192\.0\.2\.1 .*mtu ?= ?1480", said.stdout)


def test_ipv4_traceroute_to_a_pod(lab: Lab) -> None:
    command = ("traceroute", "-n", "-q", "1", "-w", "3", str(POD1.ipv4))
    said = lab.run("servers", *command, seconds=60, check=True).stdout
    hops = re.findall(r"^\s*\d+\s+(\S+)", said, re.MULTILINE)
    assert hops == ["203.0.113.1", "192.0.2.1", str(POD1.ipv4)]


# --- load -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [[], ["-R"], ["--bidir"]], ids=["up", "down", "both"])
@pytest.mark.parametrize("kind", [["-t", "2"], ["-u", "-b", "20M", "-t", "2"]], ids=["tcp", "udp"])
def test_iperf3(lab: Lab, kind: list[str], direction: list[str]) -> None:
    with lab.popen("servers", ["iperf3", "-s", "-1", "-B", str(WEB), "-p", "5201"]) as server:
        listening = ("ss", "-Htln", "sport", "=", ":5201")
        assert until(lambda: lab.run("servers", *listening).stdout != "", 10)
        command = ("iperf3", "-6", "-J", "-c", f"{UNDER}{WEB}", *kind, *direction)
        report = json.loads(lab.run("pod1", *command, seconds=30).stdout)
        assert "error" not in report, report["error"]
        server.wait(10)
    end = report["end"]
    if "-u" in kind:
        sums = [end[key] for key in ("sum", "sum_bidir_reverse") if key in end]
        # iperf3 itself loses the first ones on a busy machine; that nothing is lost on the way is
        # held by numbered packets elsewhere.
        assert all(total["packets"] > 1000 and total["lost_percent"] < 2 for total in sums), sums
    else:
        assert end["sum_received"]["bytes"] > 10_000_000
