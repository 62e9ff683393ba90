"""What happens to a client's message, whatever brought it."""

import logging
from collections.abc import Callable
from ipaddress import ip_address

from dns64.edns import Ede, ExtendedError
from dns64.policy import Rules
from dns64.query import Refusal, read_query
from dns64.reply import Answer, Rule, failure, render, render_refusal, udp_limit
from dns64.resolver import Resolver
from dns64.settings import Network, Settings
from dns64.stats import Stats
from dns64.wire import REFUSED

_log = logging.getLogger("dns64")

Send = Callable[[bytes], None]

LONGEST = 65535
_REMEMBERED_CLIENTS = 10_000
_STRANGER = ExtendedError(Ede.PROHIBITED, b"this client's network is not served")
_TYPES = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    43: "DS",
    48: "DNSKEY",
    64: "SVCB",
    65: "HTTPS",
    255: "ANY",
}


class Front:
    """Reads, refuses, resolves, renders; knows which policy is whose."""

    def __init__(self, settings: Settings, resolver: Resolver, stats: Stats) -> None:
        self.resolver = resolver
        self._stats = stats
        self._udp_size = settings.limits.udp_size
        self._allow = settings.allow
        self._policies: list[tuple[tuple[Network, ...], Rules]] = [
            (
                policy.clients,
                Rules(
                    policy.prefixes,
                    policy.exclude_aaaa,
                    policy.ipv4_only,
                    policy.never_synthesise,
                    policy.translate_all,
                    policy.break_dnssec,
                    policy.recursive_only,
                ),
            )
            for policy in settings.policies
        ]
        self._clients: dict[str, tuple[bool, Rules | None]] = {}

    def handle(self, wire: bytes, client: str, transport: str, send: Send) -> bool:
        """Answer through ``send``, now or later, at most once. False: there will be no answer."""
        try:
            return self._handle(wire, client, transport, send)
        except Exception:
            # Whatever a message holds, the next one is to be answered.
            _log.exception("fault while reading a message from %s", client)
            self._stats.count("internal_errors")
            return False

    def _handle(self, wire: bytes, client: str, transport: str, send: Send) -> bool:
        query = read_query(wire)
        if query is None:
            self._stats.count("ignored", "runt" if len(wire) < 12 else "reply")
            return False
        allowed, rules = self._client(client)
        if isinstance(query, Refusal):
            if not allowed:
                self._stats.count("ignored", "stranger")
                return False
            self._stats.count("refused", f"rcode-{query.rcode}")
            send(render_refusal(query, self._udp_size))
            return True
        self._stats.count("queries", transport, _TYPES.get(query.question.type, "other"))
        limit = udp_limit(query, self._udp_size) if transport == "udp" else LONGEST

        def done(answer: Answer) -> None:
            self._stats.count("answers", answer.rule.value)
            self._stats.count("rcodes", str(answer.rcode))
            out = render(answer, query, self._udp_size, limit)
            if transport == "udp" and out[2] & 2:
                self._stats.count("truncated")
            send(out)

        if not allowed:
            self._stats.count("refused", "stranger")
            done(failure(query.question, REFUSED, Rule.REFUSED, _STRANGER))
            return True
        self.resolver.resolve(query, client, rules, done)
        return True

    def _client(self, client: str) -> tuple[bool, Rules | None]:
        known = self._clients.get(client)
        if known is None:
            if len(self._clients) >= _REMEMBERED_CLIENTS:
                self._clients.clear()
            address = ip_address(client.partition("%")[0])
            allowed = any(address in network for network in self._allow)
            rules = next(
                (
                    rules
                    for networks, rules in self._policies
                    if any(address in network for network in networks)
                ),
                None,
            )
            known = self._clients[client] = (allowed, rules)
        return known
