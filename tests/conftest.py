"""For every tier: nothing is skipped, nothing that was collected goes unseen."""

import os
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import settings

ROOT = Path(__file__).parents[1]

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / "build" / "hypothesis"))
settings.register_profile("edge64", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("edge64"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "edge64")


class NoTestLeftOut:
    """Makes a run with a skipped or expected-to-fail test, or without a passed one, a failure."""

    def __init__(self) -> None:
        self.passed = 0
        self.left_out: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or hasattr(report, "wasxfail"):
            self.left_out.append(report.nodeid)
        elif report.passed and report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.left_out.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.config.option.collectonly:
            return
        if self.left_out or (session.exitstatus == pytest.ExitCode.OK and not self.passed):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        for nodeid in self.left_out:
            terminalreporter.write_line(f"NOT RUN {nodeid}: a test that does not run is a failure")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(NoTestLeftOut(), "no-test-left-out")
