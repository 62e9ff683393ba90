"""The process that a lab consists of: first of its PID namespace, in mounts of its own.

Namespaces, mounts and programs of a lab belong to this process alone, so that its end, however it
comes, is the end of all of them: the kernel kills the programs, drops the mounts and removes the
interfaces. It is made by ``client.start`` as ``python -m appliance.lab.holder NAME``; standard
input says what to build and ties its life to the maker, standard output tells how far it is.
"""

import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from appliance.errors import ApplianceError
from appliance.lab import box, build, protocol, syscalls, waiting, world
from appliance.lab.errors import LabError
from appliance.lab.plan import standard
from appliance.lab.service import Service
from bpf.errors import BpfError
from bpf.links import Link

KEEP = b"K"  # on standard input: live on without the maker


def _tell(**message: Any) -> None:
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


class Holder:
    """A lab being built, then served until somebody takes it down."""

    def __init__(self, name: str, plan: dict[str, Any], listening: socket.socket) -> None:
        self.name = name
        self.asked_for = plan
        self.plan = standard(**plan)
        self.listening = listening
        self.nodes: dict[str, build.Namespaces] = {}
        self.wire_ends: list[Link] = []
        self.big_file_sha256 = ""
        self.started_at = time.time()
        self.running: dict[int, str] = {}
        self.ended: dict[str, int] = {}
        self.tied = True

    def build(self) -> None:
        build.private_root()
        own_log = os.open(build.ROOT / "log" / "holder.log", os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(own_log, 2)  # whoever reads the maker's output does not wait for the lab's end
        os.close(own_log)
        box.write_command()
        self._step("namespaces", self._make_nodes)
        self._step("wires", self._make_wires)
        self._step("addresses", lambda: build.address_nodes(self.plan, self.nodes))
        services = world.services(self.plan)
        self._step("a file of 100 MB", self._make_big_file)
        if self.plan.product:
            services += box.services(self.plan)
        for service in services:
            self._step(service.name, partial(self.start, service))

    def _step(self, what: str, do: Callable[[], None]) -> None:
        self._stop_without_maker()
        _tell(step=what)
        do()

    def _stop_without_maker(self) -> None:
        """While a lab is being built, nobody but its maker could take it down."""
        if select.select([sys.stdin], [], [], 0)[0] and not os.read(sys.stdin.fileno(), 1):
            os._exit(1)

    def _make_nodes(self) -> None:
        for node in self.plan.nodes:
            self.nodes[node.name] = build.make_node(node)

    def _make_wires(self) -> None:
        build.make_wires(self.plan, self.nodes)
        if self.plan.product:
            self.wire_ends = build.end_wires(self.plan, self.nodes)

    def _make_big_file(self) -> None:
        folders = [build.ROOT / f"nginx-{node}" / "www" for node in ("servers", "remote")]
        self.big_file_sha256 = world.big_file(folders[0])
        os.link(folders[0] / world.BIG_FILE, folders[1] / world.BIG_FILE)

    def start(self, service: Service) -> None:
        """Starts a program in its node and waits until it is ready."""
        log = build.ROOT / "log" / f"{service.name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                service.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=environment(),
                start_new_session=True,
                preexec_fn=self.nodes[service.node].join,
            )
        self.running[process.pid] = service.name

        def ready_or_dead() -> bool:
            self._stop_without_maker()
            self.reap()
            return service.name in self.ended or service.ready()

        asked_from = self.nodes[service.asked_from or service.node]
        with syscalls.inside_network(asked_from.net):
            came = waiting.until(ready_or_dead, service.seconds)
        if service.name in self.ended or not came:
            if service.name in self.ended:
                problem = f"{service.name} ended with status {self.ended[service.name]}"
            else:
                wanted = service.what or "it answers"
                problem = f"{service.name}: {service.seconds:.0f} s, and not yet true: {wanted}"
            tail = log.read_text(errors="replace").strip().splitlines()[-15:]
            raise LabError(problem, "\n".join(tail) or "it said nothing")

    def reap(self) -> None:
        """Takes leave of ended programs and of orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.running.pop(pid, None)
            if name is not None:
                self.ended[name] = os.waitstatus_to_exitcode(status)

    def serve(self) -> None:
        """Answers until somebody says down, or the maker is gone without saying KEEP."""
        wakeup_in, wakeup_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as waiting_for:
            waiting_for.register(self.listening, selectors.EVENT_READ)
            waiting_for.register(sys.stdin, selectors.EVENT_READ)
            waiting_for.register(wakeup_in, selectors.EVENT_READ)
            while True:
                for key, _ in waiting_for.select():
                    if key.fileobj is self.listening:
                        connection, _ = self.listening.accept()
                        with connection:
                            connection.settimeout(5)
                            if not self.answer(connection):
                                return
                    elif key.fileobj is sys.stdin:
                        if os.read(sys.stdin.fileno(), 1) == KEEP:
                            self.tied = False
                        elif self.tied:
                            return
                        else:
                            waiting_for.unregister(sys.stdin)
                    else:
                        os.read(wakeup_in, 4096)
                        self.reap()

    def answer(self, connection: socket.socket) -> bool:
        """Serves one request; False: the lab is to go down."""
        try:
            message, _ = protocol.receive(connection)
            if message is None or protocol.peer(connection)[1] != os.getuid():
                return True
            match message.get("do"):
                case "down":
                    return False
                case "enter" if node := self.nodes.get(message.get("node", "")):
                    with open("/proc/self/ns/pid", "rb") as pid:
                        descriptors = (pid.fileno(), node.mnt, node.net, node.uts)
                        protocol.send(connection, {"ok": True}, descriptors)
                case _:
                    protocol.send(connection, self.description())
        except (OSError, ValueError):
            pass  # whoever asked is gone, or is not one of ours
        return True

    def description(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "nodes": list(self.nodes),
            "plan": self.asked_for,
            "pods": len(self.plan.pods),
            "started_at": self.started_at,
            "sha256": self.big_file_sha256,
            "running": sorted(self.running.values()),
            "ended": self.ended,
        }


def environment() -> dict[str, str]:
    """What programs in a lab get to see."""
    kept = {key: os.environ[key] for key in ("LANG", "LC_ALL", "TERM") if key in os.environ}
    return {
        **kept,
        **{key: value for key, value in os.environ.items() if key.startswith("EDGE64_")},
        "PATH": f"{box.COMMANDS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "TMPDIR": str(build.ROOT / "tmp"),
        "EDGE64_RUNTIME_DIR": str(box.RUNTIME),
    }


def _hold(name: str, plan: dict[str, Any], listening: socket.socket) -> int:
    listening.listen(8)  # here, since those who connect take the listener for the lab's process
    holder = Holder(name, plan, listening)
    try:
        holder.build()
    except (ApplianceError, BpfError) as error:
        _tell(error=str(error), hint=error.hint)
        return 1
    except (OSError, NetlinkError) as error:
        _tell(error=f"cannot build the lab: {error}", hint="")
        return 1
    _tell(ready=True)
    holder.serve()
    return 0


def main() -> None:
    name = sys.argv[1]
    with open(0, "rb", buffering=0, closefd=False) as maker:
        plan = json.loads(maker.readline())
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listening.bind(protocol.socket_name(name))
    except OSError:
        _tell(error=f"a lab {name!r} is up already", hint=f"edge64 lab down --name {name}")
        return
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS)
    except OSError as error:
        _tell(error=f"no new namespaces: {error}", hint="run it as root")
        return
    if os.fork():
        os._exit(0)  # the child is the first of the PID namespace, and the lab
    os._exit(_hold(name, plan, listening))


if __name__ == "__main__":
    main()
