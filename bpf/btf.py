"""BTF: the types of a BPF object, read from its ELF file or from the kernel.

Pure Python; needs neither libbpf nor privileges. ``Btf.struct`` and ``Btf.section`` give codecs
(``bpf/codec.py``) that turn values into the object's bytes and back.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path

from bpf.codec import (
    ArrayCodec,
    BytesCodec,
    Codec,
    Field,
    IntCodec,
    Place,
    SectionCodec,
    StructCodec,
)
from bpf.elf import ElfFile
from bpf.errors import BpfError

_HEADER = struct.Struct("<HBBIIIII")
_MAGIC = 0xEB9F
_POINTER_BYTES = 8


class Kind(IntEnum):
    """``BTF_KIND_*`` of the kernel's UAPI."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


_TRANSPARENT = (Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG)
_SIZED = (Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT)


@dataclass(frozen=True)
class Member:
    """Of a struct or union. ``bit_width`` is not 0 for a bitfield."""

    name: str
    type: int
    bit_offset: int
    bit_width: int = 0


@dataclass(frozen=True)
class Variable:
    """Of a data section; ``offset`` in bytes from its start."""

    name: str
    type: int
    offset: int
    size: int


@dataclass(frozen=True)
class BtfType:
    """One type. Only the fields that its kind has are set; ``target`` is the type pointed to,
    the array's element, the variable's or typedef's type."""

    id: int
    kind: Kind
    name: str
    size: int = 0
    target: int = 0
    count: int = 0
    signed: bool = False
    is_bool: bool = False
    bits: int = 0
    members: tuple[Member, ...] = ()
    values: tuple[tuple[str, int], ...] = ()
    variables: tuple[Variable, ...] = ()


