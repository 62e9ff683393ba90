"""The datapath as the control plane drives it: commit, adopt, count, keep the next hops true."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Self

from bpf.bpffs import mount_bpffs
from bpf.btf import Btf
from bpf.errors import BpfError
from bpf.libbpf import Object
from bpf.links import Link, attached_xdp
from bpf.maps import Map
from bpf.model import BoxAddresses, Port, Translation
from bpf.objects import object_path
from bpf.programs import Program
from bpf.ringbuf import RingBuffer
from bpf.settings import jiffies_per_second, place_ports, settings_for
from bpf.tables import TRIE_LINE, Tables, compile_tables

PROGRAM = "edge64_xdp"
RUNTIME = ".data.runtime"
KEPT_MAPS = ("counters", RUNTIME, "next_hops_used", "trace_ring", "event_ring", "ipv4_ids")
"""What outlives a program: pinned, and taken over by the next one."""

_LINK = "link-"


@dataclass(frozen=True)
class NextHop:
    """A neighbour that translated packets were sent to: the gateway, or the host on the link."""

    ifindex: int
    address: IPv4Address | IPv6Address


@dataclass(frozen=True)
class JobCount:
    packets: int
    bytes: int


@dataclass(frozen=True)
class PortCounters:
    """One port's counters on one CPU; ``jobs`` and ``reasons`` by name: ``4to6``, ``hop-limit``."""

    port: str
    cpu: int
    jobs: Mapping[str, JobCount]
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class TraceEvent:
    """What the program wrote into its ring. ``head``: the first 128 bytes of the frame."""

    time_ns: int
    ifindex: int
    cpu: int
    reason: str
    job: str
    frame_bytes: int
    head: bytes


@dataclass(frozen=True)
class CommitReport:
    """What a commit did to the ports, by name."""

    attached: tuple[str, ...]
    replaced: tuple[str, ...]
    detached: tuple[str, ...]


def names_of(btf: Btf, enum: str, prefix: str) -> dict[int, str]:
    """Numbers of an enum to the names people see: REASON_HOP_LIMIT is hop-limit."""
    return {
        number: name.removeprefix(prefix).lower().replace("_", "-")
        for name, number in btf.enum(enum).items()
        if not name.endswith("_COUNT")
    }


