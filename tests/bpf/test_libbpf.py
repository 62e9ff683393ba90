"""Objects, and what is set in them before they are loaded (loader.bpf.c)."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from bpf.errors import BpfError
from bpf.libbpf import (
    LoadError,
    Object,
    Verdict,
)
from bpf.objects import object_path

FRAME = bytes(range(64))
ZERO = bytes(4)
OpenObject = Callable[[str], Object]


def settings(**changed: object) -> dict[str, object]:
    base: dict[str, object] = {
        "verdict": Verdict.TX,
        "prefix": [0x0064FF9B, 0, 0, 0],
        "inners": [{"port": 80, "mac": bytes(6)}, {"port": 443, "mac": b"\2\0\0\0\0\1"}],
        "colour": -3,
        "offset": -2,
        "on": True,
        "low": 7,
        "high": 9,
        "name": "edge",
    }
    return base | changed


class TestConstants:
    def test_a_constant_decides(self, fresh: Object) -> None:
        fresh.set_constants({"settings": settings(verdict=Verdict.DROP)})  # type: ignore[dict-item]
        fresh.load()
        assert fresh.program("constant").run(FRAME).retval == Verdict.DROP

    def test_unset_constants_stay(self, fresh: Object) -> None:
        fresh.set_constants({"limit": 9})
        found = fresh.constants
        assert found["limit"] == 9
        assert found["table"] == b"\1\2\3\4"
        assert found["settings"]["verdict"] == Verdict.PASS
        assert found["settings"]["name"] == b"default\0"

    def test_every_kind_of_member_reaches_the_kernel(self, fresh: Object) -> None:
        fresh.set_constants({"settings": settings(), "table": b"\4\3\2\1"})  # type: ignore[dict-item]
        fresh.load()
        raw = fresh.map(".rodata").lookup(ZERO)
        assert raw is not None
        section = fresh.section(".rodata")
        assert section.read(raw, "table") == b"\4\3\2\1"
        place = section.place("settings")
        assert raw[place.offset : place.offset + place.size] == (
            struct.pack("<I", Verdict.TX)
            + bytes.fromhex("0064ff9b 00000000 00000000 00000000")
            + bytes.fromhex("0050 000000000000 01bb 020000000001")
            + struct.pack("<ih?x4x", -3, -2, True)
            + struct.pack("<II", 7, 9)
            + b"edge\0\0\0\0"
        )

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ({"lmit": 1}, "no constant lmit"),
            ({"limit": b"\0"}, "limit: 1 bytes instead of 4"),
            ({"limit": 1 << 32}, "limit: 4294967296 does not fit 4 unsigned bytes"),
            ({"limit": -1}, "does not fit"),
            ({"limit": "one"}, "limit: str instead of an integer"),
            ({"table": [1, 2, 3, 4]}, "table: list instead of bytes"),
            ({"table": b"12345"}, "table: 5 bytes instead of 4"),
            ({"settings": settings(prefix=[1])}, r"settings.prefix: 1 elements instead of 4"),
            ({"settings": settings(name="too long")}, "settings.name"),
            ({"settings": settings(wrong=1)}, "settings: no member wrong"),
            ({"settings": settings(wide=1)}, "settings: exactly one is wanted of"),
            (
                {"settings": settings(inners=[{"port": 1, "mac": bytes(6)}, {"port": 1}])},
                r"settings.inners\[1\]: member mac is missing",
            ),
        ],
    )
    def test_bad_values_are_named(
        self, fresh: Object, values: dict[str, int], complaint: str
    ) -> None:
        before = fresh.constants
        with pytest.raises(BpfError, match=complaint):
            fresh.set_constants(values)
        assert fresh.constants == before

    def test_too_late(self, loaded: Object) -> None:
        with pytest.raises(BpfError, match="is loaded: too late"):
            loaded.set_constants({"limit": 1})

    def test_variables_before_load_and_live_after_it(self, fresh: Object) -> None:
        fresh.set_variables(".data.runtime", {"runtime": {"generation": 5, "answer": 1}})
        fresh.load()
        program = fresh.program("constant")
        assert program.run(FRAME).retval == 1
        section, memory = fresh.section(".data.runtime"), fresh.map(".data.runtime").mmap()
        assert section.read(memory, "runtime") == {"generation": 5, "answer": 1, "pad": 0}
        assert section.read(memory, "beside") == 3
        section.write(memory, "runtime", {"generation": 6, "answer": 3})
        assert program.run(FRAME).retval == 3
        with fresh.map(".bss").mmap() as seen:
            assert fresh.section(".bss").unpack(seen) == {"seen": 2 * len(FRAME)}


class TestObject:
    def test_missing_and_malformed_files(self, tmp_path: Path) -> None:
        with pytest.raises(BpfError, match="cannot read .*none.bpf.o: No such file") as failure:
            Object.open(tmp_path / "none.bpf.o")
        assert "make objects" in failure.value.hint
        whole = object_path("loader").read_bytes()
        bad = tmp_path / "bad.bpf.o"
        for content in (b"", b"text", whole[:70], whole[: len(whole) // 2]):
            bad.write_bytes(content)
            with pytest.raises(BpfError, match=r"bad\.bpf\.o"):
                Object.open(bad)

    def test_a_refusal_tells_the_verifiers_reason(
        self, open_object: OpenObject, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(LoadError, match="R1 offset is outside of the packet") as failure:
            open_object("refused").load()
        assert "\n" not in str(failure.value)
        assert "invalid access to packet" in failure.value.log
        assert "invalid access to packet" in failure.value.__notes__[0]
        assert capfd.readouterr() == ("", "")

    def test_statistics_of_the_verifier(self, fresh: Object) -> None:
        log = fresh.load(log_level=4)
        assert log.count("processed ") == len(fresh.program_names)

    def test_programs_can_be_left_out(self, fresh: Object) -> None:
        fresh.only("drop")
        fresh.load()
        assert fresh.program("drop").run(FRAME).retval == Verdict.DROP
        with pytest.raises(BpfError, match="program grow was left out"):
            fresh.program("grow")

    def test_unknown_names_and_wrong_order(self, fresh: Object) -> None:
        for ask in (lambda: fresh.definition("none"), lambda: fresh.map("none")):
            with pytest.raises(BpfError, match="no map none"):
                ask()
        with pytest.raises(BpfError, match="no program none"):
            fresh.program("none")
        with pytest.raises(BpfError, match="no program none"):
            fresh.only("none")
        with pytest.raises(BpfError, match="not loaded yet"):
            fresh.map("ring")
        with pytest.raises(BpfError, match="no data section"):
            fresh.definition("ring").initial()
        fresh.close()
        with pytest.raises(BpfError, match="closed"):
            fresh.load()

    def test_maps_and_programs_outlive_it(self, loaded: Object) -> None:
        program, table = loaded.program("drop"), loaded.map("table_with_a_long_name")
        loaded.close()
        assert program.run(FRAME).retval == Verdict.DROP
        assert table.lookup(bytes(8)) is None
        assert table.name == "table_with_a_long_name"