@dataclass(frozen=True)
class Btf:
    """All types of one object; ``types[0]`` is void."""

    types: tuple[BtfType, ...]
    where: str = "BTF"
    _codecs: dict[str, StructCodec] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_file(cls, path: Path) -> "Btf":
        """Of a compiled object, section sizes and variable offsets filled in from its symbols."""
        try:
            return cls.from_elf(path.read_bytes(), str(path))
        except OSError as error:
            raise BpfError(f"cannot read {path}: {error.strerror}", "run `make objects`") from error

    @classmethod
    def from_elf(cls, image: bytes, where: str = "ELF file") -> "Btf":
        """As ``from_file``, from the file's bytes."""
        try:
            elf = ElfFile.parse(image)
        except BpfError as error:
            raise BpfError(f"{where}: {error}") from error
        if ".BTF" not in elf.sections:
            raise BpfError(f"{where}: no BTF in it", "compile with -g")
        plain = cls.parse(elf.sections[".BTF"].data, where)
        return cls(tuple(_placed(each, elf) for each in plain.types), where)

    @classmethod
    def parse(cls, data: bytes, where: str = "BTF") -> "Btf":
        """Of raw BTF bytes, as the kernel hands them out."""
        try:
            types = list(_parse_types(data))
            _check_references(types)
            for each in [t for t in types if t.kind == Kind.DATASEC]:
                named = tuple(replace(v, name=types[v.type].name) for v in each.variables)
                types[each.id] = replace(each, variables=named)
            return cls(tuple(types), where)
        except (struct.error, ValueError, IndexError) as error:
            raise BpfError(f"{where}: malformed BTF: {error}") from error

    def struct(self, name: str) -> StructCodec:
        """The codec of ``struct name`` or ``union name``, or of a typedef of one."""
        if name not in self._codecs:
            self._codecs[name] = self._struct_codec(self._struct_type(name))
        return self._codecs[name]

    def enum(self, name: str) -> dict[str, int]:
        """The constants of ``enum name`` (or a typedef of one), in the order written."""
        for each in self._named.get(name, ()):
            resolved = self.resolve(each.id)
            if resolved.kind in (Kind.ENUM, Kind.ENUM64):
                return dict(resolved.values)
        raise BpfError(
            f"{self.where}: no enum {name}", "the compiler keeps only types that something uses"
        )

    def section(self, name: str) -> SectionCodec:
        """The variables of a data section, such as ``.rodata`` or ``.data.runtime``."""
        each = self.types[self.section_id(name)]
        types = {variable.name: variable.type for variable in each.variables}
        return SectionCodec(
            name,
            each.size,
            {v.name: Place(v.offset, v.size) for v in each.variables},
            lambda variable: self.codec(types[variable]),
        )

    def codec(self, number: int) -> Codec:
        """The codec of any type, by its id."""
        each = self.resolve(number)
        if each.kind == Kind.VAR:
            return self.codec(each.target)
        if each.kind == Kind.INT:
            big_endian = any(is_big_endian(name) for name in self.typedefs(number))
            return IntCodec(each.size, each.signed, big_endian, each.is_bool)
        if each.kind in (Kind.ENUM, Kind.ENUM64):
            return IntCodec(each.size, each.signed)
        if each.kind == Kind.ARRAY:
            element = self.codec(each.target)
            if isinstance(element, IntCodec) and element.size == 1 and not element.is_bool:
                return BytesCodec(each.count)
            return ArrayCodec(element, each.count)
        if each.kind in (Kind.STRUCT, Kind.UNION):
            return self._struct_codec(each)
        raise BpfError(f"{self.where}: no codec for {each.kind.name.lower()} {each.name}".rstrip())

    def section_id(self, name: str) -> int:
        """The type id of a data section."""
        for each in self._named.get(name, ()):
            if each.kind == Kind.DATASEC:
                return each.id
        raise BpfError(f"{self.where}: no section {name} with variables")

    @property
    def section_names(self) -> list[str]:
        """Data sections and others that hold variables (``.maps``, ``license``)."""
        return [each.name for each in self.types if each.kind == Kind.DATASEC]

    def resolve(self, number: int) -> BtfType:
        """The type without typedefs and qualifiers."""
        for _ in range(64):
            each = self.types[number]
            if each.kind not in _TRANSPARENT:
                return each
            number = each.target
        raise BpfError(f"{self.where}: type {number} refers to itself")

    def typedefs(self, number: int) -> Iterator[str]:
        """The typedef names on the way to the type itself."""
        while (each := self.types[number]).kind in _TRANSPARENT:
            if each.kind == Kind.TYPEDEF:
                yield each.name
            number = each.target

    def size_of(self, number: int) -> int:
        """Bytes of a value of this type."""
        each = self.resolve(number)
        if each.kind in _SIZED or each.kind == Kind.DATASEC:
            return each.size
        if each.kind == Kind.ARRAY:
            return each.count * self.size_of(each.target)
        if each.kind == Kind.PTR:
            return _POINTER_BYTES
        if each.kind == Kind.VAR:
            return self.size_of(each.target)
        raise BpfError(f"{self.where}: {each.kind.name} {each.name} has no size")

    def layout(self, number: int) -> str:
        """A text equal for two types if, and only if, their bytes mean the same, by name, place
        and kind of every field. Pointers are not followed."""
        each = self.resolve(number)
        if each.kind == Kind.VAR:
            return self.layout(each.target)
        if each.kind == Kind.INT:
            order = "be" if any(is_big_endian(name) for name in self.typedefs(number)) else ""
            return f"{order}{'i' if each.signed else 'u'}{each.size * 8}"
        if each.kind == Kind.ARRAY:
            return f"[{each.count}]{self.layout(each.target)}"
        if each.kind in (Kind.STRUCT, Kind.UNION):
            inside = ", ".join(
                f"{m.name}@{m.bit_offset}{f':{m.bit_width}' if m.bit_width else ''} "
                f"{self.layout(m.type)}"
                for m in each.members
            )
            return f"{each.kind.name.lower()}({each.size}){{{inside}}}"
        if each.kind == Kind.DATASEC:
            inside = ", ".join(f"{v.name}@{v.offset} {self.layout(v.type)}" for v in each.variables)
            return f"section{{{inside}}}"
        return f"{each.kind.name.lower()}({each.size})"

    @cached_property
    def _named(self) -> dict[str, list[BtfType]]:
        found: dict[str, list[BtfType]] = {}
        for each in self.types:
            if each.name:
                found.setdefault(each.name, []).append(each)
        return found

    def _struct_type(self, name: str) -> BtfType:
        for each in self._named.get(name, ()):
            if each.kind in (Kind.STRUCT, Kind.UNION, Kind.TYPEDEF):
                resolved = self.resolve(each.id)
                if resolved.kind in (Kind.STRUCT, Kind.UNION):
                    return resolved
        raise BpfError(
            f"{self.where}: no struct {name}", "the compiler keeps only types that something uses"
        )

    def _struct_codec(self, each: BtfType) -> StructCodec:
        fields: dict[str, Field] = {}
        choices: list[list[frozenset[str]]] = []
        self._add_fields(each, 0, fields, choices)
        return StructCodec(each.name or "(anonymous)", each.size, fields, choices)

    def _add_fields(
        self,
        each: BtfType,
        offset: int,
        fields: dict[str, Field],
        choices: list[list[frozenset[str]]],
    ) -> None:
        """Members at their places; those of anonymous structs and unions as if they were ours."""
        alternatives: list[frozenset[str]] = []
        for member in each.members:
            inner = self.resolve(member.type)
            self._refuse_bitfield(each, member, inner)
            before = fields.keys() - set()
            at = offset + member.bit_offset // 8
            if not member.name and inner.kind in (Kind.STRUCT, Kind.UNION):
                self._add_fields(inner, at, fields, choices)
            else:
                fields[member.name] = Field(at, self.codec(member.type))
            alternatives.append(frozenset(fields.keys() - before))
        if each.kind == Kind.UNION:
            choices.append(alternatives)

    def _refuse_bitfield(self, each: BtfType, member: Member, inner: BtfType) -> None:
        narrow = inner.kind == Kind.INT and inner.bits != inner.size * 8 and not inner.is_bool
        if member.bit_width or member.bit_offset % 8 or narrow:
            raise BpfError(
                f"{self.where}: {each.name}.{member.name} is a bitfield",
                "use an integer and masks for what Python shares",
            )


