"""``python -m tests.bench``: measures, prints a table and writes ``build/bench.json``."""

import argparse
import os
import random
import sys
import time
from pathlib import Path

from bpf.errors import BpfError
from tests.bench import program_cost
from tests.bench.lab import Lab
from tests.bench.namespaces import end_all, mount_scratch, private_mounts
from tests.bench.rows import Report

BUILD = Path(__file__).parents[2] / "build"


def measure(parts: list[str], seed: int) -> Report:
    """Everything, bound to the last CPU that we may use."""
    cpus = sorted(os.sched_getaffinity(0))
    cpu, other = cpus[-1], cpus[0]
    os.sched_setaffinity(0, {cpu})
    private_mounts()
    folder = BUILD / "bench"
    mount_scratch(folder)
    report = Report()
    if "program" in parts:
        program_cost.measure(report, folder, seed, other)
    if "lab" in parts:
        lab = Lab(folder, cpu, other)
        try:
            lab.measure(report)
        finally:
            lab.close()
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help="program, lab; both by default")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16))
    arguments = parser.parse_args()
    parts = arguments.parts or ["program", "lab"]
    if unknown := set(parts) - {"program", "lab"}:
        parser.error(f"no part is named {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        print("bench: root is needed, for namespaces and program runs", file=sys.stderr)
        return 1
    if len(os.sched_getaffinity(0)) < 2:
        print("bench: two CPUs are needed", file=sys.stderr)
        return 1
    begin = time.monotonic()
    try:
        report = measure(parts, arguments.seed)
    except KeyboardInterrupt:
        print("bench: interrupted; nothing was written", file=sys.stderr)
        return 130
    except (BpfError, RuntimeError) as error:
        print(f"bench: {error} (seed {arguments.seed})", file=sys.stderr)
        return 1
    finally:
        end_all()
    print(report.table())
    path = BUILD / "bench.json"
    path.write_text(report.json())
    print(f"\n{time.monotonic() - begin:.0f} s, seed {arguments.seed}; {path.name} has the rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
