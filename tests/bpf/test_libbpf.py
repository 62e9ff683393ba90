"""Every ability of the loader, against the kernel: the programs are in loader.bpf.c."""

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bpf.errors import BpfError
from bpf.kernel_btf import kernel_layout
from bpf.libbpf import (
    EXIST,
    NOEXIST,
    Link,
    LoadError,
    Map,
    MapType,
    Object,
    Program,
    RingBuffer,
    Verdict,
    attached_xdp,
    mount_bpffs,
    possible_cpus,
    run_time_statistics,
    unmount_bpffs,
)
from bpf.objects import object_path
from tests.bpf.namespaces import ip, received_packets, veth

FRAME = bytes(range(64))
ZERO = bytes(4)
OpenObject = Callable[[str], Object]


@pytest.fixture
def fresh(open_object: OpenObject) -> Object:
    """loader.bpf.o, open."""
    return open_object("loader")


@pytest.fixture
def loaded(fresh: Object) -> Object:
    """loader.bpf.o, loaded as it is."""
    fresh.load()
    return fresh


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


class TestMaps:
    def test_shape(self, fresh: Object) -> None:
        fresh.definition("table_with_a_long_name").set_max_entries(3)
        fresh.load()
        table = fresh.map("table_with_a_long_name")
        assert (table.type, table.key_size, table.value_size) == (MapType.HASH, 8, 8)
        assert table.max_entries == 3
        assert [each for each in fresh.map_names if each.endswith("rodata")] == ["loader.rodata"]

    def test_entries(self, loaded: Object) -> None:
        table = loaded.map("table_with_a_long_name")
        keys = [struct.pack("<II", number, 0) for number in range(16)]
        assert table.lookup(keys[0]) is None
        for number, key in enumerate(keys):
            table.update(key, bytes((number,)) * 8, NOEXIST)
        assert table.lookup(keys[3]) == b"\3" * 8
        with pytest.raises(BpfError, match="EEXIST"):
            table.update(keys[0], bytes(8), NOEXIST)
        with pytest.raises(BpfError, match="E2BIG") as failure:
            table.update(b"\xff" * 8, bytes(8))
        assert "16 entries at most" in failure.value.hint
        assert sorted(table.keys()) == sorted(keys)
        assert dict(table.items()) == dict(table.read_all())
        assert table.delete(keys[0])
        assert not table.delete(keys[0])
        with pytest.raises(BpfError, match="ENOENT"):
            table.update(keys[0], bytes(8), EXIST)
        assert len(table.read_all()) == 15

    def test_lengths_are_checked_before_the_kernel_reads(self, loaded: Object) -> None:
        table, counters = loaded.map("table_with_a_long_name"), loaded.map("counters")
        for ask in (
            lambda: table.lookup(b"x"),
            lambda: table.delete(bytes(9)),
            lambda: table.update(b"", bytes(8)),
            lambda: table.update_batch([(bytes(8), bytes(8)), (bytes(7), bytes(8))]),
        ):
            with pytest.raises(BpfError, match="key of"):
                ask()
        with pytest.raises(BpfError, match="value of 7 bytes, not 8"):
            table.update(bytes(8), bytes(7))
        with pytest.raises(BpfError, match="value of 5 bytes, not 4"):
            counters.update_per_cpu(ZERO, [bytes(5)] * possible_cpus())
        with pytest.raises(BpfError, match="0 values for"):
            counters.update_per_cpu(ZERO, [])
        for misuse in (
            lambda: counters.lookup(ZERO),
            lambda: counters.update(ZERO, ZERO),
            lambda: counters.update_batch([(ZERO, ZERO)]),
            lambda: table.lookup_per_cpu(bytes(8)),
            lambda: table.update_per_cpu(bytes(8), []),
        ):
            with pytest.raises(BpfError, match="has (a value for each CPU|one value for all)"):
                misuse()

    @pytest.mark.parametrize("count", [0, 1, 4096, 4097, 10000])
    def test_batches(self, fresh: Object, count: int) -> None:
        for name in ("table_with_a_long_name", "trie"):
            fresh.definition(name).set_max_entries(10000)
        fresh.load()
        wanted = {
            struct.pack("<I", 32) + struct.pack(">I", number): struct.pack("<I", number)
            for number in range(count)
        }
        trie = fresh.map("trie")
        assert trie.update_batch(wanted.items()) == count
        assert sorted(trie.keys()) == sorted(wanted)
        table = fresh.map("table_with_a_long_name")
        assert table.update_batch((key, value * 2) for key, value in wanted.items()) == count
        assert dict(table.read_all()) == {key: value * 2 for key, value in wanted.items()}

    def test_batch_over_the_limit(self, loaded: Object) -> None:
        table = loaded.map("table_with_a_long_name")
        entries = [(struct.pack("<II", number, 0), bytes(8)) for number in range(17)]
        with pytest.raises(BpfError, match="entry 16 of 17: E2BIG"):
            table.update_batch(entries)
        assert len(table.read_all()) == 16

    def test_per_cpu(self, loaded: Object) -> None:
        counters, program = loaded.map("counters"), loaded.program("constant")
        cpu = max(os.sched_getaffinity(0))
        program.run(FRAME, repeat=5, cpu=cpu)
        values = counters.lookup_per_cpu(ZERO)
        assert values is not None and len(values) == possible_cpus()
        assert [int.from_bytes(each, "little") for each in values] == [
            5 if number == cpu else 0 for number in range(possible_cpus())
        ]
        fresh = [struct.pack("<I", number + 7) for number in range(possible_cpus())]
        counters.update_per_cpu(ZERO, fresh)
        assert counters.lookup_per_cpu(ZERO) == fresh
        padded = dict(counters.read_all())[ZERO]
        assert padded == b"".join(each + bytes(4) for each in fresh)

    def test_mmap(self, loaded: Object) -> None:
        shared = loaded.map("shared")
        memory = shared.mmap()
        assert len(memory) == 8 * 1000
        shared.update(struct.pack("<I", 999), b"12345678")
        assert memory[999 * 8 :] == b"12345678"
        memory[8:16].cast("Q")[0] = 0x0102
        assert shared.lookup(struct.pack("<I", 1)) == struct.pack("<Q", 0x0102)
        shared.close()
        assert memory[999 * 8 :] == b"12345678"
        with pytest.raises(BpfError, match="cannot be mapped"):
            loaded.map("table_with_a_long_name").mmap()

    def test_freeze(self, loaded: Object) -> None:
        table = loaded.map("table_with_a_long_name")
        table.freeze()
        with pytest.raises(BpfError, match="EPERM"):
            table.update(bytes(8), bytes(8))

    def test_close(self, loaded: Object) -> None:
        with loaded.map("trie") as trie:
            number = trie.fd
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        with pytest.raises(BpfError, match="this map is closed"):
            trie.lookup(bytes(8))
        trie.close()


