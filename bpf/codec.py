"""Values to the bytes of a C type and back, by a layout that somebody else knows (``bpf/btf.py``).

What a value looks like in Python:

- an integer is an int, also of a big-endian type (``__be16``, ``__be32``): port 80 is 80;
- an array of bytes (``__u8[16]``, ``char[16]``) is bytes of that length; packing also takes a
  str, which is padded with NUL and must leave room for one;
- any other array is a list of exactly its length;
- a struct is a dict with every member, also those of anonymous structs inside it. Packing may
  leave out padding, by name: ``pad…``, ``reserved…``, ``_…``; it is zero then;
- a union is a dict. Packing takes exactly one alternative, unpacking gives all of them;
- bytes of the exact size stand for a value of any type.

Pointers and bitfields have no codec: asking for one is a BpfError.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bpf.errors import BpfError

Value = int | bytes | str | Sequence["Value"] | Mapping[str, "Value"]


class Codec(Protocol):
    """``where`` names the value in errors, as ``vip.backends[3].port``."""

    size: int

    def pack(self, value: Value, where: str = "") -> bytes: ...

    def unpack(self, raw: bytes | memoryview) -> Any: ...


class IntCodec:
    """An integer, enum or bool."""

    def __init__(self, size: int, signed: bool, big_endian: bool = False, is_bool: bool = False):
        self.size = size
        self.signed = signed
        self.big_endian = big_endian
        self.is_bool = is_bool

    def pack(self, value: Value, where: str = "") -> bytes:
        if isinstance(value, bytes):
            return _exact(value, self.size, where)
        if not isinstance(value, int):
            raise BpfError(f"{where or 'value'}: {type(value).__name__} instead of an integer")
        try:
            return value.to_bytes(
                self.size, "big" if self.big_endian else "little", signed=self.signed
            )
        except OverflowError as error:
            kind = "signed" if self.signed else "unsigned"
            raise BpfError(
                f"{where or 'value'}: {value} does not fit {self.size} {kind} bytes"
            ) from error

    def unpack(self, raw: bytes | memoryview) -> int:
        number = int.from_bytes(
            raw[: self.size], "big" if self.big_endian else "little", signed=self.signed
        )
        return bool(number) if self.is_bool else number


class BytesCodec:
    """An array of single bytes."""

    def __init__(self, size: int):
        self.size = size

    def pack(self, value: Value, where: str = "") -> bytes:
        if isinstance(value, str):
            text = value.encode()
            if len(text) >= self.size:
                raise BpfError(f"{where or 'value'}: {value!r} does not fit {self.size} bytes")
            return text.ljust(self.size, b"\0")
        if not isinstance(value, bytes):
            raise BpfError(f"{where or 'value'}: {type(value).__name__} instead of bytes")
        return _exact(value, self.size, where)

    def unpack(self, raw: bytes | memoryview) -> bytes:
        return bytes(raw[: self.size])


class ArrayCodec:
    """An array of anything else."""

    def __init__(self, element: Codec, count: int):
        self.element = element
        self.count = count
        self.size = element.size * count

    def pack(self, value: Value, where: str = "") -> bytes:
        if isinstance(value, bytes):
            return _exact(value, self.size, where)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise BpfError(f"{where or 'value'}: {type(value).__name__} instead of a list")
        if len(value) != self.count:
            raise BpfError(f"{where or 'value'}: {len(value)} elements instead of {self.count}")
        return b"".join(
            self.element.pack(each, f"{where}[{index}]") for index, each in enumerate(value)
        )

    def unpack(self, raw: bytes | memoryview) -> list[Any]:
        step = self.element.size
        return [self.element.unpack(raw[at * step : (at + 1) * step]) for at in range(self.count)]


@dataclass(frozen=True)
class Field:
    """A member at its place, in bytes from the start of the struct."""

    offset: int
    codec: Codec


class StructCodec:
    """A struct, or a union (one choice, offset 0).

    ``choices``: for each union in it, its alternatives, each the names of its members.
    """

    def __init__(
        self,
        name: str,
        size: int,
        fields: Mapping[str, Field],
        choices: Sequence[Sequence[frozenset[str]]] = (),
    ):
        self.name = name
        self.size = size
        self.fields = dict(fields)
        self.choices = choices
        chosen = {each for choice in choices for names in choice for each in names}
        self._required = frozenset(
            each for each in self.fields if each not in chosen and not _is_padding(each)
        )

    def offset(self, member: str) -> int:
        """Where ``member`` starts."""
        return self._field(member).offset

    def pack(self, value: Value, where: str = "") -> bytes:
        where = where or self.name
        if isinstance(value, bytes):
            return _exact(value, self.size, where)
        if not isinstance(value, Mapping):
            raise BpfError(f"{where}: {type(value).__name__} instead of a dict")
        self._check_names(value, where)
        raw = bytearray(self.size)
        for name, each in value.items():
            field = self.fields[name]
            raw[field.offset : field.offset + field.codec.size] = field.codec.pack(
                each, f"{where}.{name}"
            )
        return bytes(raw)

    def unpack(self, raw: bytes | memoryview) -> dict[str, Any]:
        if len(raw) < self.size:
            raise BpfError(f"{self.name}: {len(raw)} bytes instead of {self.size}")
        return {
            name: field.codec.unpack(raw[field.offset : field.offset + field.codec.size])
            for name, field in self.fields.items()
        }

    def _check_names(self, value: Mapping[str, Value], where: str) -> None:
        unknown = value.keys() - self.fields.keys()
        if unknown:
            raise BpfError(
                f"{where}: no member {', '.join(sorted(unknown))}",
                f"there are: {', '.join(self.fields)}",
            )
        missing = self._required - value.keys()
        for choice in self.choices:
            given = [names for names in choice if names & value.keys()]
            if len(given) != 1:
                options = " or ".join(", ".join(sorted(names)) for names in choice)
                raise BpfError(f"{where}: exactly one is wanted of {options}")
            missing |= {each for each in given[0] - value.keys() if not _is_padding(each)}
        if missing:
            raise BpfError(f"{where}: member {', '.join(sorted(missing))} is missing")

    def _field(self, member: str) -> Field:
        if member not in self.fields:
            raise BpfError(
                f"{self.name}: no member {member}", f"there are: {', '.join(self.fields)}"
            )
        return self.fields[member]


@dataclass(frozen=True)
class Place:
    """A variable's bytes in its section."""

    offset: int
    size: int