class LoadedDatapath:
    """One loaded generation: the program with its constants and tables, attached to nothing.

    ``kept``: maps of a former generation that this one takes over, by name.
    """

    def __init__(
        self,
        ports: Sequence[Port],
        translation: Translation,
        own: BoxAddresses,
        kept: Mapping[str, Map] | None = None,
        path: Path | None = None,
    ) -> None:
        self.placed = place_ports(ports)
        with Object.open(path or object_path("edge64")) as loaded:
            self.btf = loaded.btf
            kinds = self.btf.enum("range_kind") | self.btf.enum("range_class")
            tables = compile_tables(translation, own, kinds)
            settings = settings_for(self.placed, translation, own, tables)
            loaded.set_constants({"settings": settings})
            loaded.definition("ipv4_trie").set_max_entries(len(tables.trie) // TRIE_LINE)
            loaded.definition("ranges").set_max_entries(len(tables.ranges))
            loaded.definition("eam_buckets").set_max_entries(tables.bucket_count)
            for name, live in (kept or {}).items():
                loaded.definition(name).reuse(live)
            loaded.load()
            self._fill(loaded, tables)
            self.program = loaded.program(PROGRAM)
            self.beat = loaded.program("edge64_heartbeat")
            self.kept = {name: loaded.map(name) for name in KEPT_MAPS}
            self.next_hops = loaded.map("next_hops")
            self._section = loaded.section(RUNTIME)
        self._runtime = self.kept[RUNTIME].mmap()
        self._layout = self.btf.struct("runtime")

    def _fill(self, loaded: Object, tables: Tables) -> None:
        with loaded.map("ipv4_trie") as trie:
            view = trie.mmap()
            view[: len(tables.trie) * 4] = memoryview(tables.trie).cast("B")
        codec = self.btf.struct("range")
        with loaded.map("ranges") as ranges:
            view = ranges.mmap()
            for number, record in enumerate(tables.ranges):
                view[number * codec.size : (number + 1) * codec.size] = codec.pack(record)
        bucket = self.btf.struct("eam_bucket")
        tags, numbers = memoryview(tables.bucket_tags), memoryview(tables.bucket_ranges)
        half = bucket.size // 2
        with loaded.map("eam_buckets") as buckets:
            view = buckets.mmap()
            for index in range(tables.bucket_count):
                at, slots = index * bucket.size, slice(index * half // 4, (index + 1) * half // 4)
                view[at : at + half] = tags[slots].cast("B")
                view[at + half : at + bucket.size] = numbers[slots].cast("B")

    def heartbeat(self) -> None:
        """Declare that every change up to now has been heard of."""
        self.beat.call()

    def runtime(self) -> dict[str, Any]:
        """``struct runtime`` as it is now."""
        return self._layout.unpack(self._runtime[: self._layout.size])

    def set_runtime(self, member: str, value: int, index: int = 0) -> None:
        """One member of ``struct runtime``, in one store."""
        offset = self._layout.offset(member)
        wide = member in ("heartbeat", "route_mask6")
        width = 8 if wide else 4
        offset += index * width
        place = self._runtime[offset : offset + width].cast("B")
        (place.cast("Q") if wide else place.cast("I"))[0] = value

    def invalidate_next_hops(self) -> None:
        """Nothing kept of next hops counts any more."""
        self.set_runtime("generation", (self.runtime()["generation"] + 1) & 0xFFFFFFFF)

    def set_route_bits(self, ipv4: int, ipv6: int) -> None:
        """The longest prefix of any route outside connected subnets, in each family."""
        mask4 = (0xFFFFFFFF << (32 - ipv4)) & 0xFFFFFFFF
        mask6 = ((1 << 128) - 1) << (128 - ipv6) & ((1 << 128) - 1)
        octets = mask6.to_bytes(16, "big")
        self.set_runtime("route_mask4", int.from_bytes(mask4.to_bytes(4, "big"), "little"))
        self.set_runtime("route_mask6", int.from_bytes(octets[:8], "little"), 0)
        self.set_runtime("route_mask6", int.from_bytes(octets[8:], "little"), 1)
        self.invalidate_next_hops()

    def counters(self) -> list[PortCounters]:
        """Every port's counters, one record a CPU."""
        jobs = names_of(self.btf, "job", "JOB_")
        reasons = names_of(self.btf, "reason", "REASON_")
        layout = self.btf.struct("port_counters")
        found = []
        for slot, port in sorted(self.placed.items()):
            values = self.kept["counters"].lookup_per_cpu(slot.to_bytes(4, "little")) or []
            for cpu, raw in enumerate(values):
                record = layout.unpack(raw)
                found.append(
                    PortCounters(
                        port.name,
                        cpu,
                        {name: JobCount(**record["jobs"][n]) for n, name in jobs.items()},
                        {name: record["reasons"][n] for n, name in reasons.items() if n},
                    )
                )
        return found

    def close(self) -> None:
        for each in (self.program, self.beat, self.next_hops, *self.kept.values()):
            each.close()


@dataclass
class Datapath:
    """The datapath on one folder of a bpffs, where it is found again after a restart."""

    pin_dir: Path
    current: LoadedDatapath | None = None
    _links: dict[int, Link] = field(default_factory=dict)

    @classmethod
    def open(cls, pin_dir: Path) -> Self:
        """Mount the bpffs if need be and find what runs; packets notice nothing."""
        mount_bpffs(pin_dir)
        found = cls(pin_dir)
        for path in sorted(pin_dir.glob(f"{_LINK}*")):
            link = Link.open_pinned(path)
            if link.info().ifindex == 0:  # its device went away
                link.close()
                path.unlink()
            else:
                found._links[int(path.name.removeprefix(_LINK))] = link
        return found

    @property
    def attached(self) -> tuple[int, ...]:
        """The devices that run the datapath."""
        return tuple(sorted(self._links))

    def commit(
        self, ports: Sequence[Port], translation: Translation, own: BoxAddresses
    ) -> CommitReport:
        """Load a new program with new tables and swap it in, on each device at once.

        A failure leaves every device with the program that it had.
        """
        fresh = LoadedDatapath(ports, translation, own, self._kept())
        before = self.current
        try:
            if before is None:
                fresh.set_route_bits(32, 128)
            report = self._attach(fresh, ports)
        except BpfError:
            fresh.close()
            raise
        self._pin_kept(fresh)
        self.current = fresh
        fresh.invalidate_next_hops()
        if before is not None:
            before.close()
        return report

    def heartbeat(self) -> None:
        """As ``LoadedDatapath.heartbeat``; nothing before the first commit."""
        if self.current is not None:
            self.current.heartbeat()

    def invalidate_next_hops(self) -> None:
        """A route, neighbour or link changed: ask the FIB again."""
        if self.current is not None:
            self.current.invalidate_next_hops()

    def set_route_bits(self, ipv4: int, ipv6: int) -> None:
        """As ``LoadedDatapath.set_route_bits``."""
        if self.current is not None:
            self.current.set_route_bits(ipv4, ipv6)

    def counters(self) -> list[PortCounters]:
        """As ``LoadedDatapath.counters``."""
        return self.current.counters() if self.current else []

    def next_hops_in_use(self, within_seconds: float = 60.0) -> list[NextHop]:
        """Next hops that the datapath asked for lately."""
        if self.current is None:
            return []
        layout = self.current.btf.struct("next_hop_key")
        now = self.current.runtime()["heartbeat"]
        oldest = now - round(within_seconds * jiffies_per_second())
        found = []
        for key, value in self.current.kept["next_hops_used"].read_all():
            if int.from_bytes(value, "little") < oldest:
                continue
            record = layout.unpack(key)
            octets = record["address"]
            address = IPv4Address(octets[:4]) if record["family"] == 4 else IPv6Address(octets)
            found.append(NextHop(record["ifindex"], address))
        return found

    def set_trace(self, drops: bool = False, packets: bool = False) -> None:
        """What the program writes into its ring from now on."""
        if self.current is None:
            raise BpfError("nothing is committed yet")
        flags = self.current.btf.enum("trace_flag")
        wanted = (flags["TRACE_DROPS"] if drops else 0) | (flags["TRACE_PACKETS"] if packets else 0)
        self.current.set_runtime("trace_flags", wanted)

    def trace(self, callback: Callable[[TraceEvent], None]) -> RingBuffer:
        """A reader of what ``set_trace`` asked for; poll it, close it. Outlives commits."""
        return self._reader("trace_ring", callback)

    def events(self, callback: Callable[[TraceEvent], None]) -> RingBuffer:
        """A reader of what is always written, for the log; as ``trace``."""
        return self._reader("event_ring", callback)

    def _reader(self, ring: str, callback: Callable[[TraceEvent], None]) -> RingBuffer:
        if self.current is None:
            raise BpfError("nothing is committed yet")
        btf = self.current.btf
        layout = btf.struct("trace_event")
        jobs, reasons = names_of(btf, "job", "JOB_"), names_of(btf, "reason", "REASON_")

        def decode(raw: bytes) -> None:
            event = layout.unpack(raw)
            callback(
                TraceEvent(
                    event["time_ns"],
                    event["ifindex"],
                    event["cpu"],
                    reasons.get(event["reason"], str(event["reason"])),
                    jobs.get(event["job"], str(event["job"])),
                    event["frame_bytes"],
                    event["head"],
                )
            )

        return RingBuffer(self.current.kept[ring], decode)

    def detach(self) -> None:
        """Take the datapath off every device and forget its state."""
        for ifindex, link in list(self._links.items()):
            self._drop_link(ifindex, link)
        for name in KEPT_MAPS:
            self._map_path(name).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of everything; what is attached and pinned stays."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        if self.current is not None:
            self.current.close()
            self.current = None

    def _kept(self) -> dict[str, Map]:
        if self.current is not None:
            return self.current.kept
        found = {}
        for name in KEPT_MAPS:
            path = self._map_path(name)
            if path.exists():
                found[name] = Map.open_pinned(path)
        return found

    def _pin_kept(self, fresh: LoadedDatapath) -> None:
        for name, each in fresh.kept.items():
            path = self._map_path(name)
            if not path.exists():
                each.pin(path)

    def _map_path(self, name: str) -> Path:
        # A bpffs takes no name with a dot in it.
        return self.pin_dir / ("map-" + name.strip(".").replace(".", "-"))

    def _attach(self, fresh: LoadedDatapath, ports: Sequence[Port]) -> CommitReport:
        wanted = _devices(ports)
        undo: list[Callable[[], None]] = []
        attached, replaced, detached = [], [], []
        try:
            for ifindex, port in wanted.items():
                link = self._links.get(ifindex)
                if link is not None and not self._fits(ifindex, link, port):
                    self._drop_link(ifindex, link)
                    link = None
                if link is not None:
                    old = Program.open_id(link.info().program_id)
                    link.update(fresh.program)
                    undo.append(lambda link=link, old=old: link.update(old))  # type: ignore[misc]
                    replaced.append(port.name)
                    continue
                link = Link.attach_xdp(fresh.program, ifindex, port.generic)
                self._links[ifindex] = link
                undo.append(lambda i=ifindex, link=link: self._drop_link(i, link))  # type: ignore[misc]
                link.pin(self.pin_dir / f"{_LINK}{ifindex}")
                attached.append(port.name)
        except BpfError:
            for step in reversed(undo):
                step()
            raise
        for ifindex in self._links.keys() - wanted.keys():
            self._drop_link(ifindex, self._links[ifindex])
            detached.append(str(ifindex))
        return CommitReport(tuple(attached), tuple(replaced), tuple(detached))

    @staticmethod
    def _fits(ifindex: int, link: Link, port: Port) -> bool:
        if link.info().ifindex != ifindex:
            return False
        running = attached_xdp(ifindex)
        return running is not None and running.generic == port.generic

    def _drop_link(self, ifindex: int, link: Link) -> None:
        self._links.pop(ifindex, None)
        (self.pin_dir / f"{_LINK}{ifindex}").unlink(missing_ok=True)
        try:
            link.detach()
        except BpfError:
            if link.info().ifindex:  # else the device is gone, and the link with it
                raise
        link.close()


def _devices(ports: Iterable[Port]) -> dict[int, Port]:
    """The devices to attach to: a VLAN's packets are met on its parent."""
    plain = {port.ifindex: port for port in ports if port.vlan is None}
    parents = {port.vlan[0]: port for port in ports if port.vlan is not None}
    return parents | plain