class TestPins:
    def test_a_map_is_adopted_with_what_is_in_it(
        self, loaded: Object, open_object: OpenObject, bpffs: Path
    ) -> None:
        names = ("table_with_a_long_name", "devices", "counters", ".data.runtime", "ring", "trie")
        for name in names:
            loaded.map(name).pin(bpffs / name.replace(".", "_"))
        loaded.map("table_with_a_long_name").update(bytes(8), b"kept now")
        section, memory = loaded.section(".data.runtime"), loaded.map(".data.runtime").mmap()
        section.write(memory, "runtime", {"generation": 77, "answer": 4})
        memory.release()
        loaded.close()
        second = open_object("loader")
        for name in names:
            second.definition(name).reuse_pinned(bpffs / name.replace(".", "_"))
        second.load()
        assert second.map("table_with_a_long_name").lookup(bytes(8)) == b"kept now"
        assert second.program("constant").run(FRAME).retval == 4
        pinned = Map.open_pinned(bpffs / "table_with_a_long_name")
        assert pinned.id == second.map("table_with_a_long_name").id
        assert pinned.name == "table_with_a_long_name"

    def test_another_shape_is_refused(
        self, loaded: Object, open_object: OpenObject, bpffs: Path
    ) -> None:
        for name in ("table_with_a_long_name", "trie", "shared"):
            loaded.map(name).pin(bpffs / name)
        second = open_object("loader")
        definition = second.definition("table_with_a_long_name")
        definition.set_max_entries(17)
        with pytest.raises(BpfError, match="max_entries 16 instead of 17"):
            definition.reuse_pinned(bpffs / "table_with_a_long_name")
        definition.set_max_entries(16)
        with pytest.raises(BpfError, match="type lpm_trie instead of hash; value_size 4 instead"):
            definition.reuse_pinned(bpffs / "trie")
        definition.reuse_pinned(bpffs / "table_with_a_long_name")

    def test_another_layout_of_the_same_size_is_refused(
        self, loaded: Object, open_object: OpenObject, bpffs: Path
    ) -> None:
        loaded.map("table_with_a_long_name").pin(bpffs / "pin")
        other = open_object("reshaped")
        with pytest.raises(BpfError, match=r"layout struct\(8\)\{port@0 beu16.* instead of .*mac"):
            other.definition("table_with_a_long_name").reuse_pinned(bpffs / "pin")

    def test_the_layout_from_the_kernel_is_the_objects(self, loaded: Object) -> None:
        layout = kernel_layout(loaded.map("table_with_a_long_name"))
        assert layout == "struct(8){port@0 beu16, mac@16 [6]u8}"
        assert kernel_layout(loaded.map("trie")) is None

    def test_wrong_pins(self, loaded: Object, bpffs: Path, tmp_path: Path) -> None:
        loaded.program("drop").pin(bpffs / "program")
        with Program.open_pinned(bpffs / "program") as again:
            assert again.id == loaded.program("drop").id
            assert again.run(FRAME).retval == Verdict.DROP
        with pytest.raises(BpfError, match="is no map, it is a bpf-prog"):
            Map.open_pinned(bpffs / "program")
        with pytest.raises(BpfError, match="is no link, it is a bpf-prog"):
            Link.open_pinned(bpffs / "program")
        with pytest.raises(BpfError, match="ENOENT"):
            Map.open_pinned(bpffs / "none")
        with pytest.raises(BpfError, match="EEXIST"):
            loaded.map("ring").pin(bpffs / "program")
        with pytest.raises(BpfError, match="cannot pin a map") as failure:
            loaded.map("ring").pin(tmp_path / "not-a-bpffs")
        assert "bpffs" in failure.value.hint

    def test_mounting(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "bpf"
        assert mount_bpffs(path)
        assert not mount_bpffs(path)
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "folder").mkdir()
        assert not mount_bpffs(path / "folder")
        assert not unmount_bpffs(path / "folder")
        assert unmount_bpffs(path)
        assert not unmount_bpffs(path)
        (path / "file").write_text("")
        with pytest.raises(BpfError, match="not empty"):
            mount_bpffs(path)
        with pytest.raises(BpfError, match="Not a directory|File exists"):
            mount_bpffs(path / "file")


