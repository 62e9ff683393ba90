"""The main job, step by step: an IPv6-only pod and an IPv4-only world meet."""

import re
from collections.abc import Callable

from rich.console import Console

from appliance.lab import box
from appliance.lab.client import Lab
from appliance.lab.plan import (
    EDGE_IPV4,
    EDGE_IPV6,
    NAME_SERVER,
    NATIVE_IPV4,
    NATIVE_IPV6,
    REMOTE,
    WEB,
    WORLD,
    Pod,
    embedded,
)
from appliance.lab.stage import Stage, Step, play
from appliance.lab.world import BIG_FILE, BIG_FILE_BYTES, UPLOAD_BYTES

Play = Callable[[Stage], None]

POD1, POD2 = Pod(1), Pod(2)
WEB_PAGE = f"I am {WEB} and have no IPv6\n"
NATIVE_PAGE = f"I am {NATIVE_IPV6} and have no IPv4\n"
DOWNLOADED = f"/run/edge64-lab/tmp/{BIG_FILE}"
UNDER = "64:ff9b::"  # 64:ff9b::203.0.113.80 is how people write it
LEARNED_MTU = 1420  # the narrow path's 1400, and 20 bytes more for the IPv6 header


def two_worlds(stage: Stage) -> None:
    pod = stage.run("pod1", "ip -4 -brief address").stdout
    stage.expect(pod == "", "the pod has no IPv4 address at all")
    stage.run("pod1", "ip -6 -brief address show dev eth0")
    server = stage.run("servers", "ip -6 -brief address").stdout
    stage.expect(server == "", "the server has no IPv6 address at all")
    stage.run("servers", "ip -4 -brief address show dev eth0")


def synthesis(stage: Stage) -> None:
    wanted = str(embedded(WEB))
    answer = stage.run("pod1", "dig +noall +answer v4only.example AAAA").stdout
    stage.expect(answer.split()[-1:] == [wanted], f"AAAA made from {WEB}: {wanted}")


def native_wins(stage: Stage) -> None:
    answer = stage.run("pod1", "dig +short dual.example AAAA").stdout
    stage.expect(answer.split() == [str(NATIVE_IPV6)], "only the AAAA record that exists")
    page = stage.run("pod1", "curl -sS http://dual.example/").stdout
    stage.expect(page == NATIVE_PAGE, "the page of the native IPv6 server")


def page_by_name(stage: Stage) -> None:
    resolved = stage.run("pod1", "getent ahosts v4only.example").stdout
    stage.expect(str(embedded(WEB)) in resolved, "glibc's resolver found it, nothing set by hand")
    page = stage.run("pod1", "curl -sS http://v4only.example/").stdout
    stage.expect(page == WEB_PAGE, "the page of a server without IPv6")


def big_download(stage: Stage) -> None:
    report = stage.run(
        "pod1",
        f"curl -sS -o {DOWNLOADED} -w '%{{size_download}} bytes, %{{speed_download}} bytes/s\\n' "
        f"http://v4only.example/{BIG_FILE}",
        seconds=60,
    ).stdout
    stage.expect(report.startswith(f"{BIG_FILE_BYTES} bytes"), "100 MB arrived")
    digest = stage.run("pod1", f"sha256sum {DOWNLOADED}").stdout.split()[:1]
    stage.expect(digest == [stage.lab.facts["sha256"]], "every byte as the server has it")


def udp(stage: Stage) -> None:
    answer = stage.run("pod1", f"dig +short @{UNDER}{NAME_SERVER} v4only.example A").stdout
    stage.expect(answer.strip() == str(WEB), "the IPv4-only name server answered by UDP")


def ping(stage: Stage) -> None:
    said = stage.run("pod1", f"ping -c 3 -i 0.2 {UNDER}{WEB}").stdout
    stage.expect(", 0% packet loss" in said, "every echo came back")
    stage.expect(said.count("ttl=62") == 3, "the hop limit fell by one in edge64, one in the world")


def trace(stage: Stage) -> None:
    said = stage.run("pod1", f"traceroute -6 -n -q 1 -w 3 {UNDER}{WEB}", seconds=40).stdout
    hops = re.findall(r"^\s*\d+\s+(\S+)", said, re.MULTILINE)
    path = [str(EDGE_IPV6), str(embedded(WORLD)), str(embedded(WEB))]
    stage.expect(hops == path, "edge64, the IPv4 router under the prefix, the server")


