"""A worker as clients and supervisor see it: bad messages, sizes, limits, signals, rights."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RD, RR, DNSRecord

from tests.unit.dns64_rig import (
    ROOT,
    SOA_LINE,
    Later,
    Upstream,
    Zone,
    extended_errors,
    free_port,
    log,
    question,
    receive_stream,
    records,
    serving,
    wait_until,
)

ZONE = Zone([SOA_LINE, "a 60 IN A 192.0.2.1", "b 60 IN AAAA 2001:db8::1"])
QUERY = question("a.ex", "AAAA")
TRANSPORTS = ("udp", "tcp")


def changed(wire: bytes, at: int, value: int) -> bytes:
    return wire[:at] + bytes((value,)) + wire[at + 1 :]


def two_questions() -> bytes:
    query = DNSRecord.parse(QUERY)
    query.add_question(query.q)
    return bytes(query.pack())


def two_opts() -> bytes:
    query = DNSRecord.parse(QUERY)
    query.add_ar(EDNS0(), EDNS0())
    return bytes(query.pack())


def edns_version() -> bytes:
    query = DNSRecord.parse(QUERY)
    query.add_ar(EDNS0(version=1))
    return bytes(query.pack())


REFUSED: dict[str, tuple[bytes, int]] = {
    "two-questions": (two_questions(), 1),
    "no-question": (QUERY[:5] + b"\0" + QUERY[6:12], 1),
    "two-opt-records": (two_opts(), 1),
    "cut": (QUERY[:-3], 1),
    "counts-lie": (changed(QUERY, 7, 9), 1),
    "bytes-behind": (QUERY + b"x", 1),
    "name-loops": (QUERY[:12] + b"\xc0\x0c\0\x1c\0\1", 1),
    "inverse-query": (changed(QUERY, 2, 0x08), 4),
    "notify": (changed(QUERY, 2, 0x20), 4),
    "update": (changed(QUERY, 2, 0x28), 4),
    "axfr": (question("ex", "AXFR"), 5),
    "ixfr": (question("ex", "IXFR"), 5),
}


def test_messages_that_are_refused(tmp_path: Path) -> None:
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:
        for name, (wire, rcode) in REFUSED.items():
            for transport in TRANSPORTS:
                answer = server.exchange(wire, transport)
                assert answer[:2] == wire[:2], name
                assert answer[2] & 0x80, name
                assert answer[3] & 15 == rcode, name
                assert len(answer) <= len(wire) + 11 + 50, name
        assert upstream.asked == []


def test_unknown_edns_version(tmp_path: Path) -> None:
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:
        answer = DNSRecord.parse(server.exchange(edns_version()))
        opt = answer.ar[0]
        assert (opt.rtype, opt.edns_rcode << 4 | answer.header.rcode) == (QTYPE.OPT, 16)
        assert opt.edns_ver == 0


def test_replies_and_runts_are_not_answered(tmp_path: Path) -> None:
    """Else two servers could be made to talk to each other without end."""
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:
        for wire in (changed(QUERY, 2, 0x81), QUERY[:11], b"", b"\0", changed(QUERY, 2, 0xA8)):
            assert server.is_silent(wire)
        assert upstream.asked == []


def test_no_bytes_kill_a_worker(tmp_path: Path) -> None:
    chance = random.Random(64)
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", server.port))
            for n in range(4000):
                wire = bytearray(QUERY if n % 2 else question("a.ex", "A", ("RD", "DO")))
                for _ in range(chance.randint(1, 4)):
                    wire[chance.randrange(len(wire))] = chance.randrange(256)
                sock.send(wire[: chance.randint(0, len(wire))] if n % 3 == 0 else wire)
                if n % 200 == 0:
                    assert server.alive()
            for _ in range(300):
                sock.send(chance.randbytes(chance.randint(0, 300)))
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", server.port)) as stream:
                stream.sendall(chance.randbytes(chance.randint(0, 3000)))
        assert server.alive()
        assert server.counters()["internal_errors"] == []


def test_upstream_of_random_bytes_kills_no_worker(tmp_path: Path) -> None:
    chance = random.Random(46)

    def script(query: DNSRecord, transport: str) -> bytes:
        wire = ZONE(query, transport)
        assert wire is not None
        out = bytearray(wire)
        for _ in range(3):
            out[chance.randrange(2, len(out))] = chance.randrange(256)
        return bytes(out)

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", server.port))
            for n in range(1500):
                sock.send(question(f"{'ab'[n % 2]}{'.ex' * (n % 2)}.ex", "AAAA"))
                if n % 100 == 0:
                    time.sleep(0.05)
        assert server.alive()
        assert server.counters()["internal_errors"] == []


def sized(size: int) -> Upstream:
    """An upstream whose TXT answers have ``size`` bytes without EDNS."""

    def script(query: DNSRecord, transport: str) -> bytes:
        reply = query.reply(ra=1)
        left = size - len(reply.pack()) - 12
        data = b""
        while left > len(data):
            piece = min(255, left - len(data) - 1)
            data += bytes((piece,)) + b"x" * piece
        reply.add_answer(RR(query.q.qname, QTYPE.TXT, rdata=RD(data), ttl=60))
        wire = bytes(reply.pack())
        assert len(wire) == size
        if transport == "udp" and size > 1232:
            reply.rr = []
            reply.header.tc = 1
            return bytes(reply.pack())
        return wire

    return Upstream(script)


@pytest.mark.parametrize(
    ("size", "edns", "fits"),
    [
        (512, None, True),
        (513, None, False),
        (501, 100, True),
        (502, 100, False),
        (1221, 1232, True),
        (1222, 1232, False),
        (900, 900, False),
        (889, 900, True),
        (1221, 4096, True),
        (1222, 4096, False),
        (3000, 4096, False),
    ],
)
def test_udp_answers_fit_the_client(
    size: int, edns: int | None, fits: bool, tmp_path: Path
) -> None:
    with sized(size) as upstream, serving(tmp_path, [upstream]) as server:
        wire = question("t.ex", "TXT", edns=edns)
        answer = server.exchange(wire)
        assert len(answer) <= max(512, edns or 512)
        assert bool(answer[2] & 2) != fits
        assert len(server.exchange(wire, "tcp")) == size + (0 if edns is None else 11)


def test_larger_udp_answers_by_setting(tmp_path: Path) -> None:
    with (
        sized(1200) as upstream,
        serving(tmp_path, [upstream], limits={"udp_size": 4096}) as server,
    ):
        assert not server.ask("t.ex", "TXT", edns=4096).header.tc
        assert server.ask("t.ex", "TXT", edns=4096).ar[0].rclass == 4096
        assert server.ask("t.ex", "TXT").header.tc


def test_tcp_carries_many_questions_in_any_order(tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> Later:
        wire = ZONE(query, transport)
        assert wire is not None
        return Later(wire, 0.3 if str(query.q.qname) == "a.ex." else 0.0)

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        stream = socket.create_connection(("127.0.0.1", server.port))
        with stream:
            stream.settimeout(5)
            slow, fast = question("a.ex", "A"), question("b.ex", "AAAA")
            sent = b"".join(len(w).to_bytes(2, "big") + w for w in (slow, fast))
            for n in range(len(sent)):
                stream.sendall(sent[n : n + 1])
            stream.shutdown(socket.SHUT_WR)
            assert receive_stream(stream)[:2] == fast[:2]
            assert receive_stream(stream)[:2] == slow[:2]
            assert stream.recv(1) == b""


def test_idle_and_dawdling_connections_end(tmp_path: Path) -> None:
    limits = {"tcp_idle_s": 0.5, "tcp_per_client": 3}
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream], limits=limits) as server:
        idle = socket.create_connection(("127.0.0.1", server.port))
        slow = socket.create_connection(("127.0.0.1", server.port))
        for sock in (idle, slow):
            sock.settimeout(5)
        began = time.monotonic()
        with pytest.raises(OSError):
            for n in range(len(QUERY)):
                slow.sendall((len(QUERY).to_bytes(2, "big") + QUERY)[n : n + 1])
                time.sleep(0.1)
        assert time.monotonic() - began < 2
        with pytest.raises(ConnectionResetError):
            assert idle.recv(1) == b""
            raise ConnectionResetError
        idle.close()
        slow.close()
        assert server.alive()


def test_connections_of_one_client_are_bounded(tmp_path: Path) -> None:
    limits = {"tcp_per_client": 3}
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream], limits=limits) as server:
        socks = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
        served = 0
        for sock in socks:
            sock.settimeout(5)
            try:
                sock.sendall(len(QUERY).to_bytes(2, "big") + QUERY)
                served += bool(receive_stream(sock))
            except OSError:
                pass
        assert served == 3
        assert server.ask("a.ex", "AAAA", "tcp", "::1").header.rcode == 0
        for sock in socks:
            sock.close()


def test_outstanding_queries_of_one_client_are_bounded(tmp_path: Path) -> None:
    silence = Zone([], {"A": "silence"})
    limits = {"outstanding_per_client": 10}
    with Upstream(silence) as upstream, serving(tmp_path, [upstream], limits=limits) as server:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sock:
            sock.connect(("127.0.0.1", server.port))
            sock.settimeout(1)
            for n in range(15):
                sock.send(question(f"n{n}.ex", "A"))
            refused = [DNSRecord.parse(sock.recv(4096)) for _ in range(5)]
            assert {RCODE[answer.header.rcode] for answer in refused} == {"SERVFAIL"}
            assert server.alive(), "what needs no upstream is answered still"
            wait_until(lambda: len({name for _, name, _ in upstream.asked}) == 10)
            upstream.script = ZONE
            assert server.ask("a.ex", "A", address="::1").header.rcode == 0


def test_outstanding_queries_in_all_are_bounded(tmp_path: Path) -> None:
    silence = Zone([], {"A": "silence"})
    with (
        Upstream(silence) as upstream,
        serving(tmp_path, [upstream], limits={"outstanding": 5}) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.connect(("127.0.0.1", server.port))
        sock.settimeout(1)
        for n in range(8):
            sock.send(question(f"n{n}.ex", "A"))
        for _ in range(3):
            assert DNSRecord.parse(sock.recv(4096)).header.rcode == RCODE.SERVFAIL
        wait_until(lambda: len({name for _, name, _ in upstream.asked}) == 5)


def test_strangers_are_refused(tmp_path: Path) -> None:
    with (
        Upstream(ZONE) as upstream,
        serving(tmp_path, [upstream], allow=["::1/128"]) as server,
    ):
        for transport in TRANSPORTS:
            answer = server.ask("a.ex", "A", transport, edns=1232)
            assert RCODE[answer.header.rcode] == "REFUSED"
            assert extended_errors(answer) == [18]
            assert server.ask("a.ex", "A", transport, "::1").header.rcode == 0
        assert server.ask("a.ex", "A", address="::1").header.rcode == 0


def test_answers_come_from_the_address_that_was_asked(tmp_path: Path) -> None:
    port = free_port()
    listen = [{"address": "0.0.0.0", "port": port}, {"address": "::", "port": port}]
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream], listen=listen) as server:
        server.port = port
        for address in ("127.0.0.1", "127.0.0.2", "127.9.8.7", "::1"):
            for transport in TRANSPORTS:
                # A connected socket hears only the address that it asked.
                answer = server.ask("a.ex", "AAAA", transport, address)
                assert records(answer.rr) == ["a.ex AAAA 64:ff9b::c000:201"]


def test_counters(tmp_path: Path) -> None:
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in ("udp", "udp", "tcp"):
            server.ask("a.ex", "AAAA", transport)
        server.ask("b.ex", "AAAA")
        counters = server.counters()
    assert counters["queries"] == [
        {"transport": "tcp", "type": "AAAA", "value": 1},
        {"transport": "udp", "type": "AAAA", "value": 3},
    ]
    assert counters["answers"] == [
        {"rule": "passed", "value": 1},
        {"rule": "synthesised", "value": 3},
    ]
    label = f"127.0.0.1#{upstream.port}"
    assert counters["upstream_queries"] == [{"upstream": label, "transport": "udp", "value": 7}]


def test_settings_are_read_again(tmp_path: Path) -> None:
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:

        def prefix() -> str:
            return records(server.ask("a.ex", "AAAA").rr)[0].split()[-1]

        assert prefix() == "64:ff9b::c000:201"
        server.reload(policies=[{"prefixes": [{"prefix": "2001:db8:64::/96"}]}])
        wait_until(lambda: prefix() == "2001:db8:64::c000:201")
        server.reload(policies=[{"prefixes": [{"prefix": "2001:db8:64::/95"}]}])
        wait_until(lambda: b"the old ones stay" in log(server))
        assert prefix() == "2001:db8:64::c000:201"
        assert b"policies[0].prefixes[0]" in log(server)
        port = free_port()
        server.reload(policies=[], listen=[{"address": "127.0.0.1", "port": port}])
        wait_until(lambda: b"127.0.0.1#%d" % port in log(server))
        server.port = port
        assert records(server.ask("a.ex", "AAAA").rr) == []
        assert len(server.counters()["reloads"]) == 2


def test_no_query_is_lost_to_a_reload(tmp_path: Path) -> None:
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:
        for n in range(30):
            prefix = f"2001:db8:{n + 1:x}::/96"
            server.reload(policies=[{"prefixes": [{"prefix": prefix}]}])
            for transport in TRANSPORTS:
                answer = server.ask("a.ex", "AAAA", transport)
                found = records(answer.rr)[0].split()[-1]
                assert IPv6Address(found).packed[:4] in (b"\x20\1\x0d\xb8", b"\0\x64\xff\x9b")
        counters = server.counters()
        assert [row["outcome"] for row in counters["reloads"]] == ["taken"]
        assert counters["upstream_failures"] == []


def test_what_was_asked_is_answered_before_the_end(tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> Later:
        wire = ZONE(query, transport)
        assert wire is not None
        return Later(wire, 0.3)

    with Upstream(script) as upstream:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(5)
        with pytest.raises(AssertionError), serving(tmp_path, [upstream]) as server:
            sock.sendto(question("b.ex", "AAAA"), ("127.0.0.1", server.port))
            wait_until(lambda: bool(upstream.asked))
            server.process.send_signal(signal.SIGTERM)
            assert records(DNSRecord.parse(sock.recv(4096)).rr) == ["b.ex AAAA 2001:db8::1"]
            assert server.process.wait(5) == 0
        sock.close()


def start(path: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dns64", "--settings", str(path), "--worker", str(number)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


def test_workers_share_a_port(tmp_path: Path) -> None:
    """Two of them, both get their share, and one that dies does not take the other along."""
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:
        second = start(server.settings_path, 1)
        assert second.stderr is not None
        assert b"answers at" in second.stderr.readline()
        folder = tmp_path / "stats"

        def served(number: int) -> int:
            path = folder / f"worker-{number}.json"
            rows = json.loads(path.read_text())["counters"]["queries"] if path.exists() else []
            return sum(row["value"] for row in rows)

        def both() -> bool:
            server.ask("a.ex", "A")
            server.ask("a.ex", "A", "tcp")
            return served(0) > 0 and served(1) > 0

        wait_until(both)
        second.kill()
        second.wait()
        second.stderr.close()
        for _ in range(20):
            for transport in TRANSPORTS:
                assert server.ask("a.ex", "A", transport).header.rcode == 0


def test_root_becomes_the_user(tmp_path: Path) -> None:
    """A low port is bound, then every right is given up."""
    if os.geteuid() != 0:
        raise AssertionError("this test has to be run as root")
    address = "127.64.53.1"
    stats = Path("/tmp") / f"dns64-{os.getpid()}"
    listen = [{"address": address, "port": 53}]
    try:
        with (
            Upstream(ZONE) as upstream,
            serving(
                tmp_path,
                [upstream],
                groups=[4, 5],
                listen=listen,
                user="nobody",
                stats_dir=str(stats),
            ) as server,
        ):
            server.port = 53
            for transport in TRANSPORTS:
                answer = server.ask("a.ex", "AAAA", transport, address)
                assert records(answer.rr) == ["a.ex AAAA 64:ff9b::c000:201"]
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            found: dict[str, Any] = dict(
                line.split(":\t", 1) for line in status.splitlines() if ":\t" in line
            )
            assert set(found["Uid"].split()) == {"65534"}
            assert set(found["Gid"].split()) == {"65534"}
            assert found["Groups"].split() == []
            for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert int(found[kind], 16) == 0
            wait_until((stats / "worker-0.json").exists)
    finally:
        for file in stats.glob("*"):
            file.unlink()
        if stats.exists():
            stats.rmdir()


def test_worker_without_rights_ends_to_be_started_again(tmp_path: Path) -> None:
    """New low ports need root, which it is no more; the supervisor starts it as root again."""
    (tmp_path / "open").mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    with (
        Upstream(ZONE) as upstream,
        pytest.raises(AssertionError),
        serving(tmp_path, [upstream], user="nobody", stats_dir=None) as server,
    ):
        server.reload(listen=[{"address": "127.64.53.2", "port": 53}])
        assert server.process.wait(5) == 0
    assert b"to be started again" in (tmp_path / "log").read_bytes()


def test_start_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "dns64.json"
    path.write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "dns64", "--settings", path], cwd=ROOT, capture_output=True
    )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[0] == f"dns64: {path}: 2 error(s)"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = [{"address": "127.0.0.1", "port": taken.getsockname()[1]}]
        path.write_text(json.dumps({"listen": listen, "upstreams": [{"address": "::1"}]}))
        done = subprocess.run(
            [sys.executable, "-m", "dns64", "--settings", path], cwd=ROOT, capture_output=True
        )
    assert done.returncode == 1
    assert b"cannot listen at 127.0.0.1" in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_uvloop(tmp_path: Path) -> None:
    """On the interpreter's own event loop everything works too."""
    without = "import sys; sys.modules['uvloop'] = None; import dns64.__main__ as m; m.main()"
    with (
        Upstream(ZONE) as upstream,
        serving(tmp_path, [upstream], start=("-c", without)) as server,
    ):
        for transport in TRANSPORTS:
            for address in server.addresses:
                answer = server.ask("a.ex", "AAAA", transport, address)
                assert records(answer.rr) == ["a.ex AAAA 64:ff9b::c000:201"]
        assert server.is_silent(changed(QUERY, 2, 0x81))
