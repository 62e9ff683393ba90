"""The exception root of the control plane, and the exit codes that the console ends with."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of ``edge64``; the same numbers are on the reference page."""

    OK = 0
    FAILED = 1  # what was asked for did not work
    USAGE = 2  # wrong option or argument (click's own code)
    CONFIG = 3  # the configuration was refused
    NO_DAEMON = 4  # edge64d does not answer
    SYSTEM = 5  # this machine lacks something: privilege, interface, kernel feature


class ApplianceError(Exception):
    """Something the user asked for cannot be done.

    ``str(error)`` is one line that says what was wrong; ``hint`` says what to do about it.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SystemLacks(ApplianceError):
    """The machine lacks an interface, a privilege or a kernel feature."""

    exit_code = ExitCode.SYSTEM


class NoDaemon(ApplianceError):
    """edge64d cannot be reached on its socket."""

    exit_code = ExitCode.NO_DAEMON
