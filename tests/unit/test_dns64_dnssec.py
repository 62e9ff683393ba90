"""DNSSEC as RFC 6147 section 5.5 has it; the validator behind us is scripted."""

from pathlib import Path

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RD, RR, DNSRecord, EDNSOption

from tests.unit.dns64_rig import SOA_LINE, Upstream, Zone, extended_errors, records, serving

TRANSPORTS = ("udp", "tcp")
BOGUS = 6
SIGNED = Zone([SOA_LINE, "a 60 IN A 192.0.2.1", "b 60 IN AAAA 2001:db8::5", "c 60 IN CNAME a.ex."])


def rrsig(owner: str, covered: str) -> RR:
    data = getattr(QTYPE, covered).to_bytes(2, "big") + bytes(16) + b"\2ex\0" + b"signature"
    return RR(owner, QTYPE.RRSIG, rdata=RD(data), ttl=60)


class Validator:
    """What a validating resolver would say: AD and signatures; ``bogus`` types fail with CD=0."""

    def __init__(self, bogus: str = "", ede: bool = True) -> None:
        self.bogus = bogus
        self.ede = ede

    def __call__(self, query: DNSRecord, transport: str) -> bytes:
        kind = QTYPE[query.q.qtype]
        wire = SIGNED(query, transport)
        assert wire is not None
        reply = DNSRecord.parse(wire)
        edns = query.ar[0] if query.ar else None
        do = edns is not None and bool(edns.edns_do)
        if kind == self.bogus and not query.header.cd:
            reply = query.reply()
            reply.header.rcode = RCODE.SERVFAIL
            options = [EDNSOption(15, BOGUS.to_bytes(2, "big"))] if self.ede else []
            reply.add_ar(EDNS0(udp_len=1232, opts=options))
            return bytes(reply.pack())
        if do or query.header.ad:
            reply.header.ad = int(not query.header.cd)
        if do:
            for section in (reply.rr, reply.auth):
                section += [rrsig(str(r.rname), QTYPE[r.rtype]) for r in list(section)]
            reply.add_ar(EDNS0(flags="do", udp_len=1232))
        return bytes(reply.pack())


def types(section: list[RR]) -> list[str]:
    return [QTYPE[record.rtype] for record in section]


def test_synthesis_for_a_client_with_do(tmp_path: Path) -> None:
    with Upstream(Validator()) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            answer = server.ask("a.ex", "AAAA", transport, flags=("RD", "DO"))
            assert records(answer.rr) == ["a.ex AAAA 64:ff9b::c000:201"]
            assert answer.header.ad == 1
            assert extended_errors(answer) == [29]


def test_ad_only_for_who_understands_it(tmp_path: Path) -> None:
    with Upstream(Validator()) as upstream, serving(tmp_path, [upstream]) as server:
        assert server.ask("a.ex", "AAAA").header.ad == 0
        assert server.ask("a.ex", "AAAA", flags=("RD", "AD")).header.ad == 1


def test_no_ad_without_a_secure_denial(tmp_path: Path) -> None:
    validator = Validator()

    def script(query: DNSRecord, transport: str) -> bytes:
        wire = validator(query, transport)
        if query.q.qtype == QTYPE.AAAA:
            wire = wire[:3] + bytes((wire[3] & ~0x20,)) + wire[4:]
        return wire

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        answer = server.ask("a.ex", "AAAA", flags=("RD", "DO"))
        assert records(answer.rr) == ["a.ex AAAA 64:ff9b::c000:201"]
        assert answer.header.ad == 0


def test_signed_data_is_left_alone_by_setting(tmp_path: Path) -> None:
    policy = {"break_dnssec": False, "prefixes": [{"prefix": "2001:aaaa::/96"}]}
    with (
        Upstream(Validator()) as upstream,
        serving(tmp_path, [upstream], policies=[policy]) as server,
    ):
        for transport in TRANSPORTS:
            answer = server.ask("c.ex", "AAAA", transport, flags=("RD", "DO"))
            assert types(answer.rr) == ["CNAME", "RRSIG"]
            without = server.ask("c.ex", "AAAA", transport)
            assert records(without.rr) == ["c.ex CNAME a.ex", "a.ex AAAA 2001:aaaa::c000:201"]


def test_real_aaaa_keeps_its_signature(tmp_path: Path) -> None:
    with Upstream(Validator()) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            answer = server.ask("b.ex", "AAAA", transport, flags=("RD", "DO"))
            assert types(answer.rr) == ["AAAA", "RRSIG"]
            assert answer.header.ad == 1


def test_no_synthesis_with_cd(tmp_path: Path) -> None:
    with Upstream(Validator("AAAA")) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            answer = server.ask("a.ex", "AAAA", transport, flags=("RD", "DO", "CD"))
            assert RCODE[answer.header.rcode] == "NOERROR"
            assert "AAAA" not in types(answer.rr)
            assert answer.header.cd == 1


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("ede", [True, False])
def test_bogus_denial_is_never_a_synthesis(trusted: bool, ede: bool, tmp_path: Path) -> None:
    with Upstream(Validator("AAAA", ede)) as upstream:
        listed = {"address": upstream.address, "port": upstream.port, "trusted": trusted}
        with serving(tmp_path, [listed]) as server:
            for transport in TRANSPORTS:
                for _ in range(2):
                    answer = server.ask("a.ex", "AAAA", transport, flags=("RD", "DO"))
                    assert RCODE[answer.header.rcode] == "SERVFAIL"
                    assert records(answer.rr) == []
                    assert extended_errors(answer) == [BOGUS]
            rechecked = any(wire[3] & 0x10 for wire in upstream.raw)
            assert rechecked != (trusted and ede)


def test_bogus_a(tmp_path: Path) -> None:
    with Upstream(Validator("A")) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            answer = server.ask("a.ex", "AAAA", transport, flags=("RD", "DO"))
            assert RCODE[answer.header.rcode] == "SERVFAIL"
            assert records(answer.rr) == []
            assert extended_errors(answer) == [BOGUS]


def test_word_of_a_stranger_about_validation_is_not_taken(tmp_path: Path) -> None:
    """A SERVFAIL with a DNSSEC error from a remote forwarder that fails with CD=1 too is empty."""

    def script(query: DNSRecord, transport: str) -> bytes:
        if query.q.qtype == QTYPE.AAAA:
            query.header.cd = 0
            return Validator("AAAA")(query, transport)
        return Validator()(query, transport)

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        answer = server.ask("a.ex", "AAAA", flags=("RD", "DO"))
        assert records(answer.rr) == ["a.ex AAAA 64:ff9b::c000:201"]
        assert answer.header.ad == 0
