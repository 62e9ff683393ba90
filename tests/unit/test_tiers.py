"""The gate itself: what did not run is a failure, and so is what never ends."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import tiers

CONFTEST = Path(__file__).parents[1] / "conftest.py"
PASSING = "def test_passes(): pass\n"
CASES = {
    "all passed": (PASSING, (1, 0)),
    "one failed": (PASSING + "def test_fails(): assert False\n", (1, 1)),
    "no test": ("x = 1\n", (0, 1)),
    "one skipped": (PASSING + "import pytest\ndef test_skips(): pytest.skip('no')\n", (1, 1)),
    "marked skip": (PASSING + "import pytest\n@pytest.mark.skip\ndef test_s(): pass\n", (1, 1)),
    "file skipped": (
        "import pytest\npytest.skip('no', allow_module_level=True)\n" + PASSING,
        (0, 1),
    ),
    "expected to fail": (
        PASSING + "import pytest\n@pytest.mark.xfail\ndef test_x(): assert False\n",
        (1, 1),
    ),
    "unexpectedly passed": (
        PASSING + "import pytest\n@pytest.mark.xfail\ndef test_x(): pass\n",
        None,
    ),
    "broken import": ("import no_such_module_at_all\n", (0, 1)),
    "fixture fails": (
        PASSING + "import pytest\n@pytest.fixture\ndef f(): 1 / 0\ndef test_f(f): pass\n",
        (1, 1),
    ),
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of its own with one tier, and the working directory there."""
    tier = tmp_path / "tests" / "tier"
    tier.mkdir(parents=True)
    (tmp_path / "tests" / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    return tier


@pytest.mark.parametrize(("source", "expected"), CASES.values(), ids=CASES)
def test_only_a_tier_that_ran_whole_passes(
    source: str, expected: tuple[int, int] | None, tree: Path
) -> None:
    (tree / "test_it.py").write_text(source)
    outcome = tiers.pytest_tier("tier", 60)
    if expected is None:
        assert outcome.failed
    else:
        assert (outcome.passed, outcome.failed) == expected


@pytest.mark.parametrize("case", ["all passed", "one skipped", "file skipped"])
def test_nothing_is_lost_between_workers(case: str, tree: Path) -> None:
    source, expected = CASES[case]
    (tree / "test_it.py").write_text(source)
    outcome = tiers.pytest_tier("tier", 60, "--numprocesses=2")
    assert (outcome.passed, outcome.failed) == expected


def test_an_empty_tier_is_a_failure(tree: Path) -> None:
    assert tiers.pytest_tier("tier", 60).failed == 1
    assert tiers.pytest_tier("nowhere", 60).failed == 1


def test_a_report_of_an_earlier_run_does_not_count(tree: Path) -> None:
    (tree / "test_it.py").write_text(PASSING)
    assert tiers.pytest_tier("tier", 60).passed == 1
    (tree / "test_it.py").write_text("import os\nos._exit(0)\n")
    outcome = tiers.pytest_tier("tier", 60)
    assert (outcome.passed, outcome.failed) == (0, 1)


def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    child = f"while :; do date +%s%N > {alive}; sleep 0.05; done"
    start = time.monotonic()
    assert tiers.run(["sh", "-c", f"({child}) & wait"], 0.5) == 124
    assert time.monotonic() - start < 10
    last = alive.read_text()
    time.sleep(0.3)
    assert alive.read_text() == last


def test_an_interrupted_tier_takes_down_its_fixtures(tree: Path) -> None:
    (tree / "test_it.py").write_text(
        "import pathlib, pytest, time\n"
        "@pytest.fixture\n"
        "def lab():\n"
        "    yield\n"
        "    pathlib.Path('taken-down').touch()\n"
        "def test_hangs(lab):\n"
        "    pathlib.Path('started').touch()\n"
        "    time.sleep(60)\n"
    )
    outcome = tiers.pytest_tier("tier", 8)
    assert Path("started").exists()
    assert Path("taken-down").exists()
    assert outcome.failed == 1


def test_a_failed_check_fails_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "checks", lambda: {"good": lambda: 0, "bad": lambda: 3})
    monkeypatch.setattr(tiers, "TIERS", {"lint": tiers.lint})
    assert tiers.main([]) == 1


def test_the_last_line_counts_every_tier(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = {"a": tiers.Outcome("a", 3, 0, 0.1), "b": tiers.Outcome("b", 4, 0, 0.1)}
    monkeypatch.setattr(tiers, "TIERS", {name: lambda o=o: o for name, o in done.items()})
    assert tiers.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "7 passed, 0 failed"


def test_a_tier_that_is_not_there_is_refused() -> None:
    command = [sys.executable, "-m", "tests.tiers", "untt"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "tiers: no tier untt; there are lint, unit, bpf, netns\n"
