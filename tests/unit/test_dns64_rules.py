"""What DNS64-aware clients rely on beyond the public cases: local names, aliases, policies."""

from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from dnslib import CLASS, QTYPE, RCODE, RD, RR, DNSRecord

from tests.unit.dns64_rig import SOA_LINE, Upstream, Zone, records, serving

TRANSPORTS = ("udp", "tcp")
DNAME = 39
WKP = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa"
POINTER = "1.0.2.0.0.0.0.c." + WKP
REVERSE_SOA = f"{WKP} SOA {WKP} nobody.invalid 1 3600 1200 604800 600"
IPV4ONLY_SOA = (
    "ipv4only.arpa SOA sns.dns.icann.org noc.dns.icann.org 2020040300 7200 3600 604800 3600"
)
PTR_ZONE = [
    SOA_LINE,
    "1.2.0.192.in-addr.arpa. 77 PTR a.ex.",
    "2.2.0.192.in-addr.arpa. 60 CNAME 2.sub.2.0.192.in-addr.arpa.",
    "2.sub.2.0.192.in-addr.arpa. 30 PTR b.ex.",
    "3.2.0.192.in-addr.arpa. 77 TXT x",
]

LOCAL: dict[str, tuple[str, str, str, list[str], list[str]]] = {
    # name: (question, type, RCODE, answers, authority)
    "upper-case": (
        POINTER.upper(),
        "PTR",
        "NOERROR",
        [f"{POINTER.upper()} CNAME 1.2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa PTR a.ex"],
        [],
    ),
    "alias-in-in-addr": (
        POINTER.replace("1.0.2.0", "2.0.2.0", 1),
        "PTR",
        "NOERROR",
        [f"{POINTER.replace('1.0.2.0', '2.0.2.0', 1)} PTR b.ex"],
        [],
    ),
    "no-pointer": (
        POINTER.replace("1.0.2.0", "3.0.2.0", 1),
        "PTR",
        "NOERROR",
        [],
        [REVERSE_SOA],
    ),
    "no-name": (POINTER.replace("1.0.2.0", "4.0.2.0", 1), "PTR", "NXDOMAIN", [], [REVERSE_SOA]),
    "not-carried": ("1.0.0.0.0.0.a.0." + WKP, "PTR", "NXDOMAIN", [], [REVERSE_SOA]),
    "between": ("0.0.0.c." + WKP, "PTR", "NOERROR", [], [REVERSE_SOA]),
    "one-nibble": ("c." + WKP, "AAAA", "NOERROR", [], [REVERSE_SOA]),
    "apex": (WKP, "PTR", "NOERROR", [], [REVERSE_SOA]),
    "apex-soa": (WKP, "SOA", "NOERROR", [REVERSE_SOA], []),
    "no-nibble": ("g.0.2.0.0.0.0.c." + WKP, "PTR", "NXDOMAIN", [], [REVERSE_SOA]),
    "two-nibbles": ("01.2.0.0.0.0.c." + WKP, "PTR", "NXDOMAIN", [], [REVERSE_SOA]),
    "no-nibble-early": ("x." + WKP, "PTR", "NXDOMAIN", [], [REVERSE_SOA]),
    "text": (POINTER, "TXT", "NOERROR", [], [REVERSE_SOA]),
    "alias": (POINTER, "CNAME", "NOERROR", [f"{POINTER} CNAME 1.2.0.192.in-addr.arpa"], []),
    "ipv4only-a": (
        "IPv4only.ARPA",
        "A",
        "NOERROR",
        ["IPv4only.ARPA A 192.0.0.170", "IPv4only.ARPA A 192.0.0.171"],
        [],
    ),
    "ipv4only-mx": ("ipv4only.arpa", "MX", "NOERROR", [], [IPV4ONLY_SOA]),
    "ipv4only-https": ("ipv4only.arpa", "HTTPS", "NOERROR", [], [IPV4ONLY_SOA]),
    "ipv4only-ns": ("ipv4only.arpa", "NS", "NOERROR", [], [IPV4ONLY_SOA]),
    "ipv4only-soa": ("ipv4only.arpa", "SOA", "NOERROR", [IPV4ONLY_SOA], []),
    "ipv4only-below": ("x.ipv4only.arpa", "AAAA", "NXDOMAIN", [], [IPV4ONLY_SOA]),
    "ipv4only-reverse": (
        "170.0.0.192.in-addr.arpa",
        "PTR",
        "NOERROR",
        ["170.0.0.192.in-addr.arpa PTR ipv4only.arpa"],
        [],
    ),
    "ipv4only-reverse-6": (
        "b.a.0.0.0.0.0.c." + WKP,
        "PTR",
        "NOERROR",
        [
            f"b.a.0.0.0.0.0.c.{WKP} CNAME 171.0.0.192.in-addr.arpa",
            "171.0.0.192.in-addr.arpa PTR ipv4only.arpa",
        ],
        [],
    ),
}