class TestRuns:
    def test_what_comes_out(self, loaded: Object) -> None:
        result = loaded.program("grow").run(FRAME)
        assert result.retval == Verdict.TX
        assert result.data_out == b"\xee" * 6 + FRAME
        assert result.meta_out == struct.pack("<I", 7)
        assert result.duration_ns > 0

    def test_the_device_it_came_in_by(self, loaded: Object, namespace: None) -> None:
        number, _ = veth("left", "right")
        records: list[bytes] = []
        with RingBuffer(loaded.map("ring"), records.append) as ring:
            loaded.program("grow").run(FRAME, ingress_ifindex=number)
            ring.consume()
        assert records == [struct.pack("<II", len(FRAME), number)]
        with pytest.raises(BpfError, match="ENODEV|EINVAL"):
            loaded.program("grow").run(FRAME, ingress_ifindex=4000)

    @pytest.mark.parametrize("size", [14, 3520, 3521, 9000, 60000])
    def test_large_frames_are_fragments(self, loaded: Object, size: int) -> None:
        frame = os.urandom(size)
        result = loaded.program("grow").run(frame)
        assert result.data_out == b"\xee" * 6 + frame
        assert loaded.program("linear").run(frame).retval == min(size, 3520)

    def test_small_frames_can_be_fragments(self, loaded: Object) -> None:
        program = loaded.program("linear")
        if [int(part) for part in os.uname().release.split(".")[:2]] < [6, 18]:
            with pytest.raises(BpfError, match="EINVAL"):
                program.run(bytes(100), linear_bytes=60)
        else:
            assert program.run(bytes(100), linear_bytes=60).retval == 60

    @pytest.mark.parametrize("size", [0, 13])
    def test_frames_too_short_for_ethernet(self, loaded: Object, size: int) -> None:
        with pytest.raises(BpfError, match="EINVAL"):
            loaded.program("drop").run(bytes(size))

    def test_room_for_the_outcome(self, loaded: Object) -> None:
        with pytest.raises(BpfError, match="ENOSPC"):
            loaded.program("grow").run(FRAME, data_out_size=len(FRAME))
        assert loaded.program("drop").run(FRAME, data_out_size=0).data_out == b""

    def test_repeat_and_statistics(self, loaded: Object) -> None:
        program = loaded.program("constant")
        with run_time_statistics():
            program.run(FRAME, repeat=1000)
        info = program.info()
        assert info.run_count == 1000
        assert info.run_time_ns > 0
        assert info.verified_instructions > 5
        assert info.xlated_bytes > 40
        assert info.name == "constant"
        program.run(FRAME, repeat=1000)
        assert program.info().run_count == 1000
        assert Program.open_id(info.id).name == "constant"

    def test_live_frames_are_really_sent(self, loaded: Object, namespace: None) -> None:
        left, right = veth("left", "right")
        loaded.map("devices").update(struct.pack("<I", 7), struct.pack("<I", left))
        with Link.attach_xdp(loaded.program("drop"), right):  # veth's peer must take XDP frames
            before = received_packets("right")
            loaded.program("plain").run(
                FRAME, repeat=1000, ingress_ifindex=left, live_frames=True, batch_size=100
            )
            assert received_packets("right") - before == 1000
        with pytest.raises(BpfError, match="cannot run"):
            loaded.program("plain").run(FRAME, live_frames=True, batch_size=257)

    def test_a_cpu_that_is_not_there(self, loaded: Object) -> None:
        before = os.sched_getaffinity(0)
        with pytest.raises(BpfError, match="CPU 4000"):
            loaded.program("drop").run(FRAME, cpu=4000)
        assert os.sched_getaffinity(0) == before


