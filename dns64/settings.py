"""What a worker is told: one JSON document, checked whole, as frozen values.

``Settings`` is the schema; every field has its unit and default here. The control plane builds one
and calls ``write_settings``; a worker reads it at start and again on SIGHUP.
"""

import json
import os
import pwd
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeAlias

from bpf.model import Pref64
from dns64.codec import dump, load
from dns64.errors import Dns64Error
from dns64.names import from_text
from dns64.policy import MAPPED

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

EVERYONE: tuple[Network, ...] = (IPv6Network("::/0"), IPv4Network("0.0.0.0/0"))


class SettingsError(Dns64Error):
    """``errors``: one line each, with the path in the document."""

    def __init__(self, source: str, errors: list[str]) -> None:
        lines = "".join(f"\n  {line}" for line in errors)
        super().__init__(f"{source}: {len(errors)} error(s){lines}")
        self.errors = tuple(errors)


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is not within 1 to 65535")


@dataclass(frozen=True)
class Listen:
    """An address to answer at, over UDP and TCP. It need not be on an interface yet."""

    address: Address
    port: int = 53

    def __post_init__(self) -> None:
        _check_port(self.port)


@dataclass(frozen=True)
class Upstream:
    """A resolver to ask. ``trusted``: the validator on this box, whose extended errors count."""

    address: Address
    port: int = 53
    trusted: bool = False

    def __post_init__(self) -> None:
        _check_port(self.port)
        if self.address.is_unspecified or self.address.is_multicast:
            raise ValueError(f"{self.address} cannot be asked")
        if self.trusted and not self.address.is_loopback:
            raise ValueError(f"{self.address}: only an upstream on loopback can be trusted")


@dataclass(frozen=True)
class Policy:
    """DNS64 for the clients of some networks. The first policy that names a client decides.

    ``prefixes``: none means the well-known prefix. ``exclude_aaaa``: AAAA records in these ranges
    count as not there. ``ipv4_only``: domains whose AAAA records are ignored.
    ``never_synthesise``: domains that are forwarded as they are. ``translate_all``: A before real
    AAAA records, which stand where there is no A. ``break_dnssec``: synthesise also for clients
    that asked for signatures. ``recursive_only``: forward queries without RD as they are.
    """

    clients: tuple[Network, ...] = EVERYONE
    prefixes: tuple[Pref64, ...] = ()
    exclude_aaaa: tuple[IPv6Network, ...] = (MAPPED,)
    ipv4_only: tuple[str, ...] = ()
    never_synthesise: tuple[str, ...] = ()
    translate_all: bool = False
    break_dnssec: bool = True
    recursive_only: bool = False

    def __post_init__(self) -> None:
        for name in self.ipv4_only + self.never_synthesise:
            try:
                from_text(name)
            except (Dns64Error, UnicodeError, IndexError) as error:
                raise ValueError(f"{name!r} is no domain name: {error}") from None


@dataclass(frozen=True)
class Limits:
    """Bounds of one worker.

    ``outstanding``, ``outstanding_per_client``: queries that wait for an upstream. ``tcp`` and
    ``tcp_per_client``: connections. ``tcp_idle_s``: seconds. ``udp_size``: the largest UDP answer
    in bytes, and the size announced to clients and upstreams (EDNS).
    """

    outstanding: int = 2000
    outstanding_per_client: int = 200
    tcp: int = 500
    tcp_per_client: int = 50
    tcp_idle_s: float = 10.0
    udp_size: int = 1232

    def __post_init__(self) -> None:
        if not 512 <= self.udp_size <= 4096:
            raise ValueError(f"udp_size {self.udp_size} is not within 512 to 4096")
        for name in ("outstanding", "outstanding_per_client", "tcp", "tcp_per_client"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is less than 1")
        if not self.tcp_idle_s > 0:
            raise ValueError("tcp_idle_s is not more than 0")


@dataclass(frozen=True)
class Settings:
    """Everything a worker does.

    ``upstreams``: in the order in which they are asked. ``allow``: networks that are answered at
    all. ``user``: whom a worker started by root becomes once its sockets are bound; None: it stays.
    ``stats_dir``: where ``worker-N.json`` is written; None: nowhere. ``randomise_case``: 0x20.
    """

    listen: tuple[Listen, ...]
    upstreams: tuple[Upstream, ...]
    policies: tuple[Policy, ...] = (Policy(),)
    allow: tuple[Network, ...] = EVERYONE
    user: str | None = None
    stats_dir: str | None = None
    randomise_case: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.listen:
            raise ValueError("listen: at least one address is needed")
        if not self.upstreams:
            raise ValueError("upstreams: at least one is needed")
        for name in ("listen", "upstreams"):
            ends = [(entry.address, entry.port) for entry in getattr(self, name)]
            if len(set(ends)) < len(ends):
                raise ValueError(f"{name}: an address and port is there twice")
        if self.user is not None:
            try:
                pwd.getpwnam(self.user)
            except KeyError:
                raise ValueError(f"user: there is no {self.user!r} on this machine") from None


def parse_settings(data: Any, source: str = "settings") -> Settings:
    """``Settings`` from JSON data, or SettingsError with all that is wrong."""
    errors: list[str] = []
    settings = load(Settings, data, errors)
    if errors:
        raise SettingsError(source, errors)
    assert isinstance(settings, Settings)
    return settings


def read_settings(path: Path) -> Settings:
    """The settings in a file; SettingsError for bad ones, Dns64Error where it cannot be read."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise Dns64Error(f"{path}: {error.strerror}", "the control plane writes it") from None
    except ValueError as error:
        raise SettingsError(str(path), [f"no JSON: {error}"]) from None
    return parse_settings(data, str(path))


def write_settings(path: Path, settings: Settings) -> None:
    """Replace the file in one step; workers without privileges can read it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(dump(settings), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.chmod(0o644)
    beside.replace(path)
