"""The demo passes, and could not if edge64 did not work."""

import io

import pytest
from rich.console import Console

from appliance.lab import demo
from appliance.lab.client import Lab
from appliance.lab.errors import LabError
from appliance.lab.stage import Stage, Step, StepFailed, play
from tests.netns.conftest import unique
from tests.netns.test_lab import console, leaves_nothing


def played(lab: Lab, steps: tuple[Step, ...]) -> tuple[bool, str]:
    shown = io.StringIO()
    passed = play(lab, Console(file=shown, width=200, highlight=False), steps)
    return passed, shown.getvalue()


@pytest.mark.timeout(240)
def test_the_demo_passes_and_leaves_nothing() -> None:
    name = unique("demo")
    with leaves_nothing(name), console("demo", "--name", name) as it:
        output, _ = it.communicate(timeout=200)
        steps = len(demo.STEPS)
        assert output.splitlines()[-1] == f"demo: {steps} of {steps} steps passed", output
        assert it.returncode == 0


def test_failed_steps_are_counted_and_told(bare_lab: Lab) -> None:
    def good(stage: Stage) -> None:
        stage.expect("2001:db8:64::101" in stage.run("pod1", "ip -6 addr").stdout, "an address")

    def wrong(stage: Stage) -> None:
        stage.expect(stage.run("pod1", "false").returncode == 0, "false is true")

    def hangs(stage: Stage) -> None:
        stage.run("pod1", "sleep 1000", seconds=0.2)

    def missing(stage: Stage) -> None:
        stage.run("pod1", "no-such-program")

    steps = tuple(Step(do.__name__, do) for do in (good, wrong, hangs, missing))
    passed, shown = played(bare_lab, steps)
    assert not passed
    assert shown.splitlines()[-1] == "demo: 1 of 4 steps passed"
    assert "✓ an address" in shown
    assert "✗ expected: false is true" in shown
    assert "pod1: sleep 1000: not done after 0 s" in shown
    assert "✗ pod1: no-such-program: No such file" in shown


@pytest.mark.parametrize(
    "step",
    [demo.page_by_name, demo.ping, demo.secondary_address, demo.nat46, demo.counters],
    ids=lambda step: step.__name__,
)
def test_no_step_passes_without_edge64(bare_lab: Lab, step: "demo.Play") -> None:
    with pytest.raises((StepFailed, LabError)):
        step(Stage(bare_lab, Console(file=io.StringIO())))
