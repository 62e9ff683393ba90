"""Types out of BTF bytes made by hand here, and the codecs that come of them."""

import random
import struct
from collections.abc import Mapping

import pytest

from bpf.btf import Btf, Kind
from bpf.codec import Value
from bpf.errors import BpfError


class Maker:
    """Writes BTF; each method gives the new type's id."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.types = b""
        self.count = 0

    def text(self, name: str) -> int:
        if not name:
            return 0
        at = len(self.strings)
        self.strings += name.encode() + b"\0"
        return at

    def add(
        self,
        kind: int,
        name: str,
        third: int,
        extra: bytes = b"",
        count: int = 0,
        flag: bool = False,
    ) -> int:
        info = flag << 31 | kind << 24 | count
        self.types += struct.pack("<III", self.text(name), info, third) + extra
        self.count += 1
        return self.count

    def integer(self, name: str, size: int, encoding: int = 0, bits: int | None = None) -> int:
        bits = size * 8 if bits is None else bits
        return self.add(Kind.INT, name, size, struct.pack("<I", encoding << 24 | bits))

    def array(self, element: int, count: int) -> int:
        return self.add(Kind.ARRAY, "", 0, struct.pack("<III", element, 1, count))

    def composite(
        self, kind: Kind, name: str, size: int, *members: tuple[str, int, int], flag: bool = False
    ) -> int:
        """``members``: name, type, offset in bits."""
        extra = b"".join(
            struct.pack("<III", self.text(label), kind_, place) for label, kind_, place in members
        )
        return self.add(kind, name, size, extra, len(members), flag)

    def enum(self, name: str, values: Mapping[str, int], flag: bool = False) -> int:
        extra = b"".join(
            struct.pack("<II", self.text(label), number & 0xFFFFFFFF)
            for label, number in values.items()
        )
        return self.add(Kind.ENUM, name, 4, extra, len(values), flag)

    def enum64(self, name: str, values: Mapping[str, int], flag: bool = False) -> int:
        extra = b"".join(
            struct.pack("<IQ", self.text(label), number & (1 << 64) - 1)
            for label, number in values.items()
        )
        return self.add(Kind.ENUM64, name, 8, extra, len(values), flag)

    def section(self, name: str, size: int, *variables: tuple[int, int, int]) -> int:
        """``variables``: id of the VAR, offset, size."""
        extra = b"".join(struct.pack("<III", *each) for each in variables)
        return self.add(Kind.DATASEC, name, size, extra, len(variables))

    def variable(self, name: str, kind: int) -> int:
        return self.add(Kind.VAR, name, kind, struct.pack("<I", 1))

    def bytes(self) -> bytes:
        sizes = (0, len(self.types), len(self.types), len(self.strings))
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, *sizes) + self.types + self.strings


def basic() -> tuple[Maker, int, int, int]:
    """A maker that has u8, u16 and u32."""
    maker = Maker()
    return maker, maker.integer("u8", 1), maker.integer("u16", 2), maker.integer("u32", 4)


def parsed(maker: Maker) -> Btf:
    return Btf.parse(maker.bytes())


def test_integers_of_every_kind() -> None:
    maker, u8, u16, u32 = basic()
    s32 = maker.integer("s32", 4, encoding=1)
    boolean = maker.integer("bool", 1, encoding=4)
    u64 = maker.integer("u64", 8)
    be32 = maker.add(Kind.TYPEDEF, "__be32", u32)
    named = maker.add(Kind.TYPEDEF, "address", be32)
    fixed = maker.add(Kind.CONST, "", maker.add(Kind.VOLATILE, "", named))
    maker.composite(
        Kind.STRUCT,
        "s",
        32,
        ("a", u8, 0),
        ("b", boolean, 8),
        ("c", u16, 16),
        ("d", s32, 32),
        ("e", u64, 64),
        ("f", fixed, 128),
        ("pad", u32, 160),
        ("g", be32, 192),
        ("_unused", u32, 224),
    )
    codec = parsed(maker).struct("s")
    value: dict[str, Value] = {
        "a": 255,
        "b": True,
        "c": 0x0102,
        "d": -2,
        "e": 1 << 63,
        "f": 0x0A000001,
        "g": b"\1\2\3\4",
    }
    raw = codec.pack(value)
    assert raw == (
        b"\xff\1\2\1" + struct.pack("<iQ", -2, 1 << 63) + b"\x0a\0\0\1" + bytes(4) + b"\1\2\3\4"
    ).ljust(32, b"\0")
    assert codec.unpack(raw) == value | {"g": 0x01020304, "pad": 0, "_unused": 0}
    assert codec.unpack(memoryview(raw + b"more"))["b"] is True
    assert codec.pack(raw) == raw
    assert (codec.size, codec.offset("f")) == (32, 16)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"a": 256}, "s.a: 256 does not fit 1 unsigned bytes"),
        ({"a": -1}, "s.a: -1 does not fit"),
        ({"a": "1"}, "s.a: str instead of an integer"),
        ({"a": [1]}, "s.a: list instead of an integer"),
        ({"mac": b"12345"}, "s.mac: 5 bytes instead of 6"),
        ({"mac": "abcdef"}, "s.mac: 'abcdef' does not fit 6 bytes"),
        ({"list": [1]}, "s.list: 1 elements instead of 2"),
        ({"list": {"0": 1}}, "s.list: dict instead of a list"),
        ({"list": "12"}, "s.list: str instead of a list"),
        ({"list": [1, 1 << 16]}, r"s.list\[1\]: 65536 does not fit"),
        ({"inner": {}}, "s.inner: member x is missing"),
        ({"inner": 3}, "s.inner: int instead of a dict"),
        ({"inner": {"x": 1, "y": 2}}, "s.inner: no member y"),
        ({"inner": b"123"}, "s.inner: 3 bytes instead of 4"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(change: dict[str, Value], complaint: str) -> None:
    maker, u8, u16, u32 = basic()
    mac, pair = maker.array(u8, 6), maker.array(u16, 2)
    inner = maker.composite(Kind.STRUCT, "inner", 4, ("x", u32, 0))
    maker.composite(
        Kind.STRUCT,
        "s",
        16,
        ("a", u8, 0),
        ("mac", mac, 8),
        ("list", pair, 64),
        ("inner", inner, 96),
    )
    codec = parsed(maker).struct("s")
    good: dict[str, Value] = {"a": 1, "mac": bytes(6), "list": [1, 2], "inner": {"x": 1}}
    assert codec.unpack(codec.pack(good)) == good
    with pytest.raises(BpfError, match=complaint):
        codec.pack(good | change)
    with pytest.raises(BpfError, match="s: 15 bytes instead of 16"):
        codec.unpack(bytes(15))


def test_arrays_of_arrays_and_of_structs() -> None:
    maker, u8, u16, _ = basic()
    pair = maker.composite(Kind.STRUCT, "pair", 4, ("x", u16, 0), ("y", u16, 16))
    grid = maker.array(maker.array(u8, 2), 3)
    maker.composite(Kind.STRUCT, "s", 16, ("grid", grid, 0), ("pairs", maker.array(pair, 2), 64))
    codec = parsed(maker).struct("s")
    value: dict[str, Value] = {
        "grid": [b"ab", b"cd", "e"],
        "pairs": [{"x": 1, "y": 2}, {"x": 3, "y": 4}],
    }
    raw = codec.pack(value)
    assert raw == b"abcde\0\0\0" + struct.pack("<4H", 1, 2, 3, 4)
    assert codec.unpack(raw) == value | {"grid": [b"ab", b"cd", b"e\0"]}


def test_unions_and_anonymous_members() -> None:
    maker, u8, _, u32 = basic()
    v6, v4 = maker.array(u8, 16), u32
    halves = maker.composite(Kind.STRUCT, "", 8, ("low", u32, 0), ("high", u32, 32))
    anonymous = maker.composite(Kind.UNION, "", 8, ("", halves, 0), ("raw", maker.array(u8, 8), 0))
    named = maker.composite(Kind.UNION, "address", 16, ("v4", v4, 0), ("v6", v6, 0))
    maker.composite(Kind.STRUCT, "s", 24, ("", anonymous, 0), ("address", named, 64))
    codec = parsed(maker).struct("s")
    raw = codec.pack({"low": 1, "high": 2, "address": {"v4": 3}})
    assert raw == struct.pack("<III", 1, 2, 3).ljust(24, b"\0")
    assert codec.unpack(raw) == {
        "low": 1,
        "high": 2,
        "raw": struct.pack("<II", 1, 2),
        "address": {"v4": 3, "v6": struct.pack("<I", 3).ljust(16, b"\0")},
    }
    assert codec.pack({"raw": bytes(8), "address": bytes(16)}) == bytes(24)
    cases: list[tuple[Value, str]] = [
        ({"low": 1, "high": 1, "raw": bytes(8), "address": {"v4": 1}}, "exactly one is wanted"),
        ({"address": {"v4": 1}}, "exactly one is wanted of high, low or raw"),
        ({"low": 1, "address": {"v4": 1}}, "member high is missing"),
        ({"raw": bytes(8), "address": {}}, "address: exactly one is wanted of v4 or v6"),
        ({"raw": bytes(8), "address": {"v4": 1, "v6": bytes(16)}}, "exactly one"),
    ]
    for wrong, complaint in cases:
        with pytest.raises(BpfError, match=complaint):
            codec.pack(wrong)


def test_enums() -> None:
    maker, *_ = basic()
    plain = maker.enum("plain", {"A": 0, "B": 0xFFFFFFFF})
    maker.enum("signed", {"LESS": -1, "MORE": 1}, flag=True)
    wide = maker.enum64("wide", {"LARGE": 1 << 40})
    maker.enum64("wide_signed", {"LOW": -(1 << 40)}, flag=True)
    maker.add(Kind.TYPEDEF, "alias", plain)
    maker.composite(Kind.STRUCT, "s", 16, ("p", plain, 0), ("w", wide, 64))
    btf = parsed(maker)
    assert btf.enum("plain") == {"A": 0, "B": 0xFFFFFFFF} == btf.enum("alias")
    assert btf.enum("signed") == {"LESS": -1, "MORE": 1}
    assert btf.enum("wide") == {"LARGE": 1 << 40}
    assert btf.enum("wide_signed") == {"LOW": -(1 << 40)}
    codec = btf.struct("s")
    assert codec.unpack(codec.pack({"p": 7, "w": 1 << 40})) == {"p": 7, "w": 1 << 40}
    for name in ("none", "s"):
        with pytest.raises(BpfError, match="no enum"):
            btf.enum(name)


def test_names_that_are_not_there_and_kinds_without_a_codec() -> None:
    maker, _, _, u32 = basic()
    pointer = maker.add(Kind.PTR, "", u32)
    maker.composite(Kind.STRUCT, "pointing", 8, ("p", pointer, 0))
    maker.add(Kind.FWD, "forward", 0)
    maker.composite(Kind.STRUCT, "flagged", 4, ("bits", u32, 3 << 24 | 0), flag=True)
    maker.composite(Kind.STRUCT, "shifted", 4, ("bits", u32, 3))
    narrow = maker.integer("narrow", 4, bits=5)
    maker.composite(Kind.STRUCT, "narrowed", 4, ("bits", narrow, 0))
    maker.composite(Kind.STRUCT, "whole", 4, ("x", u32, 0), flag=True)
    btf = parsed(maker)
    for name in ("none", "u32", "forward", ""):
        with pytest.raises(BpfError, match="no struct"):
            btf.struct(name)
    with pytest.raises(BpfError, match="no codec for ptr"):
        btf.struct("pointing")
    for name in ("flagged", "shifted", "narrowed"):
        with pytest.raises(BpfError, match=f"{name}.bits is a bitfield"):
            btf.struct(name)
    assert btf.struct("whole").pack({"x": 1}) == b"\1\0\0\0"
    with pytest.raises(BpfError, match="no member y"):
        btf.struct("whole").offset("y")


def test_a_section_is_read_and_written_by_variable() -> None:
    maker, u8, _, u32 = basic()
    u64 = maker.integer("u64", 8)
    variables = (
        (maker.variable("flag", u8), 0, 1),
        (maker.variable("number", maker.add(Kind.CONST, "", u32)), 4, 4),
        (maker.variable("wide", u64), 8, 8),
        (maker.variable("odd", maker.array(u8, 3)), 16, 3),
        (maker.variable("pointer", maker.add(Kind.PTR, "", 0)), 24, 8),
    )
    maker.section(".rodata", 32, *variables)
    section = parsed(maker).section(".rodata")
    memory = bytearray(32)
    values: dict[str, Value] = {"flag": 1, "number": 2, "wide": 3 << 40, "odd": b"abc"}
    for name, value in values.items():
        section.write(memoryview(memory), name, value)
    assert bytes(memory) == struct.pack("<BxxxIQ3s", 1, 2, 3 << 40, b"abc").ljust(32, b"\0")
    assert section.read(memory, "wide") == 3 << 40
    assert list(section) == ["flag", "number", "wide", "odd", "pointer"]
    assert ("odd" in section, "even" in section) == (True, False)
    with pytest.raises(BpfError, match="no variable even"):
        section.read(memory, "even")
    with pytest.raises(BpfError, match="no codec for ptr"):
        section.read(memory, "pointer")
    with pytest.raises(BpfError, match="no section .data"):
        parsed(maker).section(".data")


def shape(maker: Maker, *members: tuple[str, int, int]) -> str:
    number = maker.composite(Kind.STRUCT, "s", 8, *members)
    return parsed(maker).layout(number)


def test_a_layout_differs_where_the_bytes_mean_something_else() -> None:
    def made(first: str, kind: str, place: int) -> str:
        maker, u8, u16, u32 = basic()
        types = {
            "u32": u32,
            "s32": maker.integer("s32", 4, encoding=1),
            "be32": maker.add(Kind.TYPEDEF, "__be32", u32),
            "alias": maker.add(Kind.TYPEDEF, "alias", u32),
            "u8[4]": maker.array(u8, 4),
            "u16[2]": maker.array(u16, 2),
        }
        return shape(maker, (first, types[kind], place))

    kinds = ("u32", "s32", "be32", "u8[4]", "u16[2]")
    every = {made("x", kind, 0) for kind in kinds} | {made("y", "u32", 0), made("x", "u32", 32)}
    assert len(every) == len(kinds) + 2
    assert made("x", "alias", 0) == made("x", "u32", 0)


def test_malformed_bytes_are_a_bpf_error_and_nothing_else() -> None:
    maker, u8, _, u32 = basic()
    maker.composite(Kind.STRUCT, "s", 8, ("a", u32, 0), ("b", maker.array(u8, 4), 32))
    maker.enum("e", {"A": 1})
    maker.section(".data", 8, (maker.variable("v", u32), 0, 4))
    good = maker.bytes()
    for length in range(len(good)):
        with pytest.raises(BpfError, match="malformed BTF"):
            Btf.parse(good[:length])
    chance = random.Random(64)
    refused = 0
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        try:
            Btf.parse(bytes(bad))
        except BpfError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "image", [b"", b"\x7fELF", b"\x7fELF\1\1" + bytes(60), b"\x7fELF\2\1" + bytes(20), bytes(200)]
)
def test_what_is_no_object_is_said(image: bytes) -> None:
    with pytest.raises(BpfError, match="here: (not a 64-bit|the ELF file is cut short)"):
        Btf.from_elf(image, "here")


def test_an_elf_file_of_another_machine() -> None:
    header = struct.pack("<16sHHI", b"\x7fELF\2\1\1", 1, 62, 1) + bytes(40)
    with pytest.raises(BpfError, match="of machine 62, not of BPF"):
        Btf.from_elf(header)
