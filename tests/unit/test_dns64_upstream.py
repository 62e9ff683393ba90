"""Upstreams that misbehave: late, silent, cut, forged, wrong, too big, gone."""

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RD, RR, DNSRecord

from tests.unit.dns64_rig import (
    SOA_LINE,
    Later,
    Reply,
    Upstream,
    Zone,
    free_port,
    question,
    records,
    serving,
    wait_until,
)

ZONE = Zone([SOA_LINE, "a 60 IN A 192.0.2.1", "b 60 IN AAAA 2001:db8::1"])
SYNTHESISED = ["a.ex AAAA 64:ff9b::c000:201"]
TRANSPORTS = ("udp", "tcp")


def good(query: DNSRecord, transport: str = "udp") -> bytes:
    wire = ZONE(query, transport)
    assert wire is not None
    return wire


def forged(query: DNSRecord) -> DNSRecord:
    """A reply with an address that is nobody's to give."""
    reply = DNSRecord.parse(bytes(query.pack())).reply()
    reply.add_answer(*RR.fromZone(f"{query.q.qname} 60 IN A 203.0.113.66"))
    return reply


def wrong_id(query: DNSRecord) -> Later:
    reply = forged(query)
    reply.header.id ^= 1
    return Later(bytes(reply.pack()))


def wrong_name(query: DNSRecord) -> Later:
    reply = forged(query)
    reply.q.qname = "z.ex."
    return Later(bytes(reply.pack()))


def wrong_type(query: DNSRecord) -> Later:
    reply = forged(query)
    reply.q.qtype = QTYPE.TXT
    return Later(bytes(reply.pack()))


def wrong_class(query: DNSRecord) -> Later:
    reply = forged(query)
    reply.q.qclass = 3
    return Later(bytes(reply.pack()))


def wrong_source(query: DNSRecord) -> Later:
    return Later(bytes(forged(query).pack()), from_elsewhere=True)


def no_reply_bit(query: DNSRecord) -> Later:
    reply = forged(query)
    reply.header.qr = 0
    return Later(bytes(reply.pack()))


def no_question(query: DNSRecord) -> Later:
    reply = forged(query)
    reply.questions = []
    return Later(bytes(reply.pack()))


def runt(query: DNSRecord) -> Later:
    return Later(bytes(forged(query).pack())[:11])


@pytest.mark.parametrize(
    "forge",
    [wrong_id, wrong_name, wrong_type, wrong_class, wrong_source, no_reply_bit, no_question, runt],
)
def test_forged_replies_are_not_believed(
    forge: Callable[[DNSRecord], Later], tmp_path: Path
) -> None:
    """The forgery comes first, the true reply after it."""

    def script(query: DNSRecord, transport: str) -> Sequence[Reply]:
        return [forge(query), forge(query), Later(good(query), 0.05)]

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            assert records(server.ask("a.ex", "AAAA", transport).rr) == SYNTHESISED
            assert records(server.ask("a.ex", "A", transport).rr) == ["a.ex A 192.0.2.1"]


def test_type_is_matched_to_the_bit(tmp_path: Path) -> None:
    """65 and 97 differ as "A" and "a" do; only the name may differ in case."""

    def script(query: DNSRecord, transport: str) -> Sequence[Reply]:
        wrong = DNSRecord.parse(bytes(query.pack())).reply()
        wrong.q.qtype = 97
        wrong.header.rcode = RCODE.NXDOMAIN
        return [bytes(wrong.pack()), good(query)]

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        assert RCODE[server.ask("a.ex", "HTTPS").header.rcode] == "NOERROR"


def test_ids_and_ports_are_new_each_time(tmp_path: Path) -> None:
    with Upstream(ZONE) as upstream, serving(tmp_path, [upstream]) as server:
        for _ in range(40):
            server.ask("a.ex", "A")
        ids = {wire[:2] for wire in upstream.raw}
        ports = {port for _, port in upstream.peers}
        assert len(ids) > 35
        assert len(ports) > 35
        assert len({int.from_bytes(number, "big") >> 8 for number in ids}) > 20


