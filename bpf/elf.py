"""The little of ELF that a BPF object needs read: sections and symbols (64 bit, little-endian)."""

import struct
from dataclasses import dataclass

from bpf.errors import BpfError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_MACHINE_BPF = 247
_SYMTAB, _NOBITS = 2, 8


@dataclass(frozen=True)
class Section:
    name: str
    index: int
    size: int
    data: bytes


@dataclass(frozen=True)
class Symbol:
    name: str
    section: int
    offset: int
    size: int


@dataclass(frozen=True)
class ElfFile:
    sections: dict[str, Section]
    symbols: tuple[Symbol, ...]

    @classmethod
    def parse(cls, image: bytes) -> "ElfFile":
        """Read a BPF object; BpfError if it is something else or cut short."""
        if image[:6] != b"\x7fELF\x02\x01":
            raise BpfError("not a 64-bit little-endian ELF file")
        try:
            return cls._parse(image)
        except (struct.error, IndexError, ValueError) as error:
            raise BpfError("the ELF file is cut short or malformed") from error

    @classmethod
    def _parse(cls, image: bytes) -> "ElfFile":
        header = _HEADER.unpack_from(image)
        machine, table, count, names_index = header[2], header[6], header[12], header[13]
        if machine != _MACHINE_BPF:
            raise BpfError(f"an ELF file of machine {machine}, not of BPF")
        raw = [_SECTION.unpack_from(image, table + i * _SECTION.size) for i in range(count)]

        def content(index: int) -> bytes:
            _, kind, _, _, start, size, *_ = raw[index]
            if kind == _NOBITS:
                return bytes(size)
            if start + size > len(image):
                raise IndexError
            return image[start : start + size]

        section_names = content(names_index)
        sections = {}
        symbols: list[Symbol] = []
        for index, (name, kind, _, _, _, size, link, *_) in enumerate(raw):
            text = _text(section_names, name)
            sections[text] = Section(text, index, size, content(index))
            if kind == _SYMTAB:
                strings = content(link)
                symbols.extend(
                    Symbol(_text(strings, entry[0]), entry[3], entry[4], entry[5])
                    for entry in _SYMBOL.iter_unpack(content(index))
                )
        return cls(sections, tuple(symbols))


def _text(strings: bytes, start: int) -> str:
    return strings[start : strings.index(b"\0", start)].decode()
