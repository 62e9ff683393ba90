"""Hand-made test vectors for the translator: packets in, verdicts and packets out.

Every vector was written from the RFCs and docs/translation.md without looking at either
implementation, and every byte and checksum in it is stored as it stands, so that a mistake which
both implementations share still meets something that does not have it. README.md has the format.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bpf.model import BoxAddresses, EamEntry, Pref64, Side, Translation
from tests.vectors.checksums import ipv4_header

FOLDER = Path(__file__).parent
FILL_MODULUS = 251
BOX_IPV4 = (IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2"))
BOX_IPV6 = (IPv6Address("2001:db8:6::1"), IPv6Address("2001:db8:6::2"))
BOX = BoxAddresses(frozenset(BOX_IPV4), frozenset(BOX_IPV6))


class Expect(StrEnum):
    """What becomes of the packet.

    ``UP_TRANSLATED``: handed to the kernel translated, its hop limit still as it came.
    ``SLOW_PATH``: XDP hands it to the slow path untouched; the outputs are the slow path's.
    """

    TRANSLATED = "translated"
    UP_TRANSLATED = "up-translated"
    SLOW_PATH = "slow-path"
    PASS = "pass"
    DROP = "drop"


@dataclass(frozen=True)
class Surroundings:
    """The box a packet meets: one port to either side, a default route out of each.

    IPv4 packets come in by the port with ``mtu4`` and ``ipv4``, IPv6 packets by the other.
    """

    mtu4: int = 1500
    mtu6: int = 1500
    ipv4: IPv4Address | None = BOX_IPV4[0]
    ipv6: IPv6Address | None = BOX_IPV6[0]
    own: BoxAddresses = BOX


@dataclass(frozen=True)
class Free:
    """Bits of the output that an RFC leaves free: ``mask`` of ``length`` bytes at ``at``."""

    what: str
    at: int
    length: int
    mask: int


@dataclass(frozen=True)
class Vector:
    """One packet and everything that must come of it.

    ``odd`` names parts that are wrong on purpose, for the check of the stored checksums.
    """

    name: str
    theme: str
    rule: str
    translation: Translation
    packet: bytes
    expect: Expect
    outputs: tuple[bytes, ...] = ()
    reason: str | None = None
    error: bytes | None = None
    surroundings: Surroundings = field(default_factory=Surroundings)
    free: tuple[Free, ...] = ()
    odd: frozenset[str] = frozenset()
    why: str = ""

    def __str__(self) -> str:
        return f"{self.theme}/{self.name}"


def fill(length: int, start: int = 0) -> bytes:
    """The payload pattern that ``fill LENGTH from START`` stands for."""
    return bytes((start + index) % FILL_MODULUS for index in range(length))


def packet_bytes(text: str) -> bytes:
    """Lines of hex digits, or ``fill LENGTH [from START]``; ``#`` starts a comment."""
    parts = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] == ["fill"]:
            parts.append(fill(int(words[1]), int(words[3]) if words[2:3] == ["from"] else 0))
        else:
            parts.append(bytes.fromhex("".join(words)))
    return b"".join(parts)


def translation(settings: Mapping[str, Any]) -> Translation:
    """A ``Translation`` out of a mapping with the names of bpf/model.py."""
    values = dict(settings)
    return Translation(
        pref64=tuple(
            Pref64(
                IPv6Network(entry["prefix"]),
                networks(entry.get("ipv4_ranges", ["0.0.0.0/0"])),
                networks(entry.get("ipv6_hosts", [])),
                networks(entry.get("allow_non_global", [])),
            )
            for entry in values.pop("pref64", [])
        ),
        eam=tuple(
            EamEntry(
                IPv4Network(entry["ipv4"]),
                IPv6Network(entry["ipv6"]),
                Side(entry.get("host", "ipv6")),
            )
            for entry in values.pop("eam", [])
        ),
        rfc6791_ipv4=networks(values.pop("rfc6791_ipv4", [])),
        rfc6791_ipv6=IPv6Address(values.pop("rfc6791_ipv6")) if "rfc6791_ipv6" in values else None,
        **values,
    )


def networks(texts: list[str]) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(text) for text in texts)


def vector(theme: str, entry: Mapping[str, Any], presets: Mapping[str, Any]) -> Vector:
    """One entry of a YAML file; a key that is not known is an error."""
    values = dict(entry)
    settings = values.pop("translation")
    if isinstance(settings, str):
        settings = {"preset": settings}
    preset = presets[settings["preset"]]
    outputs = [values.pop("output")] if "output" in values else values.pop("outputs", [])
    error = values.pop("error", "none")
    return Vector(
        theme=theme,
        translation=translation({**preset, **{k: v for k, v in settings.items() if k != "preset"}}),
        packet=packet_bytes(values.pop("input")),
        expect=Expect(values.pop("expect")),
        outputs=tuple(packet_bytes(text) for text in outputs),
        error=None if error == "none" else packet_bytes(error),
        surroundings=replace(Surroundings(), **values.pop("context", {})),
        free=tuple(
            Free(
                each["what"], each["at"], each["bytes"], each.get("mask", 256 ** each["bytes"] - 1)
            )
            for each in values.pop("free", [])
        ),
        odd=frozenset(values.pop("odd", [])),
        **values,
    )


def stored() -> Iterator[Vector]:
    presets = YAML(typ="safe").load(FOLDER / "presets.yaml")
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != "presets.yaml":
            for entry in YAML(typ="safe").load(path):
                yield vector(path.stem, entry, presets)


@cache
def load() -> tuple[Vector, ...]:
    """All vectors; their names are unique."""
    vectors = tuple(stored())
    names = [each.name for each in vectors]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"vector names used twice: {', '.join(twice)}")
    return vectors


def with_free_bits(expected: bytes, actual: bytes, free: tuple[Free, ...]) -> bytes:
    """``expected`` with the bits that are free as ``actual`` has them, its header sum to match."""
    packet = bytearray(expected)
    for each in free:
        place = slice(each.at, each.at + each.length)
        kept = int.from_bytes(packet[place], "big") & ~each.mask
        taken = int.from_bytes(actual[place], "big") & each.mask
        packet[place] = (kept | taken).to_bytes(each.length, "big")
    if free and packet[0] >> 4 == 4:
        packet[10:12] = ipv4_header(bytes(packet)).to_bytes(2, "big")
    return bytes(packet)


def difference(expected: bytes, actual: bytes, free: tuple[Free, ...] = ()) -> str | None:
    """How two packets differ beyond the free bits, or None."""
    expected = with_free_bits(expected, actual, free)
    if expected == actual:
        return None
    pairs = enumerate(zip(expected, actual, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(actual)))
    return (
        f"expected {len(expected)} bytes, got {len(actual)}; first difference at {at}\n"
        f"expected {expected.hex(' ', -4)}\n     got {actual.hex(' ', -4)}"
    )