def is_big_endian(typedef: str) -> bool:
    """Whether a typedef says that its integer is in network order."""
    return typedef in ("__be16", "__be32", "__be64")


def _placed(each: BtfType, elf: ElfFile) -> BtfType:
    """A data section with its size and its variables' offsets: the compiler leaves them 0."""
    if each.kind != Kind.DATASEC or each.name not in elf.sections:
        return each
    section = elf.sections[each.name]
    offsets = {s.name: s.offset for s in elf.symbols if s.section == section.index}
    variables = tuple(replace(v, offset=offsets.get(v.name, v.offset)) for v in each.variables)
    ordered = tuple(sorted(variables, key=lambda v: v.offset))
    return replace(each, size=section.size, variables=ordered)


def _parse_types(data: bytes) -> Iterator[BtfType]:
    magic, version, _, header, type_start, type_bytes, text_start, text_bytes = _HEADER.unpack_from(
        data
    )
    if magic != _MAGIC or version != 1:
        raise ValueError(f"magic {magic:#x}, version {version}")
    types = data[header + type_start : header + type_start + type_bytes]
    strings = data[header + text_start : header + text_start + text_bytes]
    if len(types) != type_bytes or len(strings) != text_bytes:
        raise ValueError("cut short")

    def text(start: int) -> str:
        return strings[start : strings.index(b"\0", start)].decode()

    yield BtfType(0, Kind.VOID, "void")
    at, number = 0, 0
    while at < len(types):
        number += 1
        name_at, info, third = struct.unpack_from("<III", types, at)
        at += 12
        kind, count, flag = Kind(info >> 24 & 0x1F), info & 0xFFFF, bool(info >> 31)
        name = text(name_at)
        words = _EXTRA_WORDS.get(kind, 0) + count * _WORDS_EACH.get(kind, 0)
        extra = struct.unpack_from(f"<{words}I", types, at)
        at += words * 4
        if kind == Kind.INT:
            encoding = extra[0] >> 24
            yield BtfType(
                number,
                kind,
                name,
                size=third,
                signed=bool(encoding & 1),
                is_bool=bool(encoding & 4),
                bits=extra[0] & 0xFF,
            )
        elif kind == Kind.ARRAY:
            yield BtfType(number, kind, name, target=extra[0], count=extra[2])
        elif kind in (Kind.STRUCT, Kind.UNION):
            members = tuple(
                Member(
                    text(extra[i]),
                    extra[i + 1],
                    extra[i + 2] & 0xFFFFFF if flag else extra[i + 2],
                    extra[i + 2] >> 24 if flag else 0,
                )
                for i in range(0, words, 3)
            )
            yield BtfType(number, kind, name, size=third, members=members)
        elif kind == Kind.ENUM:
            values = tuple(
                (text(extra[i]), _signed(extra[i + 1], 32) if flag else extra[i + 1])
                for i in range(0, words, 2)
            )
            yield BtfType(number, kind, name, size=third, signed=flag, values=values)
        elif kind == Kind.ENUM64:
            wide = tuple(
                (text(extra[i]), extra[i + 1] | extra[i + 2] << 32) for i in range(0, words, 3)
            )
            values = tuple((label, _signed(n, 64) if flag else n) for label, n in wide)
            yield BtfType(number, kind, name, size=third, signed=flag, values=values)
        elif kind == Kind.DATASEC:
            variables = tuple(
                Variable("", extra[i], extra[i + 1], extra[i + 2]) for i in range(0, words, 3)
            )
            yield BtfType(number, kind, name, size=third, variables=variables)
        elif kind == Kind.FLOAT:
            yield BtfType(number, kind, name, size=third)
        else:
            yield BtfType(number, kind, name, target=third)


def _check_references(types: list[BtfType]) -> None:
    for each in types:
        inside = [m.type for m in each.members] + [v.type for v in each.variables]
        for number in (each.target, *inside):
            if number >= len(types) and each.kind != Kind.FWD:
                raise ValueError(f"type {each.id} refers to type {number} of {len(types)}")


_EXTRA_WORDS = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VAR: 1, Kind.DECL_TAG: 1}
_WORDS_EACH = {
    Kind.STRUCT: 3,
    Kind.UNION: 3,
    Kind.ENUM: 2,
    Kind.FUNC_PROTO: 2,
    Kind.DATASEC: 3,
    Kind.ENUM64: 3,
}


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number
