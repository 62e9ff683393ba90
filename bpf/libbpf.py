"""Objects compiled ahead of time: open, set constants and map sizes, load.

The thin ctypes layer on ``libbpf.so.1``. Its parts: ``native`` (the C border), ``maps``,
``programs``, ``links``, ``ringbuf``, ``bpffs``; what callers use of them can be had from here.
"""

import os
from collections.abc import Iterator, Mapping
from ctypes import byref, c_char, c_size_t
from pathlib import Path
from typing import Any, Self

from bpf.bpffs import is_bpffs, mount_bpffs, unmount_bpffs
from bpf.btf import Btf
from bpf.codec import SectionCodec, Value
from bpf.errors import BpfError
from bpf.handles import Closing, duplicate
from bpf.kernel_btf import kernel_layout
from bpf.links import Link, LinkInfo, XdpAttachment, attached_xdp
from bpf.maps import ANY, EXIST, NOEXIST, Map, MapShape, MapType
from bpf.native import captured_log, check, error_name, libbpf, possible_cpus
from bpf.programs import (
    Program,
    ProgramInfo,
    RunResult,
    Verdict,
    program_info,
    run_time_statistics,
)
from bpf.ringbuf import RingBuffer

__all__ = [
    "ANY",
    "EXIST",
    "NOEXIST",
    "Link",
    "LinkInfo",
    "LoadError",
    "Map",
    "MapDefinition",
    "MapShape",
    "MapType",
    "Object",
    "Program",
    "ProgramInfo",
    "RingBuffer",
    "RunResult",
    "Verdict",
    "XdpAttachment",
    "attached_xdp",
    "is_bpffs",
    "mount_bpffs",
    "possible_cpus",
    "program_info",
    "run_time_statistics",
    "unmount_bpffs",
]

_LOG_LINES = 60


class LoadError(BpfError):
    """The kernel refused the object. ``log``: the verifier's log; its end is a note, too."""

    def __init__(self, message: str, log: str) -> None:
        lines = log.rstrip().splitlines()
        ends = [lines[i - 1] for i, line in enumerate(lines) if line.startswith("processed ") and i]
        reason = ends[-1] if ends else _last_line([log])
        super().__init__(f"{message}: {reason}" if reason else message)
        self.log = log
        self.add_note("\n".join(lines[-_LOG_LINES:]))


class MapDefinition:
    """A map of an object that is not loaded yet."""

    def __init__(self, owner: "Object", pointer: int) -> None:
        self._owner = owner
        self._pointer = pointer
        self.name: str = libbpf.bpf_map__name(pointer).decode()
        self.internal: bool = libbpf.bpf_map__is_internal(pointer)

    @property
    def shape(self) -> MapShape:
        return MapShape(
            libbpf.bpf_map__type(self._pointer),
            libbpf.bpf_map__key_size(self._pointer),
            libbpf.bpf_map__value_size(self._pointer),
            libbpf.bpf_map__max_entries(self._pointer),
            libbpf.bpf_map__map_flags(self._pointer),
            libbpf.bpf_map__map_extra(self._pointer),
        )

    def set_max_entries(self, count: int) -> None:
        self._owner._require_unloaded("size map " + self.name)
        check(
            int(libbpf.bpf_map__set_max_entries(self._pointer, count)),
            f"set the size of map {self.name} to {count}",
        )

    def reuse(self, live: Map) -> None:
        """Take a map that exists, with what is in it, instead of making one.

        Refused when its shape, or the layout of its values by BTF, is another. ``live`` stays the
        caller's.
        """
        self._owner._require_unloaded("reuse map " + self.name)
        differences = self.shape.differences(live.shape)
        ours, theirs = self._layout(), kernel_layout(live)
        if not differences and ours and theirs and ours != theirs:
            differences = [f"layout {theirs} instead of {ours}"]
        if differences:
            raise BpfError(
                f"map {self.name} cannot take over the existing one: {'; '.join(differences)}",
                "it was made by another version; a fresh one must replace it",
            )
        check(
            int(libbpf.bpf_map__reuse_fd(self._pointer, live.fd)),
            f"reuse the existing map {self.name}",
        )

    def reuse_pinned(self, path: Path) -> None:
        """As ``reuse``, of the map pinned at ``path``."""
        with Map.open_pinned(path) as live:
            self.reuse(live)

    def initial(self) -> memoryview:
        """A data section's bytes as the program will find them; writable until load."""
        self._owner._require_unloaded("write section " + self.name)
        size = c_size_t()
        start = libbpf.bpf_map__initial_value(self._pointer, byref(size))
        if not start:
            raise BpfError(f"map {self.name} is no data section")
        return memoryview((c_char * size.value).from_address(start)).cast("B")

    def _layout(self) -> str | None:
        btf = self._owner.btf
        if self.internal:
            section = self._owner.section_of(self.name)
            return btf.layout(btf.section_id(section)) if section else None
        number = libbpf.bpf_map__btf_value_type_id(self._pointer)
        return btf.layout(number) if number else None


