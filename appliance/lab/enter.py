"""Running a program inside a lab's node, from outside the lab."""

import os
import signal
from dataclasses import dataclass
from types import FrameType

from appliance.lab import syscalls


@dataclass(frozen=True)
class Door:
    """Descriptors of a node's namespaces, as its holder handed them out."""

    pid: int
    mnt: int
    net: int
    uts: int

    def close(self) -> None:
        for descriptor in (self.pid, self.mnt, self.net, self.uts):
            os.close(descriptor)

    def step_in(self) -> None:
        """Moves the calling, freshly forked process into the node.

        Returns in a child, since only children are in another PID namespace: there they end with
        the lab. The process itself stays outside, passes signals on and ends as the child does.
        """
        syscalls.setns(self.pid, syscalls.CLONE_NEWPID)
        syscalls.setns(self.uts, syscalls.CLONE_NEWUTS)
        syscalls.setns(self.net, syscalls.CLONE_NEWNET)
        syscalls.setns(self.mnt, syscalls.CLONE_NEWNS)
        passed_on: set[signal.Signals] = {
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGQUIT,
        }
        signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
        child = os.fork()
        if child == 0:
            syscalls.die_with_parent(signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
            return
        _wait_outside(child, passed_on)

    def become(self, argv: list[str], environment: dict[str, str]) -> None:
        """Replaces the calling process by a program in the node; returns only by an exception."""
        self.step_in()
        os.execvpe(argv[0], argv, environment)


def _wait_outside(child: int, passed_on: set[signal.Signals]) -> None:
    os.closerange(0, 1 << 12)

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    for one in passed_on:
        # From a terminal the child gets these itself.
        on_terminal = one in (signal.SIGINT, signal.SIGQUIT)
        signal.signal(one, signal.SIG_IGN if on_terminal else pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        os.kill(os.getpid(), signal.SIGSTOP)  # as the child did; the shell sees one job
        os.kill(child, signal.SIGCONT)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