def test_case_is_randomised_by_setting(tmp_path: Path) -> None:
    name = "abcdefghijklmnopqrstuvwxyz.ex"
    zone = Zone([SOA_LINE, f"{name}. 60 IN A 192.0.2.1"])

    def script(query: DNSRecord, transport: str) -> Reply | Sequence[Reply]:
        reply = zone(query, transport)
        lower = DNSRecord.parse(bytes(forged(query).pack()))
        lower.q.qname = str(lower.q.qname).lower()
        lower.rr[0].rname = lower.q.qname
        return reply if transport == "tcp" else [bytes(lower.pack()), reply]

    with (
        Upstream(script) as upstream,
        serving(tmp_path, [upstream], randomise_case=True) as server,
    ):
        for transport in TRANSPORTS:
            answer = server.ask(name.title(), "A", transport)
            assert [line.lower() for line in records(answer.rr)] == [f"{name} a 192.0.2.1"]
        sent = {asked for _, asked, _ in upstream.asked}
        assert len(sent) > 1 and all(asked != asked.lower() for asked in sent)


def test_upstream_that_does_not_keep_case_is_asked_over_tcp(tmp_path: Path) -> None:
    name = "abcdefghijklmnopqrstuvwxyz.ex"
    zone = Zone([SOA_LINE, f"{name}. 60 IN A 192.0.2.1"])

    def script(query: DNSRecord, transport: str) -> bytes | None:
        query.q.qname = str(query.q.qname).lower()
        return zone(query, transport)

    with (
        Upstream(script) as upstream,
        serving(tmp_path, [upstream], randomise_case=True) as server,
    ):
        assert records(server.ask(name, "A").rr) == [f"{name} A 192.0.2.1"]
        assert [transport for transport, *_ in upstream.asked] == ["udp", "tcp"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_aaaa_never_answered(transport: str, tmp_path: Path) -> None:
    zone = Zone(["a 5000 IN A 192.0.2.1"], {"AAAA": "silence"})
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        began = time.monotonic()
        answer = server.ask("a.ex", "AAAA", transport)
        assert 1.4 < time.monotonic() - began < 2.0
        assert records(answer.rr) == SYNTHESISED
        assert answer.rr[0].ttl == 600


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", ["AAAA", "A", "TXT"])
def test_nothing_answered_is_servfail_in_time(kind: str, transport: str, tmp_path: Path) -> None:
    silence = dict.fromkeys(("AAAA", "A", "TXT"), "silence")
    with Upstream(Zone([], silence)) as upstream, serving(tmp_path, [upstream]) as server:
        began = time.monotonic()
        answer = server.ask("a.ex", kind, transport, edns=1232)
        assert time.monotonic() - began < 4.0
        assert RCODE[answer.header.rcode] == "SERVFAIL"


def test_a_never_answered_after_nodata(tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, "a IN TXT x"], {"A": "silence"})
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        began = time.monotonic()
        answer = server.ask("a.ex", "AAAA")
        assert time.monotonic() - began < 4.0
        assert RCODE[answer.header.rcode] == "SERVFAIL"