class Object(Closing):
    """A compiled object. Set it up, ``load()`` it, take maps and programs, close it.

    Maps and programs taken from it own their descriptors: they stay when it is closed.
    """

    def __init__(self, pointer: int, path: Path, btf: Btf) -> None:
        """Use ``open``."""
        self._pointer: int | None = pointer
        self.path = path
        self.btf = btf
        self.loaded = False
        # Taken at once: reuse makes libbpf forget a map's full name.
        self._maps = {each.name: each for each in self._each_map()}
        self._programs = {
            libbpf.bpf_program__name(each).decode(): each for each in self._each_program()
        }

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a compiled object; nothing reaches the kernel yet."""
        btf = Btf.from_file(path)
        with captured_log() as log:
            pointer = libbpf.bpf_object__open_file(os.fsencode(path), None)
        if not pointer:
            raise BpfError(f"cannot open {path}: {_last_line(log) or 'libbpf does not say why'}")
        return cls(pointer, path, btf)

    def set_constants(self, values: Mapping[str, Value]) -> None:
        """Set ``const volatile`` variables (``.rodata``) by name; what is not named stays.

        Values as ``bpf/codec.py`` describes. BpfError for an unknown name or a wrong size.
        """
        for name, value in values.items():
            self._set(name, value, self._sections(".rodata"), "constant")

    def set_variables(self, section: str, values: Mapping[str, Value]) -> None:
        """Set what variables of ``.data``, ``.bss`` or ``.data.NAME`` start with."""
        for name, value in values.items():
            self._set(name, value, [section], "variable")

    @property
    def constants(self) -> dict[str, Any]:
        """Every ``const volatile`` variable that is now set, decoded."""
        found: dict[str, Any] = {}
        for section in self._sections(".rodata"):
            found |= self.btf.section(section).unpack(self.definition(section).initial())
        return found

    def definition(self, name: str) -> MapDefinition:
        """A map before load: by its name, or a data section by its own (``.data.runtime``)."""
        return self._maps[self._map_name(name)]

    def map(self, name: str) -> Map:
        """A map after load; each call gives a new one, with a descriptor of its own."""
        full = self._map_name(name)
        self._require_loaded(f"map {name}")
        fd = check(
            int(libbpf.bpf_map__fd(self._maps[full]._pointer)), f"take map {name} of {self.path}"
        )
        return Map(duplicate(fd), full)

    def program(self, name: str) -> Program:
        """A program after load; each call gives a new one, with a descriptor of its own."""
        pointer = self._program_pointer(name)
        self._require_loaded(f"program {name}")
        if not libbpf.bpf_program__autoload(pointer):
            raise BpfError(f"program {name} was left out of the load")
        fd = check(int(libbpf.bpf_program__fd(pointer)), f"take program {name} of {self.path}")
        return Program(duplicate(fd), name)

    def set_autoload(self, name: str, wanted: bool) -> None:
        """Whether ``load`` loads this program (each one is, unless told otherwise)."""
        self._require_unloaded("choose programs")
        check(
            int(libbpf.bpf_program__set_autoload(self._program_pointer(name), wanted)),
            f"choose whether to load program {name}",
        )

    def only(self, *names: str) -> None:
        """Load just these programs."""
        for name in names:
            self._program_pointer(name)
        for name in self._programs:
            self.set_autoload(name, name in names)

    @property
    def map_names(self) -> list[str]:
        """Full names, as the object has them; data sections too (``edge64.rodata``)."""
        return list(self._maps)

    @property
    def program_names(self) -> list[str]:
        return list(self._programs)

    def load(self, log_level: int = 0) -> str:
        """Make maps, verify and load programs; a failure carries the end of the verifier's log.

        ``log_level``: 1 and 2 for the verifier's log, 4 for its statistics; it is returned.
        """
        self._require_unloaded("load")
        for pointer in self._programs.values():
            libbpf.bpf_program__set_log_level(pointer, log_level)
        with captured_log(verbose=log_level > 0) as log:
            result = int(libbpf.bpf_object__load(self._pointer))
        text = "".join(log)
        if result < 0:
            raise LoadError(f"cannot load {self.path.name}: {error_name(-result)}", text)
        self.loaded = True
        return text

    def section_of(self, map_name: str) -> str | None:
        """The ELF section behind an internal map: ``.rodata`` for ``edge64.rodata``."""
        for section in self.btf.section_names:
            if map_name == section or (
                section in (".rodata", ".data", ".bss") and map_name.endswith(section)
            ):
                return section
        return None

    def section(self, name: str) -> SectionCodec:
        """The layout of a data section, to read and write its mapped memory (``Map.mmap``)."""
        return self.btf.section(name)

    def close(self) -> None:
        if self._pointer is not None:
            pointer, self._pointer = self._pointer, None
            libbpf.bpf_object__close(pointer)

    def __del__(self) -> None:
        if getattr(self, "_pointer", None) is not None:
            self.close()

    def _set(self, name: str, value: Value, sections: list[str], noun: str) -> None:
        for section in sections:
            codec = self.btf.section(section)
            if name in codec:
                codec.write(self.definition(section).initial(), name, value)
                return
        known = [each for section in sections for each in self.btf.section(section)]
        raise BpfError(f"{self.path.name}: no {noun} {name}", f"there are: {', '.join(known)}")

    def _sections(self, kind: str) -> list[str]:
        return [
            each
            for each in self.btf.section_names
            if each == kind or (each.startswith(kind + ".") and each in self._maps)
        ]

    def _map_name(self, name: str) -> str:
        if name in self._maps:
            return name
        for full in self._maps:
            if name.startswith(".") and self.section_of(full) == name:
                return full
        raise BpfError(f"{self.path.name}: no map {name}", f"there are: {', '.join(self._maps)}")

    def _program_pointer(self, name: str) -> int:
        self._require_open()
        if name not in self._programs:
            known = ", ".join(self._programs)
            raise BpfError(f"{self.path.name}: no program {name}", f"there are: {known}")
        return self._programs[name]

    def _each_map(self) -> Iterator[MapDefinition]:
        pointer = None
        while pointer := libbpf.bpf_object__next_map(self._pointer, pointer):
            yield MapDefinition(self, pointer)

    def _each_program(self) -> Iterator[int]:
        pointer = None
        while pointer := libbpf.bpf_object__next_program(self._pointer, pointer):
            yield pointer

    def _require_open(self) -> None:
        if self._pointer is None:
            raise BpfError(f"{self.path.name} is closed")

    def _require_loaded(self, what: str) -> None:
        self._require_open()
        if not self.loaded:
            raise BpfError(f"{self.path.name} is not loaded yet: no {what}")

    def _require_unloaded(self, doing: str) -> None:
        self._require_open()
        if self.loaded:
            raise BpfError(f"{self.path.name} is loaded: too late to {doing}")


def _last_line(log: list[str]) -> str:
    lines = [line for text in log for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