class SectionCodec:
    """The variables of a data section. A codec is made when its variable is first used."""

    def __init__(
        self,
        name: str,
        size: int,
        places: Mapping[str, Place],
        codec_of: Callable[[str], Codec],
    ):
        self.name = name
        self.size = size
        self.places = dict(places)
        self._codec_of = codec_of
        self._codecs: dict[str, Codec] = {}

    def __contains__(self, variable: str) -> bool:
        return variable in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def place(self, variable: str) -> Place:
        """Where the variable is."""
        if variable not in self.places:
            raise BpfError(
                f"section {self.name}: no variable {variable}",
                f"there are: {', '.join(self.places)}",
            )
        return self.places[variable]

    def codec(self, variable: str) -> Codec:
        """How the variable's value is written."""
        self.place(variable)
        if variable not in self._codecs:
            self._codecs[variable] = self._codec_of(variable)
        return self._codecs[variable]

    def write(self, target: memoryview, variable: str, value: Value) -> None:
        """Put one variable's bytes into the section's memory.

        4 and 8 bytes at their natural alignment are one store, so that a running program
        sees the old or the new value.
        """
        place = self.place(variable)
        raw = self.codec(variable).pack(value, variable)
        window = target[place.offset : place.offset + place.size]
        aligned = place.offset % place.size == 0 if place.size else False
        if aligned and place.size == 8:
            window.cast("Q")[0] = int.from_bytes(raw, "little")
        elif aligned and place.size == 4:
            window.cast("I")[0] = int.from_bytes(raw, "little")
        else:
            window[:] = raw

    def read(self, source: bytes | memoryview, variable: str) -> Any:
        """One variable's value out of the section's memory."""
        place = self.place(variable)
        return self.codec(variable).unpack(source[place.offset : place.offset + place.size])

    def unpack(self, source: bytes | memoryview) -> dict[str, Any]:
        """Every variable's value."""
        return {variable: self.read(source, variable) for variable in self.places}


def _is_padding(name: str) -> bool:
    return name.startswith(("pad", "reserved", "_"))


def _exact(value: bytes, size: int, where: str) -> bytes:
    if len(value) != size:
        raise BpfError(f"{where or 'value'}: {len(value)} bytes instead of {size}")
    return value
