"""Making labs, finding them and running programs in their nodes."""

import json
import os
import select
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import appliance
from appliance.lab import protocol, syscalls
from appliance.lab.enter import Door
from appliance.lab.errors import LabError
from appliance.lab.holder import KEEP, environment
from appliance.lab.plan import Plan, standard

DOWN_SECONDS = 10


class Lab:
    """A lab that is up. ``process`` is its maker's handle on it, when that is this process."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self.name = name
        self._process = process
        self._doors: dict[str, Door] = {}
        # The holder's socket is seen from this network namespace only, wherever a caller is later.
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._home)
        self.facts, _ = self._ask({"do": "describe"})
        with self._connection() as connection:
            self.pid = protocol.peer(connection)[0]

    @contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        with syscalls.inside_network(self._home):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with connection:
            connection.settimeout(DOWN_SECONDS)
            try:
                connection.connect(protocol.socket_name(self.name))
            except OSError:
                raise LabError(
                    f"no lab {self.name!r} is up", f"edge64 lab up --name {self.name}"
                ) from None
            if protocol.peer(connection)[1] != os.getuid():
                raise LabError(f"the lab {self.name!r} is another user's")
            yield connection

    def _ask(self, message: protocol.Message) -> tuple[dict[str, Any], list[int]]:
        with self._connection() as connection:
            protocol.send(connection, message)
            answer, descriptors = protocol.receive(connection)
        if answer is None:
            raise LabError(f"the lab {self.name!r} went down")
        return answer, descriptors

    @property
    def nodes(self) -> list[str]:
        return list(self.facts["nodes"])

    @property
    def plan(self) -> Plan:
        return standard(**self.facts["plan"])

    def describe(self) -> dict[str, Any]:
        """What the holder says now: programs running and ended."""
        self.facts, _ = self._ask({"do": "describe"})
        return self.facts

    def door(self, node: str) -> Door:
        if node not in self._doors:
            if node not in self.nodes:
                raise LabError(f"no node {node!r}", f"one of {', '.join(self.nodes)}")
            _, descriptors = self._ask({"do": "enter", "node": node})
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            self._doors[node] = Door(*descriptors)
        return self._doors[node]

    def popen(
        self, node: str, argv: Sequence[str], env: Mapping[str, str] | None = None, **options: Any
    ) -> "subprocess.Popen[Any]":
        """A program in a node, as subprocess.Popen; it ends with the lab at the latest."""
        return subprocess.Popen(
            list(argv),
            cwd="/",
            env={**environment(), **(env or {})},
            preexec_fn=self.door(node).step_in,
            **options,
        )

    def run(
        self,
        node: str,
        *argv: str,
        seconds: float = 30,
        check: bool = False,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a program in a node to its end; standard error goes into ``stdout`` too."""
        process = self.popen(
            node,
            argv,
            env,
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = process.communicate(input, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            output, _ = process.communicate()
            raise LabError(
                f"{node}: {' '.join(argv)}: not done after {seconds:.0f} s", output or ""
            ) from error
        if check and process.returncode:
            raise LabError(
                f"{node}: {' '.join(argv)}: exit status {process.returncode}", output.strip()
            )
        return subprocess.CompletedProcess(list(argv), process.returncode, output, None)

    def become(self, node: str, argv: list[str]) -> None:
        """Replaces the calling process by a program in a node."""
        door = self.door(node)
        environ = {**environment(), "SHELL": os.environ.get("SHELL", "/bin/bash")}
        os.chdir("/")
        try:
            door.become(argv, environ)
        except OSError as error:
            raise LabError(f"{node}: {argv[0]}: {error.strerror}") from error

    @contextmanager
    def network(self, node: str) -> Iterator[None]:
        """The calling thread is in the node's network namespace meanwhile."""
        with syscalls.inside_network(self.door(node).net):
            yield

    def path(self, path: str | Path) -> Path:
        """A path of the lab's mounts (not of what a node itself mounted), seen from outside."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")

    def keep(self) -> None:
        """Lets the lab live on when this process ends."""
        if self._process and self._process.stdin:
            self._process.stdin.write(KEEP)
            self._process.stdin.close()
            self._process = None

    def down(self) -> None:
        """Takes the lab down, and returns when nothing of it is left."""
        with open_pid(self.pid) as gone:
            with self._connection() as connection:
                protocol.send(connection, {"do": "down"})
            if not select.select([gone], [], [], DOWN_SECONDS)[0]:
                os.kill(self.pid, 9)
                if not select.select([gone], [], [], DOWN_SECONDS)[0]:
                    raise LabError(f"the lab {self.name!r} does not end (process {self.pid})")
        self._forget()

    def _forget(self) -> None:
        for door in self._doors.values():
            door.close()
        self._doors = {}
        if self._process:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()
            self._process = None


@contextmanager
def open_pid(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def start(name: str, progress: Callable[[str], None] = lambda step: None, **plan: Any) -> Lab:
    """Makes a lab; it lives until ``down``, or until this process ends without ``keep``.

    ``plan``: arguments of ``plan.standard``. ``progress`` hears of every step as it begins.
    """
    if os.getuid() != 0:
        raise LabError("a lab needs root, for its namespaces", "run it with sudo")
    repository = Path(appliance.__file__).parent.parent
    holder = subprocess.Popen(
        [sys.executable, "-m", "appliance.lab.holder", name],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the maker; its end is the lab's
        bufsize=0,
    )
    assert holder.stdin and holder.stdout
    holder.stdin.write(json.dumps(plan).encode() + b"\n")
    holder.wait()  # its child is the lab
    for line in holder.stdout:
        said = json.loads(line)
        if "step" in said:
            progress(said["step"])
        elif "error" in said:
            raise LabError(said["error"], said["hint"])
        elif "ready" in said:
            return Lab(name, holder)
    raise LabError(f"the lab {name!r} ended while it was being made")


def labs() -> list[Lab]:
    """Every lab that is up."""
    found = []
    for name in protocol.lab_names():
        try:
            found.append(Lab(name))
        except LabError:
            continue  # on its way down, or being built
    return found