def path_mtu(stage: Stage) -> None:
    remote = f"{UNDER}{REMOTE}"
    stage.run("pod1", f"ip -6 route get {remote}")
    said = stage.run("pod1", f"ping -c 2 -i 0.2 -M do -s 1440 {remote}").stdout
    stage.expect(
        f"Packet too big: mtu={LEARNED_MTU}" in said,
        "the IPv4 router's Fragmentation Needed came as Packet Too Big",
    )
    route = stage.run("pod1", f"ip -6 route get {remote}").stdout
    stage.expect(f"mtu {LEARNED_MTU}" in route, f"the pod learned the path's MTU: {LEARNED_MTU}")
    said = stage.run("pod1", f"ping -c 2 -i 0.2 -M do -s {LEARNED_MTU - 48} {remote}").stdout
    stage.expect(", 0% packet loss" in said, "what fits goes through")
    upload = f"head -c {UPLOAD_BYTES} {DOWNLOADED} | curl -sS --data-binary @- "
    said = stage.run("pod1", f"sh -c '{upload} http://remote.example/upload'").stdout
    stage.expect(said == f"{UPLOAD_BYTES} bytes arrived\n", "an upload over the narrow path")
    said = stage.run(
        "pod1", f"sh -c 'curl -sS http://remote.example/{BIG_FILE} | sha256sum'", seconds=60
    ).stdout
    stage.expect(said.split()[:1] == [stage.lab.facts["sha256"]], "100 MB back over it")
    said = stage.run("servers", f"ping -c 1 -W 2 -M do -s 1472 {POD1.ipv4}").stdout
    stage.expect(
        re.search(rf"From {EDGE_IPV4} .*mtu ?= ?1480", said) is not None,
        "and IPv4 hears from edge64 that 1480 bytes are the most",
    )


def secondary_address(stage: Stage) -> None:
    page = stage.run(
        "pod1", f"curl -sS --interface {POD1.embedded_ipv6} http://v4only.example/"
    ).stdout
    stage.expect(page == WEB_PAGE, f"the same page from {POD1.embedded_ipv6}")
    said = stage.run("servers", f"ping -c 1 -W 2 {POD1.embedded_ipv4}").stdout
    stage.expect(", 0% packet loss" in said, f"and {POD1.embedded_ipv4} leads there")


def nat46(stage: Stage) -> None:
    page = stage.run("servers", f"curl -sS --max-time 5 http://{POD2.ipv4}/").stdout
    wanted = f"I am {POD2.name}, {POD2.ipv6}, without IPv4\n"
    stage.expect(page == wanted, f"{POD2.ipv4} is {POD2.ipv6}")


def setting_under_load(stage: Stage) -> None:
    before = stage.run("servers", f"curl -sS --max-time 1 http://{NATIVE_IPV4}/")
    stage.expect(before.returncode != 0, f"{NATIVE_IPV4} is nobody yet")
    pings = 3000
    load = stage.start("pod1", f"ping -q -c {pings} -i 0.001 -W 2 {UNDER}{WEB}")
    try:
        changed = box.document(stage.lab.plan, native_too=True)
        stage.lab.path(box.CONFIGURATION).write_text(changed)
        stage.say_command("edge", f"tail -n 5 {box.CONFIGURATION}")
        stage.show("\n".join(changed.splitlines()[-5:]))
        applied = stage.run("edge", f"edge64 apply {box.CONFIGURATION}")
        stage.expect(applied.returncode == 0, "the new configuration is in force")
        page = stage.run("servers", f"curl -sS --max-time 5 http://{NATIVE_IPV4}/").stdout
        stage.expect(page == NATIVE_PAGE, f"{NATIVE_IPV4} is {NATIVE_IPV6} now")
        stage.expect(load.poll() is None, "all of it while the load was running")
    finally:
        said = stage.finish(load)
    stage.expect(
        f"{pings} packets transmitted, {pings} received" in said, f"none of {pings} packets lost"
    )


def counters(stage: Stage) -> None:
    before = stage.run("edge", "edge64 counters", lines=60).stdout
    refused = stage.run("pod1", "ping -c 3 -i 0.1 -W 1 64:ff9b::10.0.0.1").stdout
    stage.expect("prohibited" in refused, "the well-known prefix carries no private address")
    after = stage.run("edge", "edge64 counters", lines=60).stdout
    was, now = _drops(before, "non-global-address"), _drops(after, "non-global-address")
    stage.expect(now - was == 3, f"non-global-address: {was} before, {now} after")


def _drops(counters: str, reason: str) -> int:
    return sum(int(number) for number in re.findall(rf"{reason}\D*(\d+)", counters))


STEPS = (
    Step("Two worlds: an IPv6-only pod, an IPv4-only server", two_worlds),
    Step("A name with only IPv4 addresses gets an AAAA record", synthesis),
    Step("A native AAAA record wins", native_wins),
    Step("The pod opens the IPv4-only server's page by name", page_by_name),
    Step("A 100 MB download arrives whole", big_download),
    Step("UDP: a query straight to the world's name server", udp),
    Step("Ping", ping),
    Step("Traceroute shows the path", trace),
    Step("A packet too big is answered, and the path's MTU learned", path_mtu),
    Step("A pod's other address, under the prefix, needs no table", secondary_address),
    Step("An IPv4 client reaches an IPv6-only server", nat46),
    Step("A setting changes under load, and no packet is lost", setting_under_load),
    Step("Counters and drop reasons", counters),
)


def show(lab: Lab, console: Console) -> bool:
    """Whether every step passed."""
    return play(lab, console, STEPS)
