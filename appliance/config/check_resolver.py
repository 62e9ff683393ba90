"""Checks of the resolver."""

from collections.abc import Iterator

from appliance.config.problems import Problem
from appliance.config.schema import Configuration, Role


def check_resolver(raw: Configuration) -> Iterator[Problem]:
    dns64 = raw.dns64
    if dns64 is None:
        return
    if not raw.translation.pref64:
        yield Problem(
            ("dns64",), "a resolver without any translation.pref64", "a prefix to synthesise with"
        )
    own = {a.ip: (name, one.role) for name, one in raw.interfaces.items() for a in one.addresses}
    if dns64.listen is None:
        if not any(role is Role.PODS for _, role in own.values()):
            yield Problem(
                ("dns64",),
                "no listen, and no pods interface with an address",
                "dns64.listen, or such an interface",
            )
    else:
        for index, address in enumerate(dns64.listen):
            path = ("dns64", "listen", index)
            if address in dns64.listen[:index]:
                yield Problem(path, f"{address} again", "each address once")
            elif address not in own and not address.is_loopback:
                known = ", ".join(str(one) for one in own) or "there are none"
                yield Problem(path, f"{address} is no address of the box", f"one of: {known}")
    for index, upstream in enumerate(dns64.upstreams):
        path = ("dns64", "upstreams", index)
        if upstream in dns64.upstreams[:index]:
            yield Problem(path, f"{upstream} again", "each name server once")
        if upstream.port == dns64.port and (upstream.address in own):
            yield Problem(path, f"{upstream} is the box's own resolver", "another name server")
        if upstream.address.is_unspecified or upstream.address.is_multicast:
            yield Problem(path, f"found {upstream}", "a unicast address")
