"""The slow path's settings file: JSON that edge64d writes and the slow path reads.

``write_settings`` and ``read_settings`` are each other's reverse; what is read is valid.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

from appliance.errors import ApplianceError
from bpf.model import BoxAddresses, EamEntry, Pref64, Side, Translation

V = TypeVar("V")

_LONGEST_NAME = 15  # IFNAMSIZ less the zero


class SlowPathError(ApplianceError):
    """The slow path's settings or its device cannot be used."""


@dataclass(frozen=True)
class Settings:
    """``mtu4`` and ``mtu6``: bytes, of the narrowest route on either side that packets take.

    ``ipv4`` and ``ipv6``: the box's addresses that own ICMP errors come from.
    """

    translation: Translation
    mtu4: int
    mtu6: int
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    own: BoxAddresses = field(default_factory=BoxAddresses)
    device: str = "e64slow"

    def __post_init__(self) -> None:
        if not 1 <= len(self.device.encode()) <= _LONGEST_NAME or "/" in self.device:
            raise ValueError(f"device {self.device!r}: not the name of an interface")
        if not 68 <= self.mtu4 <= 65536:
            raise ValueError(f"mtu4 {self.mtu4}: between 68 and 65536")
        if not 1280 <= self.mtu6 <= 65536:
            raise ValueError(f"mtu6 {self.mtu6}: between 1280 and 65536")


