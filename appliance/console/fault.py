"""Errors on the console: one line, a hint, an exit code; never a traceback."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable

import click

from appliance.config.problems import ConfigError
from appliance.errors import ApplianceError, ExitCode
from bpf.errors import BpfError
from dns64.errors import Dns64Error


def guarded(work: Callable[[], object]) -> int:
    """Runs a command; returns the exit code."""
    try:
        result = work()
    except ConfigError as error:
        _say(str(error))
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        return error.exit_code
    except ApplianceError as error:
        return _tell(error, error.hint, error.exit_code)
    except (BpfError, Dns64Error) as error:
        return _tell(error, getattr(error, "hint", ""), ExitCode.FAILED)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return ExitCode.FAILED
    except BrokenPipeError:
        # Whoever read the output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        return _fault(error)
    return result if isinstance(result, int) else ExitCode.OK


def _tell(error: Exception, hint: str, code: ExitCode) -> int:
    _say(str(error))
    if hint:
        click.echo(f"  {hint}", err=True)
    return code


def _say(text: str) -> None:
    click.echo(f"edge64: {text}", err=True)


def _fault(error: Exception) -> int:
    """A fault of our own: the traceback goes to a file, which whoever reports it sends along."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="edge64-fault-", suffix=".txt", delete=False
    ) as file:
        traceback.print_exception(error, file=file)
    _say(f"a fault in edge64 itself: {type(error).__name__}: {error}".splitlines()[0])
    click.echo(f"  please report it with {file.name}", err=True)
    return ExitCode.FAILED
