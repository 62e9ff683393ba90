"""``make test``: run the tiers one after another, and say at the end what ran.

A tier is a failure when any of its checks fails, when it holds no test, or when one of its tests
was skipped (``conftest.py`` sees to that). The last line is ``N passed, M failed``.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.house import wrong_imports

ROOT = Path(__file__).parents[1]
VENV_BIN = Path("build/venv/bin")
REPORTS = Path("build/tests")


@dataclass(frozen=True)
class Outcome:
    tier: str
    passed: int
    failed: int
    seconds: float


def run(command: Sequence[str], limit: float) -> int:
    """Exit status of a command; when it takes longer than ``limit`` seconds, all of it is ended."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"{command[0]}: not done after {limit:.0f} s, ended", flush=True)
        return 124
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command and its group. SIGINT first: pytest then still takes down its fixtures."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            print(f"{process.pid}: does not stop, killed", flush=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tracked(*patterns: str) -> list[str]:
    """Files of the repository, also those not committed yet."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run([*command, "--", *patterns], check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if Path(name).exists()]


def shell_scripts() -> list[str]:
    """Everything whose first line names a shell."""
    scripts = []
    for name in tracked("scripts", ".ci", "image", "tests", "*.sh"):
        with Path(name).open("rb") as file:
            first = file.readline(100)
        if first.startswith(b"#!") and first.rstrip().endswith((b"bash", b"/sh")):
            scripts.append(name)
    return sorted(set(scripts))


def import_direction() -> int:
    wrong = wrong_imports(ROOT)
    for line in wrong:
        print(line, flush=True)
    return len(wrong)


def checks() -> dict[str, Callable[[], int]]:
    """Every linter, by name, as a call that gives 0 when all is well."""
    tool = {name: str(VENV_BIN / name) for name in ("ruff", "mypy")}
    c_files = tracked("bpf/*.bpf.[ch]", "bpf/*_shared.h", "tests/*.bpf.[ch]")
    commands = {
        "ruff check": [tool["ruff"], "check", "--quiet"],
        "ruff format": [tool["ruff"], "format", "--quiet", "--diff"],
        "mypy --strict": [tool["mypy"], "--strict", "--no-error-summary"],
        "clang-format": ["clang-format-19", "--dry-run", "-Werror", "--ferror-limit=3", *c_files],
        "shellcheck": ["shellcheck", "--norc", *shell_scripts()],
    }
    calls: dict[str, Callable[[], int]] = {
        name: lambda command=command: run(command, 300)  # type: ignore[misc]
        for name, command in commands.items()
    }
    return {**calls, "import direction": import_direction}


def lint() -> Outcome:
    start = time.monotonic()
    failed = []
    for name, check in checks().items():
        good = check() == 0
        print(f"lint: {name}: {'ok' if good else 'FAILED'}", flush=True)
        if not good:
            failed.append(name)
    return Outcome("lint", len(checks()) - len(failed), len(failed), time.monotonic() - start)


def counts(report: Path) -> tuple[int, int]:
    """Passed and not passed tests of a JUnit report; skipped ones did not pass."""
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    total = bad = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        bad += sum(int(suite.get(kind, 0)) for kind in ("failures", "errors", "skipped"))
    return max(total - bad, 0), bad


def pytest_tier(tier: str, limit: float, *options: str) -> Outcome:
    start = time.monotonic()
    report = REPORTS / f"{tier}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"tests/{tier}", f"--junit-xml={report}", "-q"]
    status = run([*command, *options], limit)
    passed, failed = counts(report) if report.exists() else (0, 0)
    if status != 0 or passed == 0:
        failed = max(failed, 1)
    return Outcome(tier, passed, failed, time.monotonic() - start)


TIERS: dict[str, Callable[[], Outcome]] = {
    "lint": lint,
    "unit": lambda: pytest_tier("unit", 300, "--numprocesses=2"),
    "bpf": lambda: pytest_tier("bpf", 300),
    "netns": lambda: pytest_tier("netns", 600),
}


def main(arguments: Sequence[str]) -> int:
    unknown = [name for name in arguments if name not in TIERS]
    if unknown:
        print(f"tiers: no tier {', '.join(unknown)}; there are {', '.join(TIERS)}", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    # So that a `timeout` around make ends the tier that runs, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcomes = []
    for tier in arguments or TIERS:
        print(f"=== {tier}", flush=True)
        outcomes.append(TIERS[tier]())
    print(f"\n{'tier':<8} {'passed':>7} {'failed':>7} {'seconds':>8}")
    for done in outcomes:
        print(f"{done.tier:<8} {done.passed:>7} {done.failed:>7} {done.seconds:>8.1f}")
    failed = sum(done.failed for done in outcomes)
    print(f"{sum(done.passed for done in outcomes)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
