"""The console: exit codes, one line and a hint, never a traceback, no daemon without need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.console.fault import guarded
from appliance.errors import ApplianceError, ExitCode, SystemLacks
from bpf.errors import BpfError

GOOD = "version: 1\ninterfaces:\n  pods0: {role: pods}\n"
BAD = "version: 1\nhostname: a_b\nroute: []\n"


def edge64(*arguments: str, runtime: Path | None = None) -> "subprocess.CompletedProcess[str]":
    code = "import sys; sys.argv[0] = 'edge64'; from appliance.console.main import main; main()"
    environment = {**os.environ, "EDGE64_RUNTIME_DIR": str(runtime or "/nonexistent")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


def test_validate_tells_every_error_and_exits_3(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    done = edge64("config", "validate", str(file))
    assert done.returncode == ExitCode.CONFIG
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == f"edge64: {file}: 2 errors"
    assert lines[1].startswith("  hostname (line 2, column 1): found 'a_b'; allowed: ")
    assert lines[2].startswith("  route (line 3, column 1): unknown setting 'route', did you mean")


def test_validate_accepts(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    done = edge64("config", "validate", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}: valid\n", "")


def test_file_that_is_not_there(tmp_path: Path) -> None:
    done = edge64("config", "validate", str(tmp_path / "none.yaml"))
    assert done.returncode == ExitCode.CONFIG
    assert "cannot be read: No such file or directory" in done.stderr


def test_schema_is_json_schema() -> None:
    schema = json.loads(edge64("config", "schema").stdout)
    assert schema["properties"]["version"]["minimum"] == 1
    assert "Interface" in schema["$defs"]


@pytest.mark.parametrize("command", ["status", "counters"])
def test_no_daemon_is_one_line_and_a_hint(command: str, tmp_path: Path) -> None:
    done = edge64(command, runtime=tmp_path)
    assert done.returncode == ExitCode.NO_DAEMON
    first, hint = done.stderr.splitlines()
    assert first.startswith(f"edge64: edge64d does not answer on {tmp_path}/api.sock")
    assert hint.strip().startswith("is it running")


def test_apply_refuses_a_bad_file_without_asking_the_daemon(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    assert edge64("apply", str(file), runtime=tmp_path).returncode == ExitCode.CONFIG
    file.write_text(GOOD)
    assert edge64("apply", str(file), runtime=tmp_path).returncode == ExitCode.NO_DAEMON


def test_unknown_command_is_a_usage_error() -> None:
    done = edge64("nonsense")
    assert done.returncode == ExitCode.USAGE
    assert "No such command 'nonsense'" in done.stderr


def test_help_names_every_command() -> None:
    done = edge64("--help")
    assert done.returncode == 0
    for name in ("apply", "config", "counters", "daemon", "run", "status"):
        assert f"  {name} " in done.stdout


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ApplianceError("it broke", "mend it"), ExitCode.FAILED, "edge64: it broke\n  mend it\n"),
        (SystemLacks("no root"), ExitCode.SYSTEM, "edge64: no root\n"),
        (BpfError("no XDP", "use generic"), ExitCode.FAILED, "edge64: no XDP\n  use generic\n"),
        (KeyboardInterrupt(), ExitCode.FAILED, "stopped\n"),
    ],
)
def test_errors_are_one_line_and_a_hint(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise error

    assert guarded(work) == code
    assert capsys.readouterr().err == said


def test_fault_of_our_own_goes_to_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise KeyError("oops")

    assert guarded(work) == ExitCode.FAILED
    first, hint = capsys.readouterr().err.splitlines()
    assert first == "edge64: a fault in edge64 itself: KeyError: 'oops'"
    file = Path(hint.split()[-1])
    assert "Traceback" in file.read_text()
    file.unlink()