def test_names_of_our_own(tmp_path: Path) -> None:
    with Upstream(Zone(PTR_ZONE)) as upstream, serving(tmp_path, [upstream]) as server:
        for name, (asked, kind, rcode, answers, authority) in LOCAL.items():
            for transport in TRANSPORTS:
                answer = server.ask(asked, kind, transport)
                assert RCODE[answer.header.rcode] == rcode, name
                assert records(answer.rr) == answers, name
                assert records(answer.auth) == authority, name
        for _, asked, _ in upstream.asked:
            assert asked.endswith(".2.0.192.in-addr.arpa.")


def test_discovery_with_cd_gives_no_synthesis(tmp_path: Path) -> None:
    with Upstream(Zone([])) as upstream, serving(tmp_path, [upstream]) as server:
        answer = server.ask("ipv4only.arpa", "AAAA", flags=("RD", "CD"))
        assert (records(answer.rr), records(answer.auth)) == ([], [IPV4ONLY_SOA])


def test_reverse_lookup_fails_as_the_upstream_does(tmp_path: Path) -> None:
    for rcode in ("SERVFAIL", "REFUSED"):
        with Upstream(Zone([], {"PTR": rcode})) as upstream:
            (tmp_path / rcode).mkdir()
            with serving(tmp_path / rcode, [upstream]) as server:
                assert RCODE[server.ask(POINTER, "PTR").header.rcode] == rcode


def test_other_reverse_names_go_upstream(tmp_path: Path) -> None:
    name = IPv6Address("2001:db8::1").reverse_pointer
    zone = Zone([SOA_LINE, f"{name}. 60 PTR native.ex."])
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        assert records(server.ask(name, "PTR").rr) == [f"{name} PTR native.ex"]
        assert server.ask("b.9.f.f.4.6.0.0.ip6.arpa", "PTR").header.rcode == RCODE.NXDOMAIN
        assert server.ask("ip6.arpa", "NS").header.rcode == RCODE.NOERROR
        assert len(upstream.asked) == 3


def dname_reply(with_alias: bool) -> Any:
    """old.ex is DNAME to new.ex; a.new.ex has an A record only, b.new.ex mapped AAAA too."""

    def script(query: DNSRecord, transport: str) -> bytes:
        name = str(query.q.qname)
        head = name.split(".")[0]
        lines = []
        if with_alias:
            lines.append(f"{name} 90 IN CNAME {head}.new.ex.")
        if query.q.qtype == QTYPE.A:
            lines.append(f"{head}.new.ex. 60 IN A 192.0.2.7")
        elif head == "b":
            lines += [f"b.new.ex. 60 IN AAAA {text}" for text in ("::ffff:c000:209", "2001::7")]
        elif head == "c":
            lines.append("c.new.ex. 60 IN AAAA ::ffff:c000:209")
        reply = query.reply()
        reply.add_answer(RR("old.ex", DNAME, rdata=RD(b"\3new\2ex\0"), ttl=90))
        for line in lines:
            reply.rr += Zone([line]).records
        if query.q.qtype == QTYPE.AAAA and head == "a":
            reply.auth += Zone([SOA_LINE]).records
        return bytes(reply.pack())

    return script