def write_settings(path: Path, settings: Settings) -> None:
    """Readers see the old file or the new one, never a part of one."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            json.dump(_to_json(settings), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # the slow path reads it without privileges
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def read_settings(path: Path) -> Settings:
    """Raises ``SlowPathError`` that names the file and what is wrong in it."""
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise SlowPathError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SlowPathError(f"{path}: not JSON: {error}") from error
    try:
        return _settings(_Reader(document, ""))
    except ValueError as error:
        raise SlowPathError(f"{path}: {error}") from error


def _to_json(settings: Settings) -> dict[str, Any]:
    return {
        "device": settings.device,
        "translation": _translation_to_json(settings.translation),
        "own": {
            "ipv4": sorted(map(str, settings.own.ipv4)),
            "ipv6": sorted(map(str, settings.own.ipv6)),
        },
        "mtu4": settings.mtu4,
        "mtu6": settings.mtu6,
        "ipv4": _text(settings.ipv4),
        "ipv6": _text(settings.ipv6),
    }


def _translation_to_json(translation: Translation) -> dict[str, Any]:
    return {
        "pref64": [
            {
                "prefix": str(pref64.prefix),
                "ipv4_ranges": list(map(str, pref64.ipv4_ranges)),
                "ipv6_hosts": list(map(str, pref64.ipv6_hosts)),
                "allow_non_global": list(map(str, pref64.allow_non_global)),
            }
            for pref64 in translation.pref64
        ],
        "eam": [
            {"ipv4": str(entry.ipv4), "ipv6": str(entry.ipv6), "host": entry.host.value}
            for entry in translation.eam
        ],
        "rfc6791_ipv4": list(map(str, translation.rfc6791_ipv4)),
        "rfc6791_ipv6": _text(translation.rfc6791_ipv6),
        "lowest_ipv6_mtu": translation.lowest_ipv6_mtu,
        "traffic_class": translation.traffic_class,
        "tos": translation.tos,
        "flow_label_hash": translation.flow_label_hash,
        "compute_udp_checksum": translation.compute_udp_checksum,
        "icmp_error_rate": translation.icmp_error_rate,
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


class _Reader:
    """Takes a JSON object apart, key by key; every error names the path of its key."""

    def __init__(self, document: object, path: str) -> None:
        if not isinstance(document, dict):
            raise ValueError(f"{path or 'the document'}: not an object")
        self._document = dict(document)
        self._path = path

    def _where(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _value(self, key: str) -> object:
        if key not in self._document:
            raise ValueError(f"{self._where(key)}: missing")
        return self._document.pop(key)

    def integer(self, key: str, lowest: int, highest: int) -> int:
        value = self._value(key)
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError(
                f"{self._where(key)}: {value!r} is no integer from {lowest} to {highest}"
            )
        return value

    def octet(self, key: str) -> int | None:
        if self._document.get(key, 0) is None:
            del self._document[key]
            return None
        return self.integer(key, 0, 255)

    def boolean(self, key: str) -> bool:
        value = self._value(key)
        if not isinstance(value, bool):
            raise ValueError(f"{self._where(key)}: {value!r} is neither true nor false")
        return value

    def text(self, key: str, kind: Callable[[str], V]) -> V:
        return _parsed(self._value(key), kind, self._where(key))

    def text_or_none(self, key: str, kind: Callable[[str], V]) -> V | None:
        value = self._value(key)
        return None if value is None else _parsed(value, kind, self._where(key))

    def texts(self, key: str, kind: Callable[[str], V]) -> tuple[V, ...]:
        return tuple(
            _parsed(value, kind, f"{self._where(key)}[{number}]")
            for number, value in enumerate(self._list(key))
        )

    def nested(self, key: str) -> "_Reader":
        return _Reader(self._value(key), self._where(key))

    def nested_list(self, key: str) -> "list[_Reader]":
        return [
            _Reader(value, f"{self._where(key)}[{number}]")
            for number, value in enumerate(self._list(key))
        ]

    def _list(self, key: str) -> list[object]:
        value = self._value(key)
        if not isinstance(value, list):
            raise ValueError(f"{self._where(key)}: not a list")
        return value

    def end(self) -> None:
        """A key that nobody asked for is a mistake, not a comment."""
        if self._document:
            raise ValueError(f"{self._where(next(iter(self._document)))}: unknown")


def _parsed(value: object, kind: Callable[[str], V], where: str) -> V:
    if not isinstance(value, str):
        raise ValueError(f"{where}: {value!r} is no text")
    try:
        return kind(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _settings(reader: _Reader) -> Settings:
    own = reader.nested("own")
    addresses = BoxAddresses(
        frozenset(own.texts("ipv4", IPv4Address)), frozenset(own.texts("ipv6", IPv6Address))
    )
    own.end()
    settings = Settings(
        device=reader.text("device", str),
        translation=_translation(reader.nested("translation")),
        own=addresses,
        mtu4=reader.integer("mtu4", 68, 65536),
        mtu6=reader.integer("mtu6", 1280, 65536),
        ipv4=reader.text_or_none("ipv4", IPv4Address),
        ipv6=reader.text_or_none("ipv6", IPv6Address),
    )
    reader.end()
    return settings


def _translation(reader: _Reader) -> Translation:
    translation = Translation(
        pref64=tuple(map(_pref64, reader.nested_list("pref64"))),
        eam=tuple(map(_eam_entry, reader.nested_list("eam"))),
        rfc6791_ipv4=reader.texts("rfc6791_ipv4", IPv4Network),
        rfc6791_ipv6=reader.text_or_none("rfc6791_ipv6", IPv6Address),
        lowest_ipv6_mtu=reader.integer("lowest_ipv6_mtu", 1280, 65535),
        traffic_class=reader.octet("traffic_class"),
        tos=reader.octet("tos"),
        flow_label_hash=reader.boolean("flow_label_hash"),
        compute_udp_checksum=reader.boolean("compute_udp_checksum"),
        icmp_error_rate=reader.integer("icmp_error_rate", 0, 2**31),
    )
    reader.end()
    return translation


def _pref64(reader: _Reader) -> Pref64:
    pref64 = Pref64(
        prefix=reader.text("prefix", IPv6Network),
        ipv4_ranges=reader.texts("ipv4_ranges", IPv4Network),
        ipv6_hosts=reader.texts("ipv6_hosts", IPv4Network),
        allow_non_global=reader.texts("allow_non_global", IPv4Network),
    )
    reader.end()
    return pref64


def _eam_entry(reader: _Reader) -> EamEntry:
    entry = EamEntry(
        ipv4=reader.text("ipv4", IPv4Network),
        ipv6=reader.text("ipv6", IPv6Network),
        host=reader.text("host", Side),
    )
    reader.end()
    return entry