def test_late_reply_still_counts(tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> Later:
        return Later(good(query), 0.9)

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        began = time.monotonic()
        assert records(server.ask("b.ex", "AAAA").rr) == ["b.ex AAAA 2001:db8::1"]
        assert time.monotonic() - began < 1.3


@pytest.mark.parametrize("cut", [13, 20, 25, 30, 40, -1])
def test_cut_reply_goes_to_the_next_upstream(cut: int, tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> bytes:
        return good(query)[:cut]

    with (
        Upstream(script) as first,
        Upstream(ZONE) as second,
        serving(tmp_path, [first, second]) as server,
    ):
        for transport in TRANSPORTS:
            assert records(server.ask("a.ex", "AAAA", transport).rr) == SYNTHESISED


def test_only_cut_replies_are_servfail(tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> bytes:
        return good(query)[:-3]

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            assert RCODE[server.ask("a.ex", "A", transport).header.rcode] == "SERVFAIL"


@pytest.mark.parametrize("kinds", [("A",), ("AAAA",), ("A", "AAAA")], ids=" ".join)
def test_truncated_is_asked_again_over_tcp(kinds: tuple[str, ...], tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> bytes:
        if transport == "tcp" or QTYPE[query.q.qtype] not in kinds:
            return good(query)
        reply = query.reply()
        reply.header.tc = 1
        return bytes(reply.pack())

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            answer = server.ask("a.ex", "AAAA", transport)
            assert records(answer.rr) == SYNTHESISED
            assert not answer.header.tc
        assert {("tcp", "a.ex.", kind) for kind in kinds} <= set(upstream.asked)


def test_ten_thousand_records(tmp_path: Path) -> None:
    """Whole over TCP, TC over UDP; made synthetic as well."""
    count = 2000

    def script(query: DNSRecord, transport: str) -> bytes:
        reply = query.reply()
        if transport == "udp":
            reply.header.tc = 1
        elif query.q.qtype == QTYPE.A:
            for n in range(count):
                address = (198, 51 + (n >> 8), n & 255, 1)
                reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=RD(bytes(address)), ttl=60))
        return bytes(reply.pack())

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for kind in ("A", "AAAA"):
            whole = server.ask("many.ex", kind, "tcp")
            assert len(whole.rr) == count
            cut = server.ask("many.ex", kind, "udp", edns=1232)
            assert cut.header.tc == 1
            assert records(cut.rr) == []


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (["l1 IN CNAME l2.ex.", "l2 IN CNAME l1.ex."], "l1.ex"),
        (["self IN CNAME self.ex."], "self.ex"),
        ([f"n{n} IN CNAME n{n + 1}.ex." for n in range(60)], "n0.ex"),
    ],
    ids=["two", "self", "long"],
)
@pytest.mark.parametrize("follows", [True, False])
def test_endless_aliases(lines: list[str], name: str, follows: bool, tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, *lines], follows=follows)
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            answer = server.ask(name, "AAAA", transport)
            assert RCODE[answer.header.rcode] in ("SERVFAIL", "NOERROR")
            assert not [r for r in answer.rr if r.rtype == QTYPE.AAAA]
        assert len(upstream.asked) < 60
        assert server.alive()


def test_dead_upstream_is_left_for_the_next(tmp_path: Path) -> None:
    """A refused port at once, a silent one within half a second; later ones first."""
    gone = {"address": "127.0.0.1", "port": free_port()}
    silence = Zone([], dict.fromkeys(("AAAA", "A"), "silence"))
    with (
        Upstream(silence) as silent,
        Upstream(ZONE) as alive,
        serving(tmp_path, [gone, silent, alive]) as server,
    ):
        began = time.monotonic()
        assert records(server.ask("a.ex", "A").rr) == ["a.ex A 192.0.2.1"]
        assert time.monotonic() - began < 0.8
        for _ in range(3):
            server.ask("a.ex", "A")
        began = time.monotonic()
        assert records(server.ask("a.ex", "A").rr) == ["a.ex A 192.0.2.1"]
        assert time.monotonic() - began < 0.2


def test_upstream_that_comes_back_is_used_again(tmp_path: Path) -> None:
    with (
        Upstream(Zone([], {"A": "silence"})) as first,
        Upstream(ZONE) as second,
        serving(tmp_path, [first, second]) as server,
    ):
        for _ in range(3):
            server.ask("a.ex", "A")
        first.script = Zone([SOA_LINE, "a IN A 192.0.2.99"])

        def back() -> bool:
            return records(server.ask("a.ex", "A").rr) == ["a.ex A 192.0.2.99"]

        wait_until(back)
        assert second.asked


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
def test_error_of_one_upstream_is_not_the_last_word(rcode: str, tmp_path: Path) -> None:
    refusing = Zone([], {"A": rcode, "AAAA": rcode})
    with (
        Upstream(refusing) as first,
        Upstream(ZONE) as second,
        serving(tmp_path, [first, second]) as server,
    ):
        for transport in TRANSPORTS:
            assert records(server.ask("a.ex", "AAAA", transport).rr) == SYNTHESISED
            assert records(server.ask("b.ex", "AAAA", transport).rr) == ["b.ex AAAA 2001:db8::1"]


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
def test_error_for_aaaa_counts_as_empty(rcode: str, tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, "a 60 IN A 192.0.2.1"], {"AAAA": rcode})
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            assert records(server.ask("a.ex", "AAAA", transport).rr) == SYNTHESISED


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "NXDOMAIN"])
def test_rcode_of_a_is_told(rcode: str, tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, "a IN TXT x"], {"A": rcode})
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            answer = server.ask("a.ex", "AAAA", transport)
            assert RCODE[answer.header.rcode] == rcode
            assert records(answer.rr) == []


