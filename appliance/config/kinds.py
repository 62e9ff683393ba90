"""Kinds of values: what is allowed, said once, and how it is read.

A kind stands in a field's annotation: ``prefix: Annotated[IPv6Network, PREF64]``. From it come
the check, the error text, the JSON Schema and the reference page.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from bpf.model import RFC6052_LENGTHS

JsonSchema = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """``allowed`` is what people are told; ``read`` raises ValueError for anything else."""

    allowed: str
    read: Callable[[object], object]
    json_schema: JsonSchema = field(default_factory=lambda: {"type": "string"})
    show: Callable[[Any], object] = str

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.value, serialization=core_schema.plain_serializer_function_ser_schema(self.show)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        return dict(self.json_schema)

    def value(self, given: object) -> object:
        """The domain value; every refusal says what is allowed."""
        try:
            return self.read(given)
        except ValueError as error:
            detail = error.args[0] if isinstance(error, Refused) else ""
            raise ValueError(detail or self.allowed) from None

    def or_null(self) -> "Kind":
        """The same kind, or nothing."""
        return Kind(
            f"{self.allowed}, or null",
            lambda given: None if given is None else self.read(given),
            {"anyOf": [self.json_schema, {"type": "null"}]},
            lambda value: None if value is None else self.show(value),
        )


class Refused(ValueError):
    """A refusal that says more than the kind's ``allowed``."""


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError
    return given


def _same(value: object) -> object:
    return value


def integer(low: int, high: int, what: str = "a whole number") -> Kind:
    def read(given: object) -> int:
        if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
            raise ValueError
        return given

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Kind(f"{what} from {low} to {high}", read, schema, _same)


def word_or_integer(word: str, low: int, high: int) -> Kind:
    """A word that stands for None, or an integer."""
    number = integer(low, high)

    def read(given: object) -> object:
        return None if given == word else number.read(given)

    return Kind(
        f"{word!r} or {number.allowed}",
        read,
        {"anyOf": [{"const": word}, number.json_schema]},
        lambda value: word if value is None else value,
    )


def choice(of: type[Enum]) -> Kind:
    words = [str(member.value) for member in of]

    def read(given: object) -> Enum:
        return of(_text(given))

    return Kind(
        " or ".join(repr(word) for word in words),
        read,
        {"enum": words},
        lambda member: member.value,
    )


def matching(pattern: str, allowed: str) -> Kind:
    compiled = re.compile(pattern, re.ASCII)

    def read(given: object) -> str:
        if not compiled.fullmatch(_text(given)):
            raise ValueError
        return _text(given)

    return Kind(allowed, read, {"type": "string", "pattern": f"^(?:{pattern})$"})


def _network(given: object) -> IPv4Network | IPv6Network:
    text = _text(given)
    if "%" in text:
        raise ValueError
    try:
        return ip_network(text)
    except ValueError:
        loose = ip_network(text, strict=False)
        if "/" in text and "." not in text.partition("/")[2]:
            raise Refused(f"no bits set beyond the length, as in {loose}") from None
        raise


def _read_ipv4_network(given: object) -> IPv4Network:
    network = _network(given)
    if not isinstance(network, IPv4Network):
        raise ValueError
    return network


def _read_ipv6_network(given: object) -> IPv6Network:
    network = _network(given)
    if not isinstance(network, IPv6Network):
        raise ValueError
    return network


def _read_address(given: object) -> IPv4Address | IPv6Address:
    text = _text(given)
    if "%" in text:
        raise Refused("an address without a zone (%); name the interface in its own setting")
    return ip_address(text)


def _read_ipv6_address(given: object) -> IPv6Address:
    address = _read_address(given)
    if not isinstance(address, IPv6Address):
        raise ValueError
    return address


def _read_interface_address(given: object) -> IPv4Interface | IPv6Interface:
    text = _text(given)
    if "/" not in text or "%" in text:
        raise ValueError
    value = ip_interface(text)
    address = value.ip
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise Refused("a unicast address, neither loopback nor unspecified")
    if isinstance(value, IPv4Interface):
        if value.network.prefixlen <= 30 and address in (
            value.network.network_address,
            value.network.broadcast_address,
        ):
            raise Refused("a host's address, neither the network's own nor its broadcast address")
        return value
    if value.network.prefixlen <= 126 and address == value.network.network_address:
        raise Refused("a host's address, not the subnet-router anycast address")
    return value


def _read_pref64(given: object) -> IPv6Network:
    network = _read_ipv6_network(given)
    if network.prefixlen not in RFC6052_LENGTHS:
        raise ValueError
    if network.prefixlen == 96 and network.network_address.packed[8]:
        raise Refused("a /96 whose bits 64 to 71 are zero (RFC 6052 section 2.2)")
    return network


@dataclass(frozen=True)
class Upstream:
    """A name server: an address and a port."""

    address: IPv4Address | IPv6Address
    port: int = 53

    def __str__(self) -> str:
        return str(self.address) if self.port == 53 else f"{self.address}@{self.port}"


def _read_upstream(given: object) -> Upstream:
    address, at, port = _text(given).partition("@")
    if not at:
        return Upstream(_read_address(address))
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError
    return Upstream(_read_address(address), int(port))


def _show_ipv6_network(network: IPv6Network) -> str:
    """The same text with every Python: 3.13 writes mapped addresses half in dotted form."""
    mapped = network.network_address.ipv4_mapped
    if mapped is None:
        return str(network)
    number = int(mapped)
    return f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}/{network.prefixlen}"


IPV4_NETWORK = Kind("an IPv4 network, as in 198.51.100.0/24", _read_ipv4_network)
IPV6_NETWORK = Kind(
    "an IPv6 network, as in 2001:db8:64::/64", _read_ipv6_network, show=_show_ipv6_network
)
NETWORK = Kind("an IPv4 or IPv6 network, as in 0.0.0.0/0 or 2001:db8::/32", _network)
ADDRESS = Kind("an IPv4 or IPv6 address", _read_address)
IPV6_ADDRESS = Kind("an IPv6 address", _read_ipv6_address)
INTERFACE_ADDRESS = Kind(
    "an address with its subnet's length, as in 192.0.2.1/24", _read_interface_address
)
PREF64 = Kind(
    "an IPv6 prefix of length "
    + ", ".join(map(str, RFC6052_LENGTHS[:-1]))
    + f" or {RFC6052_LENGTHS[-1]} (RFC 6052)",
    _read_pref64,
)
UPSTREAM = Kind("a name server's address, with @PORT when that is not 53", _read_upstream)
INTERFACE_NAME = matching(
    r"(?!\.{1,2}$)(?!all$)(?!default$)[A-Za-z0-9_.\-]{1,15}",
    "a network interface's name: 1 to 15 letters, digits, '.', '-' or '_'; not 'all' or 'default'",
)
HOST_NAME = matching(
    r"(?=.{1,64}$)[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?)*",
    "a host name: labels of letters, digits and '-', 64 characters at most",
)