@pytest.mark.parametrize("with_alias", [True, False])
def test_dname(with_alias: bool, tmp_path: Path) -> None:
    with Upstream(dname_reply(with_alias)) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            for head, end in (("a", "64:ff9b::c000:207"), ("c", "64:ff9b::c000:207")):
                answer = server.ask(f"{head}.old.ex", "AAAA", transport)
                assert (str(answer.rr[0].rname), answer.rr[0].rtype) == ("old.ex.", DNAME)
                assert records(answer.rr[1:]) == [
                    f"{head}.old.ex CNAME {head}.new.ex",
                    f"{head}.new.ex AAAA {end}",
                ]
            answer = server.ask("b.old.ex", "AAAA", transport)
            assert answer.rr[0].rtype == DNAME
            kept = records(answer.rr)
            assert kept[-1] == "b.new.ex AAAA 2001::7"
            assert not any("ffff" in line for line in kept)


def test_translate_all_falls_back_to_real_addresses(tmp_path: Path) -> None:
    zone = Zone(
        [
            SOA_LINE,
            "both IN AAAA 2001:db8::1",
            "both IN A 192.0.2.1",
            "six IN AAAA 2001:db8::6",
            "private IN AAAA 2001:db8::7",
            "private IN A 10.0.0.1",
            "w.cluster.local. IN AAAA 2001:db8::8",
            "w.cluster.local. IN A 192.0.2.8",
        ]
    )
    policy = {"translate_all": True, "never_synthesise": ["cluster.local"]}
    expected = {
        "both.ex": "64:ff9b::c000:201",
        "six.ex": "2001:db8::6",
        "private.ex": "2001:db8::7",
        "w.cluster.local": "2001:db8::8",
    }
    with Upstream(zone) as upstream, serving(tmp_path, [upstream], policies=[policy]) as server:
        for name, address in expected.items():
            for transport in TRANSPORTS:
                answer = server.ask(name, "AAAA", transport)
                assert records(answer.rr) == [f"{name} AAAA {address}"]


def test_translate_all_stands_when_a_fails(tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, "six IN AAAA 2001:db8::6"], {"A": "SERVFAIL"})
    policy = {"translate_all": True}
    with Upstream(zone) as upstream, serving(tmp_path, [upstream], policies=[policy]) as server:
        assert records(server.ask("six.ex", "AAAA").rr) == ["six.ex AAAA 2001:db8::6"]


def test_case_of_the_question_is_echoed(tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, "a IN A 192.0.2.1", "b IN AAAA 2001:db8::1"])
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        for name in ("a.ex", "A.eX", "A.EX"):
            for transport in TRANSPORTS:
                answer = server.ask(name, "AAAA", transport)
                assert records(answer.rr) == [f"{name} AAAA 64:ff9b::c000:201"]


def test_other_classes_are_left_alone(tmp_path: Path) -> None:
    def script(query: DNSRecord, transport: str) -> bytes:
        return bytes(query.reply().pack())

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        query = DNSRecord.question("a.ex", "AAAA", "CH")
        answer = DNSRecord.parse(server.exchange(bytes(query.pack())))
        assert CLASS[answer.q.qclass] == "CH"
        assert answer.rr == []
        assert [kind for *_, kind in upstream.asked] == ["AAAA"]


def test_any_stays_untouched_after_a_synthesis(tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, "a IN A 192.0.2.1"])
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in TRANSPORTS:
            server.ask("a.ex", "AAAA", transport)
            assert records(server.ask("a.ex", "ANY", transport).rr) == ["a.ex A 192.0.2.1"]