def test_upstream_that_knows_no_edns(tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> bytes:
        if query.ar:
            reply = query.reply()
            reply.header.rcode = RCODE.FORMERR
            return bytes(reply.pack())
        return good(query)

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for _ in range(3):
            assert records(server.ask("a.ex", "AAAA", edns=1232).rr) == SYNTHESISED
        assert sum(wire[11] for wire in upstream.raw) == 1


def test_ordinary_answers_are_byte_exact(tmp_path: Path) -> None:
    """Any type, any record, compression and case as they came; only the id is the client's."""

    def reply_to(query: DNSRecord) -> DNSRecord:
        reply = query.reply(ra=1)
        reply.header.ad = 1
        for n, kind in enumerate((int(query.q.qtype), 65280, 99, 46)):
            reply.add_answer(RR(query.q.qname, kind, rdata=RD(bytes((n, 192, 12))), ttl=n))
        reply.add_auth(*RR.fromZone("Ex. 60 IN NS nS.eX."))
        reply.add_ar(RR("ns.ex.", 65281, 4, 5, RD(b"\0\1\2")))
        return reply

    def script(query: DNSRecord, transport: str) -> bytes:
        reply = reply_to(query)
        reply.add_ar(EDNS0(udp_len=4096))
        return bytes(reply.pack())

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            for kind in ("MX", "HTTPS", "SRV", "NAPTR", "TYPE4711"):
                if kind == "TYPE4711":
                    query = DNSRecord.question("n.ex")
                    query.q.qtype = 4711
                    asked = bytes(query.pack())
                else:
                    asked = question("N.ex", kind)
                    query = DNSRecord.parse(asked)
                got = server.exchange(asked, transport)
                assert got == bytes(reply_to(query).pack())


def test_opt_record_in_the_middle_is_taken_out(tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> bytes:
        reply = query.reply()
        reply.add_answer(*RR.fromZone("n.ex. 60 IN MX 5 mail.host.ex."))
        reply.add_ar(EDNS0(udp_len=4096))
        reply.add_ar(*RR.fromZone("mail.host.ex. 60 IN A 192.0.2.1"))
        return bytes(reply.pack())

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for edns in (None, 1232):
            answer = server.ask("n.ex", "MX", edns=edns)
            assert records(answer.rr) == ["n.ex MX 5 mail.host.ex"]
            assert records(answer.ar) == ["mail.host.ex A 192.0.2.1"]
            assert sum(r.rtype == QTYPE.OPT for r in answer.ar) == (edns is not None)


def test_equal_questions_are_asked_once(tmp_path: Path) -> None:
    """Clients that ask the same at the same time share the upstream's answer (RFC 5452)."""

    def script(query: DNSRecord, transport: str) -> Later:
        return Later(good(query), 0.3)

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
        wires = [question(name, "A") for name in ("a.ex", "A.ex", "a.EX", "A.EX") * 2]
        for sock, wire in zip(socks, wires, strict=True):
            sock.settimeout(5)
            sock.sendto(wire, ("127.0.0.1", server.port))
        for sock, wire in zip(socks, wires, strict=True):
            answer = sock.recv(4096)
            sock.close()
            assert answer[:2] == wire[:2]
            assert answer[12 : len(wire)] == wire[12:]
            assert answer.endswith(bytes((192, 0, 2, 1)))
        assert len(upstream.asked) == 1