class TestLinks:
    def test_attach_update_detach(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        drop, constant = loaded.program("drop"), loaded.program("constant")
        link = Link.attach_xdp(drop, left)
        assert (link.info().program_id, link.info().ifindex) == (drop.id, left)
        attached = attached_xdp(left)
        assert attached is not None and (attached.program_id, attached.generic) == (drop.id, False)
        link.update(constant, expected=drop)
        assert link.info().program_id == constant.id
        with pytest.raises(BpfError, match="does not run program"):
            link.update(constant, expected=drop)
        link.detach()
        assert attached_xdp(left) is None
        assert link.info().ifindex == 0
        with pytest.raises(BpfError, match="its device is gone"):
            link.update(drop)

    def test_packets_meet_it(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        records: list[bytes] = []
        with (
            Link.attach_xdp(loaded.program("grow"), left),
            RingBuffer(loaded.map("ring"), records.append) as ring,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire,
        ):
            wire.bind(("right", 0))
            wire.send(FRAME)
            assert ring.poll(5000) >= 1
        assert struct.pack("<II", len(FRAME), left) in records

    def test_a_pinned_link_stays(self, loaded: Object, namespace: None, bpffs: Path) -> None:
        left, _ = veth("left", "right")
        link = Link.attach_xdp(loaded.program("drop"), left)
        link.pin(bpffs / "link")
        link.close()
        loaded.close()
        assert attached_xdp(left) is not None
        with Link.open_pinned(bpffs / "link") as again:
            assert again.info().ifindex == left
        (bpffs / "link").unlink()
        deadline = time.monotonic() + 5
        while attached_xdp(left) and time.monotonic() < deadline:  # the kernel frees pins later
            time.sleep(0.001)
        assert attached_xdp(left) is None

    def test_an_unpinned_link_goes_with_its_descriptor(
        self, loaded: Object, namespace: None
    ) -> None:
        left, _ = veth("left", "right")
        with Link.attach_xdp(loaded.program("drop"), left):
            assert attached_xdp(left) is not None
        assert attached_xdp(left) is None

    def test_generic(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        with Link.attach_xdp(loaded.program("drop"), left, generic=True):
            attached = attached_xdp(left)
            assert attached is not None and attached.generic

    def test_refusals(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        drop = loaded.program("drop")
        ip("link", "add", "bridge", "type", "bridge")
        with pytest.raises(BpfError, match="has no native XDP") as failure:
            Link.attach_xdp(drop, socket.if_nametoindex("bridge"))
        assert "generic" in failure.value.hint
        with pytest.raises(BpfError, match="there is no device 4000"):
            Link.attach_xdp(drop, 4000)
        with Link.attach_xdp(drop, left):
            with pytest.raises(BpfError, match=rf"already runs an XDP program \(program {drop.id}"):
                Link.attach_xdp(drop, left)
            with pytest.raises(BpfError, match="the other mode"):
                Link.attach_xdp(drop, left, generic=True)

    def test_a_large_mtu_needs_frags(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right", "mtu", "9000")
        with pytest.raises(BpfError, match="ERANGE") as failure:
            Link.attach_xdp(loaded.program("plain"), left)
        assert "xdp.frags" in failure.value.hint
        Link.attach_xdp(loaded.program("drop"), left).close()

    def test_its_device_goes_away(self, loaded: Object, namespace: None) -> None:
        left, _ = veth("left", "right")
        with Link.attach_xdp(loaded.program("drop"), left) as link:
            ip("link", "delete", "left")
            assert link.info().ifindex == 0
            with pytest.raises(BpfError, match="its device is gone"):
                link.update(loaded.program("constant"))


class TestRing:
    def test_in_order_and_more_than_fits(self, loaded: Object) -> None:
        program, records = loaded.program("grow"), list[bytes]()
        with RingBuffer(loaded.map("ring"), records.append) as ring:
            assert ring.poll(0) == 0
            for _ in range(4):
                for size in range(20, 120):
                    program.run(bytes(size))
                assert ring.consume() == 100
            lengths = [struct.unpack("<II", each)[0] for each in records]
            assert lengths == [*range(20, 120)] * 4
            program.run(FRAME, repeat=4096 // 16 + 50)  # the ring is full, the rest is lost
            assert ring.consume() < 4096 // 16

    def test_a_failing_callback(self, loaded: Object) -> None:
        def fail(record: bytes) -> None:
            seen.append(record)
            raise LookupError("mine")

        seen: list[bytes] = []
        with RingBuffer(loaded.map("ring"), fail) as ring:
            loaded.program("grow").run(FRAME, repeat=2)
            for _ in range(2):
                with pytest.raises(LookupError, match="mine"):
                    ring.poll(1000)
            assert ring.poll(0) == 0
        assert len(seen) == 2

    def test_its_descriptor_tells_an_event_loop(self, loaded: Object) -> None:
        with RingBuffer(loaded.map("ring"), lambda record: None) as ring:
            assert select.select([ring], [], [], 0)[0] == []
            threading.Timer(0.05, lambda: loaded.program("grow").run(FRAME)).start()
            assert select.select([ring], [], [], 5)[0] == [ring]
            assert ring.consume() == 1
        with pytest.raises(BpfError, match="closed"):
            ring.poll(0)

    def test_another_map_is_refused(self, loaded: Object) -> None:
        with pytest.raises(BpfError, match="trie is no ring buffer, it is lpm_trie"):
            RingBuffer(loaded.map("trie"), lambda record: None)
