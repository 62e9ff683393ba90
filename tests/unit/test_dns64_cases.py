"""The public cases of DNS64 behaviour, each asked over UDP and TCP, IPv4 and IPv6.

A row has the number and name under which the case is known. ``NOT_YET`` says which cases wait for
what, so that none is forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dnslib import QTYPE, RCODE

from tests.unit.dns64_rig import SOA_LINE, Upstream, Zone, extended_errors, records, serving

WKP = "64:ff9b::/96"
# RFC 6147's map_a with its private ranges denied: what is left of all IPv4 addresses.
PUBLIC = [
    *(f"{n}.0.0.0/8" for n in range(1, 224) if n not in (10, 172, 192)),
    *(f"172.{n}.0.0/16" for n in range(256) if not 16 <= n < 32),
    *(f"192.{n}.0.0/16" for n in range(256) if n != 168),
]
EXCLUDING: dict[str, Any] = {
    "prefixes": [{"prefix": "2001:aaaa::/96", "ipv4_ranges": PUBLIC}],
    "exclude_aaaa": ["2001:eeee::/32", "64:ff9b::/96", "::ffff:0:0/96"],
}
R105 = "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa"


@dataclass(frozen=True)
class Case:
    number: int
    name: str
    zone: Sequence[str]
    query: str
    answers: Sequence[str]
    rcode: str = "NOERROR"
    ttl: int | None = None
    authority: Sequence[str] | None = None
    policy: dict[str, Any] = field(default_factory=lambda: {"prefixes": [{"prefix": WKP}]})
    overrides: dict[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ("RD",)
    follows: bool = True

    def __str__(self) -> str:
        return f"{self.number}-{self.name}"


def prefix(text: str) -> dict[str, Any]:
    return {"prefixes": [{"prefix": text}]}


SOA = "ex SOA ns.ex h.ex 1 3600 900 604800 60"
ZONE = [SOA_LINE]
CASES = [
    Case(1, "a_only_synthesised", [*ZONE, "a 300 IN A 192.0.2.1"], "a.ex AAAA",
         ["a.ex AAAA 64:ff9b::c000:201"], ttl=100),
    Case(3, "ttl_a_lower_than_soa", ["@ 70 IN SOA ns. h. 1 1 1 1 70", "a 60 IN A 192.0.2.42"],
         "a.ex AAAA", ["a.ex AAAA 64:ff9b::c000:22a"], ttl=60),
    Case(5, "ttl_zone_min1200_a500", ["@ 3600 IN SOA ns. h. 0 0 0 0 1200", "a 500 IN A 5.6.7.8"],
         "a.ex AAAA", ["a.ex AAAA 64:ff9b::506:708"], ttl=500),
    Case(7, "ttl_zone_min1200_a1100",
         ["@ 3600 IN SOA ns. h. 0 0 0 0 1200", "a 1100 IN A 5.6.7.8"],
         "a.ex AAAA", ["a.ex AAAA 64:ff9b::506:708"], ttl=1100),
    Case(9, "ttl_no_soa_cap_600_long", ["a 5000 IN A 192.0.2.43"], "a.ex AAAA",
         ["a.ex AAAA 64:ff9b::c000:22b"], ttl=600, overrides={"AAAA": "empty"}),
    Case(11, "aaaa_only_passthrough", [*ZONE, "b 300 IN AAAA 2001:db8::1"], "b.ex AAAA",
         ["b.ex AAAA 2001:db8::1"], ttl=300),
    Case(13, "aaaa_multi_ttl_untouched",
         [*ZONE, "b 60 IN AAAA 2001:db8::1", "b 60 IN AAAA 2001:db8::2"], "b.ex AAAA",
         ["b.ex AAAA 2001:db8::1", "b.ex AAAA 2001:db8::2"], ttl=60),
    Case(15, "a_query_nodata", [*ZONE, "b IN AAAA 2001:db8::1"], "b.ex A", [], authority=[SOA]),
    Case(17, "neither_a_nor_aaaa_nodata", [*ZONE, 't IN TXT "x"'], "t.ex AAAA", [],
         authority=[SOA]),
    Case(19, "nxdomain_on_aaaa_but_a_exists", [*ZONE, "a IN A 192.0.2.8"], "a.ex AAAA", [],
         "NXDOMAIN", authority=[SOA], overrides={"AAAA": "NXDOMAIN"}),
    Case(21, "aaaa_refused_then_a", ["a 60 IN A 192.0.2.42"], "a.ex AAAA",
         ["a.ex AAAA 64:ff9b::c000:22a"], ttl=60, overrides={"AAAA": "REFUSED"}),
    Case(23, "aaaa_formerr_then_a", ["a 60 IN A 192.0.2.42"], "a.ex AAAA",
         ["a.ex AAAA 64:ff9b::c000:22a"], ttl=60, overrides={"AAAA": "FORMERR"}),
    Case(25, "a_servfail_after_aaaa_nodata", [*ZONE, "a IN TXT x"], "a.ex AAAA", [], "SERVFAIL",
         overrides={"A": "SERVFAIL"}),
    Case(27, "aaaa_with_unrelated_answer_only",
         [*ZONE, "c IN CNAME a.ex.", "a 60 IN A 192.0.2.42"], "c.ex AAAA",
         ["c.ex CNAME a.ex", "a.ex AAAA 64:ff9b::c000:22a"], follows=False),
    Case(29, "cname_chain_two_hops",
         [*ZONE, "c1 IN CNAME c2.ex.", "c2 IN CNAME a.ex.", "a IN A 192.0.2.42"], "c1.ex AAAA",
         ["c1.ex CNAME c2.ex", "c2.ex CNAME a.ex", "a.ex AAAA 64:ff9b::c000:22a"]),
    Case(31, "cname_to_a_and_aaaa",
         [*ZONE, "c IN CNAME d.ex.", "d IN A 1.2.3.6", "d IN AAAA 2001::1"], "c.ex AAAA",
         ["c.ex CNAME d.ex", "d.ex AAAA 2001::1"]),
    Case(33, "cname_to_nxdomain", [*ZONE, "c IN CNAME nope.ex."], "c.ex AAAA",
         ["c.ex CNAME nope.ex"], "NXDOMAIN"),
    Case(37, "excluded_aaaa_unmappable_a",
         [*ZONE, "x IN AAAA 2001:eeee::2", "x IN A 10.0.0.1"], "x.ex AAAA", [], policy=EXCLUDING),
    Case(39, "partly_excluded_no_a",
         [*ZONE, "x IN AAAA 2001:eeee::3", "x IN AAAA 2001::3"], "x.ex AAAA",
         ["x.ex AAAA 2001::3"], policy=EXCLUDING),
    Case(41, "partly_excluded_good_a",
         [*ZONE, "x IN AAAA 2001:eeee::1", "x IN AAAA 2001::1", "x IN A 1.2.3.4"], "x.ex AAAA",
         ["x.ex AAAA 2001::1"], policy=EXCLUDING),
    Case(43, "cname_excluded_bad_a",
         [*ZONE, "c IN CNAME x.ex.", "x IN AAAA 2001:eeee::2", "x IN A 10.0.0.1"], "c.ex AAAA",
         ["c.ex CNAME x.ex"], policy=EXCLUDING),
    Case(45, "default_exclude_v4mapped_with_a",
         [*ZONE, "m IN AAAA ::ffff:c000:209", "m IN A 192.0.2.5"], "m.ex AAAA",
         ["m.ex AAAA 64:ff9b::c000:205"]),
    Case(47, "default_exclude_mixed",
         [*ZONE, "m IN AAAA 2001:eeee::4", "m IN AAAA ::ffff:102:304", "m IN A 1.2.3.5"],
         "m.ex AAAA", ["m.ex AAAA 2001:eeee::4"]),
    Case(49, "exclude_all_forces_synthesis",
         [*ZONE, "d IN AAAA 2001:db8::2", "d IN A 192.0.2.4"], "d.ex AAAA",
         ["d.ex AAAA 64:ff9b::c000:204"], policy={"translate_all": True}),
    Case(51, "ignore_aaaa_domain", [*ZONE, "i IN AAAA 1:2:3::4", "i IN A 5.6.7.8"], "i.ex AAAA",
         ["i.ex AAAA 64:ff9b::506:708"], policy={"ipv4_only": ["i.ex"]}),
    Case(51, "ignore_aaaa_subdomain", [*ZONE, "w.i IN AAAA 1:2:3::4", "w.i IN A 5.6.7.8"],
         "w.i.ex AAAA", ["w.i.ex AAAA 64:ff9b::506:708"], policy={"ipv4_only": ["i.ex"]}),
    Case(53, "ignore_aaaa_cd_query", [*ZONE, "i IN AAAA 1:2:3::4", "i IN A 5.6.7.8"],
         "i.ex AAAA", ["i.ex AAAA 1:2:3::4"], policy={"ipv4_only": ["i.ex"]}, flags=("RD", "CD")),
    Case(55, "unmappable_a_via_cname", [*ZONE, "c IN CNAME p.ex.", "p IN A 10.0.0.2"],
         "c.ex AAAA", ["c.ex CNAME p.ex"], policy=EXCLUDING),
    Case(57, "wkp_private_a_default", [*ZONE, "p IN A 10.1.2.3"], "p.ex AAAA", [],
         authority=[SOA]),
    Case(59, "rfc6052_len_96", [*ZONE, "a IN A 64.64.64.64"], "a.ex AAAA",
         ["a.ex AAAA 64:ff9b::4040:4040"]),
    Case(61, "rfc6052_len_56", [*ZONE, "a IN A 64.64.64.64"], "a.ex AAAA",
         ["a.ex AAAA 64:ff9b:0:40:40:4040::"], policy=prefix("64:ff9b::/56")),
    Case(63, "rfc6052_len_40", [*ZONE, "a IN A 64.64.64.64"], "a.ex AAAA",
         ["a.ex AAAA 2001:db8:140:4040:40::"], policy=prefix("2001:db8:100::/40")),
    Case(69, "default_prefix_is_wkp", [*ZONE, "a 300 IN A 192.0.2.1"], "a.ex AAAA",
         ["a.ex AAAA 64:ff9b::c000:201"], policy={"prefixes": []}),
    Case(81, "recursive_only_norec_excluded_kept", [*ZONE, "x IN AAAA 2001:eeee::3"],
         "x.ex AAAA", ["x.ex AAAA 2001:eeee::3"], flags=(),
         policy={**prefix("2001:bbbb::/96"), "recursive_only": True,
                 "exclude_aaaa": ["2001:eeee::/32"]}),
    Case(83, "any_query_not_synthesised", [*ZONE, "a IN A 192.0.2.1"], "a.ex ANY",
         ["a.ex A 192.0.2.1"]),
    Case(95, "dnssec_nodo_signed_synthesised", [*ZONE, "a IN A 1.2.3.5"], "a.ex AAAA",
         ["a.ex AAAA 2001:aaaa::102:305"], policy=EXCLUDING),
    Case(97, "dnssec_cd_without_do", [*ZONE, "a IN A 192.0.2.1"], "a.ex AAAA", [],
         authority=[SOA], flags=("RD", "CD")),
    Case(105, "ptr_cname_form", ["1.2.0.192.in-addr.arpa. 77 PTR a.ex."], f"{R105} PTR",
         [f"{R105} CNAME 1.2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa PTR a.ex"], ttl=77),
    Case(107, "ptr_target_nxdomain", [*ZONE], f"{R105} PTR", [], "NXDOMAIN"),
    Case(113, "ptr_too_long", [*ZONE], f"x.{R105} PTR", [], "NXDOMAIN"),
    Case(115, "ptr_aaaa_at_synth_name", [*ZONE], f"{R105} AAAA", []),
    Case(117, "ipv4only_aaaa", [], "ipv4only.arpa AAAA",
         ["ipv4only.arpa AAAA 64:ff9b::c000:aa", "ipv4only.arpa AAAA 64:ff9b::c000:ab"]),
    Case(119, "ipv4only_multi_prefix", [], "ipv4only.arpa AAAA",
         ["ipv4only.arpa AAAA 2001:bbbb::c000:aa", "ipv4only.arpa AAAA 2001:bbbb::c000:ab",
          "ipv4only.arpa AAAA 2001:aaaa::c0:0:aa00:0", "ipv4only.arpa AAAA 2001:aaaa::c0:0:ab00:0"],
         policy={"prefixes": [{"prefix": "2001:bbbb::/96"}, {"prefix": "2001:aaaa::/64"}]}),
    Case(121, "ipv4only_other_types", [], "ipv4only.arpa TXT", [],
         authority=["ipv4only.arpa SOA sns.dns.icann.org noc.dns.icann.org"
                    " 2020040300 7200 3600 604800 3600"]),
    Case(137, "local_data_a_only", ["lan. 60 IN SOA ns.lan. h.lan. 1 1 1 1 60",
                                    "foo.lan. 60 IN A 192.168.20.135"],
         "foo.lan AAAA", ["foo.lan AAAA 2001:db8:64::c0a8:1487"],
         policy=prefix("2001:db8:64::/96")),
]  # fmt: skip

# Cases with a test of their own below or in another file.
ELSEWHERE = {
    35: "test_alias_that_the_upstream_does_not_follow",
    65: "test_dns64_settings.py",
    67: "test_dns64_settings.py",
    73: "test_each_client_network_has_its_prefix",
    75: "test_each_client_network_has_its_prefix",
    79: "every row: asked over IPv6 too",
    85: "test_dns64_upstream.py",
    87: "every row: asked over TCP too",
    89: "test_rest_of_the_a_reply_stays",
    99: "test_dns64_dnssec.py, its validator scripted",
    101: "test_dns64_dnssec.py, its validator scripted",
    103: "test_dns64_dnssec.py, its validator scripted",
    91: "test_dns64_dnssec.py, its validator scripted",
    93: "test_dns64_dnssec.py, its validator scripted",
    109: "test_pointers_under_every_prefix_length",
    125: "test_a_changed_answer_is_seen_at_once",
    135: "test_redirected_nxdomain",
    139: "test_malformed_address_data",
}
NOT_YET = {
    71: "exclusions that belong to one prefix of several",
    127: "serve-stale: there is no cache yet",
}
EVERY_NUMBER = {
    *(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47),
    *(49, 51, 53, 55, 57, 59, 61, 63, 65, 67, 69, 71, 73, 75, 79, 81, 83, 85, 87, 89, 91, 93, 95),
    *(97, 99, 101, 103, 105, 107, 109, 113, 115, 117, 119, 121, 125, 127, 135, 137, 139),
}


def test_no_case_is_forgotten() -> None:
    listed = {case.number for case in CASES} | ELSEWHERE.keys() | NOT_YET.keys()
    assert len(EVERY_NUMBER) == 64
    assert listed == EVERY_NUMBER


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, tmp_path: Path) -> None:
    upstream = Upstream(Zone(case.zone, case.overrides, case.follows))
    with upstream, serving(tmp_path, [upstream], policies=[case.policy]) as server:
        name, kind = case.query.split()
        for transport in ("udp", "tcp"):
            for address in server.addresses:
                for edns in (None, 1232):
                    answer = server.ask(name, kind, transport, address, case.flags, edns)
                    assert RCODE[answer.header.rcode] == case.rcode
                    assert records(answer.rr) == case.answers
                    assert not answer.header.tc
                    if case.ttl is not None:
                        assert {record.ttl for record in answer.rr} == {case.ttl}
                    if case.authority is not None:
                        assert records(answer.auth) == case.authority
                    assert any(record.rtype == QTYPE.OPT for record in answer.ar) == bool(edns)
                    _check_synthesized_is_said(answer, bool(edns))


def _check_synthesized_is_said(answer: Any, edns: bool) -> None:
    """Extended error 29 exactly where an address under a prefix was made (RFC 8914)."""
    made = any(
        (
            record.rtype == QTYPE.AAAA
            and str(record.rdata).startswith(("64:ff9b:", "2001:aaaa:", "2001:bbbb:", "2001:db8:1"))
        )
        or str(record.rdata).startswith("2001:db8:64:")
        or (record.rtype == QTYPE.CNAME and "in-addr" in str(record.rdata))
        for record in answer.rr
    )
    assert extended_errors(answer) == ([29] if made and edns else [])


def test_alias_that_the_upstream_does_not_follow(tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, "c IN CNAME d.ex.", "d IN AAAA 2001:db8::1", "d IN A 1.2.3.4"],
                follows=False)  # fmt: skip
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        answer = server.ask("c.ex", "AAAA")
    assert records(answer.rr) == ["c.ex CNAME d.ex", "d.ex AAAA 2001:db8::1"]


def test_each_client_network_has_its_prefix(tmp_path: Path) -> None:
    excluded = ["2001:eeee::/32"]
    policies = [
        {**prefix("2001:aaaa::/96"), "clients": ["127.0.0.1/32"], "exclude_aaaa": excluded},
        {**prefix("2001:bbbb::/96"), "clients": ["::1/128"], "exclude_aaaa": excluded},
    ]
    zone = Zone([SOA_LINE, "a IN A 1.2.3.5", "x IN AAAA 2001:eeee::3"])
    with Upstream(zone) as upstream, serving(tmp_path, [upstream], policies=policies) as server:
        for transport in ("udp", "tcp"):
            first = server.ask("a.ex", "AAAA", transport)
            second = server.ask("a.ex", "AAAA", transport, "::1")
            assert records(first.rr) == ["a.ex AAAA 2001:aaaa::102:305"]
            assert records(second.rr) == ["a.ex AAAA 2001:bbbb::102:305"]
            assert records(server.ask("x.ex", "AAAA", transport).rr) == []
    (tmp_path / "none").mkdir()
    policies = [{**policies[1], "clients": ["192.0.2.0/24"]}]
    with (
        Upstream(zone) as upstream,
        serving(tmp_path / "none", [upstream], policies=policies) as server,
    ):
        assert records(server.ask("x.ex", "AAAA").rr) == ["x.ex AAAA 2001:eeee::3"]
        assert records(server.ask("a.ex", "AAAA").rr) == []


def test_rest_of_the_a_reply_stays(tmp_path: Path) -> None:
    from dnslib import RR, DNSRecord

    zone = Zone([SOA_LINE, "a IN A 192.0.2.1"])

    def script(query: DNSRecord, transport: str) -> bytes | None:
        wire = zone(query, transport)
        if query.q.qtype != QTYPE.A or wire is None:
            return wire
        reply = DNSRecord.parse(wire)
        reply.add_auth(*RR.fromZone("ex. 300 IN NS ns.ex."))
        reply.add_ar(*RR.fromZone("ns.ex. 300 IN A 192.0.2.53"))
        return bytes(reply.pack())

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in ("udp", "tcp"):
            answer = server.ask("a.ex", "AAAA", transport)
            assert records(answer.rr) == ["a.ex AAAA 64:ff9b::c000:201"]
            assert records(answer.auth) == ["ex NS ns.ex"]
            assert records(answer.ar) == ["ns.ex A 192.0.2.53"]


REVERSED = {
    "2001:32::/32": "2001:32:102:305::",
    "2001:40::/40": "2001:40:1:203:5::",
    "2001:48::/48": "2001:48:0:102:3:500::",
    "2001:56::/56": "2001:56:0:1:2:305::",
    "2001:64::/64": "2001:64::1:203:500:0",
    "2001:96::/96": "2001:96::102:305",
}


def test_pointers_under_every_prefix_length(tmp_path: Path) -> None:
    from ipaddress import IPv6Address

    policy = {"prefixes": [{"prefix": text} for text in REVERSED]}
    zone = Zone([SOA_LINE, "5.3.2.1.in-addr.arpa. 60 PTR host.ex."])
    with Upstream(zone) as upstream, serving(tmp_path, [upstream], policies=[policy]) as server:
        for text in REVERSED.values():
            name = IPv6Address(text).reverse_pointer
            for asked in (name, name.upper()):
                for transport in ("udp", "tcp"):
                    answer = server.ask(asked, "PTR", transport)
                    assert records(answer.rr) == [
                        f"{asked} CNAME 5.3.2.1.in-addr.arpa",
                        "5.3.2.1.in-addr.arpa PTR host.ex",
                    ]


def test_a_changed_answer_is_seen_at_once(tmp_path: Path) -> None:
    zone = Zone([SOA_LINE, "www3 IN AAAA 2001:db8::5"])
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        assert records(server.ask("www3.ex", "AAAA").rr) == ["www3.ex AAAA 2001:db8::5"]
        upstream.script = Zone([SOA_LINE, "www3 IN AAAA 2001:db8::6"])
        assert records(server.ask("www3.ex", "AAAA").rr) == ["www3.ex AAAA 2001:db8::6"]


def test_redirected_nxdomain(tmp_path: Path) -> None:
    zone = Zone([". 60 IN SOA ns. h. 1 1 1 1 60", "no-exist. 60 IN A 198.51.100.9"])
    with Upstream(zone) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in ("udp", "tcp"):
            answer = server.ask("no-exist", "AAAA", transport)
            assert records(answer.rr) == ["no-exist AAAA 64:ff9b::c633:6409"]
        assert server.alive()


@pytest.mark.parametrize("data", [b"", b"\1\2\3", b"\1\2\3\4\5"], ids=len)
def test_malformed_address_data(data: bytes, tmp_path: Path) -> None:
    from dnslib import RD, RR, DNSRecord

    zone = Zone([SOA_LINE, "a IN TXT x"])

    def script(query: DNSRecord, transport: str) -> bytes | None:
        if query.q.qtype != QTYPE.A:
            return zone(query, transport)
        reply = query.reply()
        reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=RD(data), ttl=60))
        return bytes(reply.pack())

    with Upstream(script) as upstream, serving(tmp_path, [upstream]) as server:
        for transport in ("udp", "tcp"):
            answer = server.ask("a.ex", "AAAA", transport)
            assert RCODE[answer.header.rcode] == "SERVFAIL"
            assert records(answer.rr) == []
        assert server.alive()
