"""BPF maps: bytes in, bytes out. What the bytes mean is said by ``bpf/btf.py``."""

import errno
import mmap
from collections.abc import Iterable, Iterator
from ctypes import byref, c_uint32, create_string_buffer, sizeof
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

from bpf.errors import BpfError
from bpf.handles import Handle, open_pin
from bpf.native import BatchOpts, RawMapInfo, check, error_name, libbpf, possible_cpus, read_info

ANY, NOEXIST, EXIST = 0, 1, 2
"""Flags of ``Map.update``: always, only a new key, only a known key."""

F_MMAPABLE = 1 << 10
_BATCH = 4096


class MapType(IntEnum):
    """The map types that edge64 meets (``enum bpf_map_type``)."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    DEVMAP = 14
    CPUMAP = 16
    DEVMAP_HASH = 25
    RINGBUF = 27

    @classmethod
    def label(cls, number: int) -> str:
        """A name for any type, also one not listed here."""
        try:
            return cls(number).name.lower()
        except ValueError:
            return f"type {number}"


_PER_CPU = (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH)
# The kernel sets BPF_F_RDONLY_PROG on these by itself.
_KERNEL_FLAGS = {MapType.DEVMAP: 1 << 7, MapType.DEVMAP_HASH: 1 << 7}


@dataclass(frozen=True)
class MapShape:
    """What two maps must agree on to stand for each other."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    extra: int = 0

    def differences(self, other: "MapShape") -> list[str]:
        """Each field in which ``other`` differs, as "key_size 4 instead of 8" (other's first)."""
        found = []
        for name in ("type", "key_size", "value_size", "max_entries", "flags", "extra"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if name == "flags":
                mine &= ~_KERNEL_FLAGS.get(self.type, 0)  # type: ignore[call-overload]
                theirs &= ~_KERNEL_FLAGS.get(other.type, 0)  # type: ignore[call-overload]
            if mine != theirs:
                if name == "type":
                    mine, theirs = MapType.label(mine), MapType.label(theirs)
                found.append(f"{name} {theirs} instead of {mine}")
        return found


class Map(Handle):
    """A live map. Keys and values are bytes of exactly ``key_size`` and ``value_size``."""

    noun = "map"

    def __init__(self, fd: int, name: str = "") -> None:
        """Takes over ``fd``. ``name``: the full one, where the kernel's is cut to 15 bytes."""
        super().__init__(fd)
        info = RawMapInfo()
        read_info(fd, info)
        self.id: int = info.id
        self.name: str = name or info.name.decode()
        self.shape = MapShape(
            info.type,
            info.key_size,
            info.value_size,
            info.max_entries,
            info.map_flags,
            info.map_extra,
        )
        self.btf_id: int = info.btf_id
        self.btf_value_type_id: int = info.btf_value_type_id
        self.per_cpu = info.type in _PER_CPU
        self._cpus = possible_cpus() if self.per_cpu else 0
        self._stride = (info.value_size + 7) // 8 * 8
        self._out = create_string_buffer(self._stride * max(1, self._cpus))

    @classmethod
    def open_pinned(cls, path: Path) -> Self:
        """The map pinned at ``path``; its name is the file's."""
        return cls(open_pin(path, cls.noun), path.name)

    @property
    def type(self) -> int:
        return self.shape.type

    @property
    def key_size(self) -> int:
        return self.shape.key_size

    @property
    def value_size(self) -> int:
        return self.shape.value_size

    @property
    def max_entries(self) -> int:
        return self.shape.max_entries

    def lookup(self, key: bytes) -> bytes | None:
        """The value under ``key``, None if there is none."""
        if self.per_cpu:
            raise BpfError(f"map {self.name} has a value for each CPU", "use lookup_per_cpu")
        return self._out.raw[: self.value_size] if self._lookup(key) else None

    def lookup_per_cpu(self, key: bytes) -> list[bytes] | None:
        """The values under ``key``, one for each possible CPU."""
        if not self.per_cpu:
            raise BpfError(f"map {self.name} has one value for all CPUs", "use lookup")
        if not self._lookup(key):
            return None
        raw = self._out.raw
        return [
            raw[start : start + self.value_size]
            for start in range(0, self._stride * self._cpus, self._stride)
        ]

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Set one entry. NOEXIST and EXIST are refused with the BpfError of the kernel's errno."""
        if self.per_cpu:
            raise BpfError(f"map {self.name} has a value for each CPU", "use update_per_cpu")
        self._check_key(key)
        self._check_value(value)
        self._update(key, value, flags)

    def update_per_cpu(self, key: bytes, values: list[bytes], flags: int = ANY) -> None:
        """Set one entry of a per-CPU map: ``values`` has one for each possible CPU."""
        if not self.per_cpu:
            raise BpfError(f"map {self.name} has one value for all CPUs", "use update")
        if len(values) != self._cpus:
            raise BpfError(f"map {self.name}: {len(values)} values for {self._cpus} CPUs")
        self._check_key(key)
        for value in values:
            self._check_value(value)
        self._update(key, b"".join(value.ljust(self._stride, b"\0") for value in values), flags)

    def delete(self, key: bytes) -> bool:
        """Remove one entry; False if there was none."""
        self._check_key(key)
        result = int(libbpf.bpf_map_delete_elem(self.fd, key))
        if result == -errno.ENOENT:
            return False
        check(result, f"delete an entry of map {self.name}")
        return True

    def keys(self) -> Iterator[bytes]:
        """Every key, in the kernel's order.

        While others write, a hash may start over after the entry that the walk stands on went
        away; keys can then come twice.
        """
        following = create_string_buffer(self.key_size)
        current: bytes | None = None
        while True:
            result = int(libbpf.bpf_map_get_next_key(self.fd, current, following))
            if result == -errno.ENOENT:
                return
            check(result, f"walk map {self.name}")
            current = following.raw
            yield current

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every entry, one system call for each key and value; ``read_all`` is faster."""
        for key in self.keys():
            value = self.lookup(key)
            if value is not None:
                yield key, value

    def read_all(self) -> list[tuple[bytes, bytes]]:
        """Every entry by batches. A per-CPU value is its CPUs' values, each padded to 8 bytes."""
        value_size = self._stride * self._cpus if self.per_cpu else self.value_size
        # The position is a u32 for hashes and arrays, a key for tries: room for both.
        position = create_string_buffer(max(self.key_size, 8))
        keys = create_string_buffer(self.key_size * _BATCH)
        values = create_string_buffer(value_size * _BATCH)
        options = BatchOpts(sizeof(BatchOpts), 0, 0)
        entries: list[tuple[bytes, bytes]] = []
        first = True
        while True:
            count = c_uint32(_BATCH)
            result = int(
                libbpf.bpf_map_lookup_batch(
                    self.fd,
                    None if first else position,
                    position,
                    keys,
                    values,
                    byref(count),
                    byref(options),
                )
            )
            if result < 0 and result != -errno.ENOENT:
                check(result, f"read map {self.name} by batches")
            first = False
            raw_keys = keys.raw[: count.value * self.key_size]
            raw_values = values.raw[: count.value * value_size]
            entries.extend(
                (
                    raw_keys[i * self.key_size : (i + 1) * self.key_size],
                    raw_values[i * value_size : (i + 1) * value_size],
                )
                for i in range(count.value)
            )
            if result == -errno.ENOENT:
                return entries

    def update_batch(self, entries: Iterable[tuple[bytes, bytes]], flags: int = ANY) -> int:
        """Set many entries (not of a per-CPU map) with few system calls; how many.

        When one is refused, the ones before it are in.
        """
        if self.per_cpu:
            raise BpfError(f"map {self.name} has a value for each CPU", "use update_per_cpu")
        wanted = list(entries)
        for key, value in wanted:
            self._check_key(key)
            self._check_value(value)
        options = BatchOpts(sizeof(BatchOpts), flags, 0)
        done = 0
        while done < len(wanted):
            part = wanted[done : done + _BATCH]
            count = c_uint32(len(part))
            result = int(
                libbpf.bpf_map_update_batch(
                    self.fd,
                    b"".join(key for key, _ in part),
                    b"".join(value for _, value in part),
                    byref(count),
                    byref(options),
                )
            )
            if result < 0:
                raise self._refused(-result, f"entry {done + count.value} of {len(wanted)}")
            done += len(part)
        return done

    def mmap(self) -> memoryview:
        """The values of an array with BPF_F_MMAPABLE (also ``.data`` and ``.bss``), shared live.

        Element *i* starts at ``i * stride``, stride being value_size rounded up to 8. Bytes are
        written as they are; for a store that a program may read half way use
        ``view[a:b].cast("Q")[0] = n``, which is one 8-byte store.
        """
        if not self.shape.flags & F_MMAPABLE:
            raise BpfError(f"map {self.name} cannot be mapped", "declare it with BPF_F_MMAPABLE")
        try:
            mapped = mmap.mmap(self.fd, self._stride * self.max_entries)
        except OSError as error:
            raise BpfError(f"cannot mmap map {self.name}: {error.strerror}") from error
        return memoryview(mapped)

    def freeze(self) -> None:
        """No more writes from user space."""
        check(int(libbpf.bpf_map_freeze(self.fd)), f"freeze map {self.name}")

    def _lookup(self, key: bytes) -> bool:
        self._check_key(key)
        result = int(libbpf.bpf_map_lookup_elem(self.fd, key, self._out))
        if result == -errno.ENOENT:
            return False
        check(result, f"look up in map {self.name}")
        return True

    def _update(self, key: bytes, value: bytes, flags: int) -> None:
        result = int(libbpf.bpf_map_update_elem(self.fd, key, value, flags))
        if result < 0:
            raise self._refused(-result, f"key {key.hex()}")

    def _refused(self, number: int, which: str) -> BpfError:
        what = f"cannot update map {self.name}, {which}: {error_name(number)}"
        if number in (errno.E2BIG, errno.ENOSPC):
            return BpfError(what, f"it holds {self.max_entries} entries at most")
        return BpfError(what)

    def _check_key(self, key: bytes) -> None:
        if len(key) != self.key_size:
            raise BpfError(f"map {self.name}: key of {len(key)} bytes, not {self.key_size}")

    def _check_value(self, value: bytes) -> None:
        if len(value) != self.value_size:
            raise BpfError(f"map {self.name}: value of {len(value)} bytes, not {self.value_size}")
