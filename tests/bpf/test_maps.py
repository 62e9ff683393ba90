"""Maps, pins and rings, against the kernel (loader.bpf.c)."""

import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bpf.errors import BpfError
from bpf.kernel_btf import kernel_layout
from bpf.libbpf import (
    EXIST,
    NOEXIST,
    Link,
    Map,
    MapType,
    Object,
    Program,
    RingBuffer,
    Verdict,
    mount_bpffs,
    possible_cpus,
    unmount_bpffs,
)

FRAME = bytes(range(64))
ZERO = bytes(4)
OpenObject = Callable[[str], Object]


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
