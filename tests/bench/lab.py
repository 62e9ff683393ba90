"""The rows measured through a wire: edge64, plain IPv6 forwarding by the kernel, and TAYGA.

One lane for each, measured in turn within one run. NAPI is not threaded and RPS is off in all of
them: over veth one CPU then does a packet's whole way, and no ring between two CPUs overflows.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.latency import Echo
from tests.bench.pps import Generator, at_box, at_sink, delivered
from tests.bench.rows import Report, interleaved
from tests.bench.tcp import Stream
from tests.bench.wire import Edge64, Forwarding, Tayga

PPS_ROUNDS = 7
PPS_SECONDS = 0.5
TCP_ROUNDS = 7
TCP_SECONDS = 2
RR_ROUNDS = 15
RR_EXCHANGES = 1000


class Lab:
    """The three lanes. ``cpu``: where packets travel; processes of the box have ``other_cpu``."""

    def __init__(self, folder: Path, cpu: int, other_cpu: int) -> None:
        self.cpu = cpu
        self.other_cpu = other_cpu
        self.tayga = Tayga(folder, other_cpu)
        self.lanes = [Edge64(folder, other_cpu), Forwarding(folder, other_cpu), self.tayga]

    def close(self) -> None:
        for lane in self.lanes:
            lane.close()

    def measure(self, report: Report) -> None:
        """Adds the rows and goals of all three measurements."""
        self.latency(report)
        self.stream(report)
        self.packets(report)

    def latency(self, report: Report) -> None:
        echoes = {lane.title: Echo(lane) for lane in self.lanes}
        found = interleaved(
            {title: partial(echo.p50_us, RR_EXCHANGES) for title, echo in echoes.items()},
            RR_ROUNDS,
            best=True,
        )
        for echo in echoes.values():
            echo.close()
        report.add("lab-rr-kernel", found["kernel"], "µs", "lab-rr-kernel")
        report.add("lab-rr", found["edge64"], "µs", "lab-rr-kernel")
        report.add("lab-rr-tayga", found["tayga"], "µs", "lab-rr-kernel")
        added = found["edge64"] - found["kernel"]
        report.goal("lab-rr: added to plain forwarding", added, 3, "µs", at_most=True)

    def stream(self, report: Report) -> None:
        streams = {lane.title: Stream(lane, self.cpu, self.other_cpu) for lane in self.lanes}
        found = interleaved(
            {title: partial(stream.gbits, TCP_SECONDS) for title, stream in streams.items()},
            TCP_ROUNDS,
        )
        for stream in streams.values():
            stream.close()
        report.add("lab-tcp-kernel", found["kernel"], "Gbit/s", "lab-tcp-kernel")
        report.add("lab-tcp", found["edge64"], "Gbit/s", "lab-tcp-kernel")
        report.add("lab-tcp-tayga", found["tayga"], "Gbit/s", "lab-tcp-kernel")
        ratio = found["edge64"] / found["kernel"]
        report.goal("lab-tcp: edge64 ÷ plain forwarding", ratio, 1, "", at_most=False)

    def packets(self, report: Report) -> None:
        generators = {lane.title: Generator(lane, self.cpu) for lane in self.lanes}
        alone = self.lanes[1]  # any would do: its box takes no part
        counter = at_box(alone)
        generated = interleaved(
            {"generator": partial(delivered, generators[alone.title], counter, PPS_SECONDS)},
            PPS_ROUNDS,
        )
        counter.close()
        counters = {lane.title: at_sink(lane) for lane in self.lanes}

        def tayga(cpu: int) -> float:
            os.sched_setaffinity(self.tayga.process.pid, {cpu})
            return delivered(generators["tayga"], counters["tayga"], PPS_SECONDS)

        measures: dict[str, Callable[[], float]] = {
            title: partial(delivered, generators[title], counters[title], PPS_SECONDS)
            for title in ("edge64", "kernel")
        }
        measures |= {
            "tayga": partial(tayga, self.cpu),
            "tayga-own-cpu": partial(tayga, self.other_cpu),
        }
        found = interleaved(measures, PPS_ROUNDS)
        for counter in counters.values():
            counter.close()
        found["generator"] = generated["generator"]
        report.add("lab-pps-kernel", found["kernel"], "packets/s", "lab-pps-kernel")
        report.add("lab-pps", found["edge64"], "packets/s", "lab-pps-kernel")
        for title in ("tayga", "tayga-own-cpu"):
            report.add(f"lab-pps-{title}", found[title], "packets/s", "lab-pps-kernel")
        report.add("lab-generator", found["generator"], "packets/s", "lab-pps-kernel")
        for row, title in (("lab-box-kernel", "kernel"), ("lab-box", "edge64")):
            share = 1e9 / found[title] - 1e9 / found["generator"]
            report.add(row, share, "ns", "lab-box-kernel")
        report.notes.append(
            "lab-box...: of a packet's time in lab-pps, what lab-generator does not have"
        )
        for title, limit in (("kernel", 1), ("tayga", 8), ("tayga-own-cpu", 8)):
            ratio = found["edge64"] / found[title]
            report.goal(f"lab-pps: edge64 ÷ {title}", ratio, limit, "", at_most=False)
