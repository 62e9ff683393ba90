"""How a demo step runs real commands, shows them with what came back, and judges."""

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape

from appliance.errors import ApplianceError
from appliance.lab.client import Lab

SHOWN_LINES = 12
INDENT = "    "


class StepFailed(Exception):
    """What was expected did not happen."""


@dataclass(frozen=True)
class Step:
    title: str
    do: "Callable[[Stage], None]"


class Stage:
    """A lab, and a console on which everything done to it is seen."""

    def __init__(self, lab: Lab, console: Console) -> None:
        self.lab = lab
        self.console = console

    def run(
        self, node: str, command: str, seconds: float = 20, lines: int = SHOWN_LINES
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command in a node and shows it and its output, ``lines`` of it at most."""
        self.say_command(node, command)
        try:
            with self.console.status(f"{node}: running"):
                done = self.lab.run(
                    node,
                    *shlex.split(command),
                    seconds=seconds,
                    env={"COLUMNS": str(self.console.width - len(INDENT))},
                )
        except OSError as error:
            raise StepFailed(f"{node}: {command}: {error.strerror}") from error
        self.show(done.stdout, lines)
        return done

    def start(self, node: str, command: str) -> "subprocess.Popen[str]":
        """Starts a command in the background; ``finish`` shows what it said."""
        self.say_command(node, f"{command} &")
        process: subprocess.Popen[str] = self.lab.popen(
            node,
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return process

    def finish(self, process: "subprocess.Popen[str]", seconds: float = 30) -> str:
        """Waits for a command of ``start``; on the way out of a failed step it is ended."""
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise StepFailed(f"not done after {seconds:.0f} s") from error
        self.show(output)
        return output

    def say_command(self, node: str, command: str) -> None:
        self.console.print(f"  [bold]{escape(node)}#[/bold] {escape(command)}", soft_wrap=True)

    def show(self, output: str, lines: int = SHOWN_LINES) -> None:
        said = [line.rstrip() for line in output.strip().splitlines() if line.strip()]
        for line in said[:lines]:
            self.console.print(f"{INDENT}[dim]{escape(line)}[/dim]", soft_wrap=True)
        if len(said) > lines:
            self.console.print(f"{INDENT}[dim]… {len(said) - lines} more lines[/dim]")

    def expect(self, true: bool, what: str) -> None:
        """Goes on when ``what`` is the case, and says so."""
        if not true:
            raise StepFailed(f"expected: {what}")
        self.console.print(f"  [green]✓[/green] {escape(what)}", soft_wrap=True)


def play(lab: Lab, console: Console, steps: tuple[Step, ...]) -> bool:
    """Shows every step, a failed one too, and says at the end how many passed."""
    stage = Stage(lab, console)
    passed = 0
    for number, step in enumerate(steps, 1):
        console.print(f"\n[bold cyan]{number}/{len(steps)} {escape(step.title)}[/bold cyan]")
        try:
            step.do(stage)
            passed += 1
        except (StepFailed, ApplianceError) as error:
            console.print(f"  [red]✗ {escape(str(error))}[/red]", soft_wrap=True)
            if hint := getattr(error, "hint", ""):
                stage.show(hint)
    verdict: dict[str, Any] = {"style": "bold green" if passed == len(steps) else "bold red"}
    console.print(f"\ndemo: {passed} of {len(steps)} steps passed", **verdict)
    return passed == len(steps)
