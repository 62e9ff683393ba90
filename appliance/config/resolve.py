"""Raw model → resolved values. Called only for a model that passed every check."""

import os
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from appliance.config import schema, values
from bpf import model

Address = IPv4Address | IPv6Address


def resolve(raw: schema.Configuration, cpus: int | None = None) -> values.Appliance:
    """``cpus`` stands for ``workers: auto``; None counts this machine's."""
    interfaces = tuple(_interface(name, one) for name, one in raw.interfaces.items())
    return values.Appliance(
        hostname=raw.hostname,
        interfaces=interfaces,
        routes=tuple(_route(route, interfaces) for route in raw.routes),
        translation=translation(raw.translation),
        resolver=_resolver(raw.dns64, interfaces, cpus or os.cpu_count() or 1),
    )


def xdp_of(raw: schema.Interface) -> schema.Xdp:
    if raw.xdp is not None:
        return raw.xdp
    return schema.Xdp.OFF if raw.role is schema.Role.MANAGEMENT else schema.Xdp.NATIVE


def _interface(name: str, raw: schema.Interface) -> values.Interface:
    vlan = values.VlanTag(raw.vlan.parent, raw.vlan.id) if raw.vlan else None
    return values.Interface(name, raw.role, raw.addresses, raw.mtu, xdp_of(raw), vlan)


def connected_interface(address: Address, interfaces: Iterable[values.Interface]) -> str | None:
    """The interface whose subnet holds ``address``; the longest subnet decides."""
    best: tuple[int, str] | None = None
    for interface in interfaces:
        for own in interface.addresses:
            if own.version == address.version and address in own.network:
                candidate = (own.network.prefixlen, interface.name)
                if best is None or candidate[0] > best[0]:
                    best = candidate
    return best[1] if best else None


def _route(raw: schema.Route, interfaces: tuple[values.Interface, ...]) -> values.Route:
    dev = raw.dev
    if dev is None:
        assert raw.via is not None, "a check holds: a route has a gateway or an interface"
        dev = connected_interface(raw.via, interfaces)
    assert dev is not None, "a check holds: the gateway is connected"
    return values.Route(raw.to, dev, raw.via, raw.metric)


def translation(raw: schema.Translation) -> model.Translation:
    return model.Translation(
        pref64=tuple(
            model.Pref64(one.prefix, one.ipv4_ranges, one.ipv6_hosts, one.allow_non_global)
            for one in raw.pref64
        ),
        eam=tuple(model.EamEntry(one.ipv4, one.ipv6, one.host) for one in raw.eam),
        rfc6791_ipv4=raw.rfc6791.ipv4,
        rfc6791_ipv6=raw.rfc6791.ipv6,
        lowest_ipv6_mtu=raw.lowest_ipv6_mtu,
        traffic_class=raw.traffic_class,
        tos=raw.tos,
        flow_label_hash=raw.flow_label is schema.FlowLabel.HASH,
        compute_udp_checksum=raw.udp_zero_checksum is schema.UdpZeroChecksum.COMPUTE,
        icmp_error_rate=raw.icmp_error_rate,
    )


def _resolver(
    raw: schema.Dns64 | None, interfaces: tuple[values.Interface, ...], cpus: int
) -> values.Resolver | None:
    if raw is None:
        return None
    listen = raw.listen
    if listen is None:
        listen = tuple(
            own.ip
            for interface in interfaces
            if interface.role is schema.Role.PODS
            for own in interface.addresses
        )
    workers = raw.workers if raw.workers is not None else cpus
    return values.Resolver(listen, raw.port, raw.upstreams, workers, raw.exclude)
