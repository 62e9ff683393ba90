"""edge64d's life: lock, mounts, boot configuration, watcher, API, until told to stop."""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import uvicorn

from appliance.daemon.api import make_api
from appliance.daemon.events import log_events
from appliance.daemon.link_events import LinkEvents
from appliance.daemon.paths import FACTORY_CONFIG, RuntimePaths
from appliance.daemon.reconcile import Reconciler
from appliance.daemon.service import Service
from appliance.errors import ApplianceError, SystemLacks
from bpf.datapath import Datapath
from bpf.errors import BpfError

LOCK_SECONDS = 5.0
RETRY_SECONDS = 5.0

log = logging.getLogger("edge64d")


def run(paths: RuntimePaths, config: Path | None) -> None:
    """Serves until SIGTERM. ``config``: apply this file instead of the running configuration.

    Raises ApplianceError when the daemon cannot start at all.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
    )
    if os.geteuid() != 0:
        raise SystemLacks("edge64d needs root", "start it as root")
    with _only_one(paths):
        try:
            datapath = Datapath.open(paths.bpffs)
        except BpfError as error:
            raise SystemLacks(f"the datapath: {error}", error.hint) from error
        service = Service(paths, Reconciler(datapath))
        service.start(*_boot_text(paths, config))
        try:
            asyncio.run(_serve(paths, service, datapath))
        finally:
            datapath.close()  # what is attached and pinned stays


def _boot_text(paths: RuntimePaths, config: Path | None) -> tuple[str | None, str]:
    for path in (config,) if config else (paths.running, FACTORY_CONFIG):
        try:
            return path.read_text(), str(path)
        except FileNotFoundError:
            if config:
                raise ApplianceError(f"there is no {config}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ApplianceError(f"cannot read {path}: {error}") from error
    return None, ""


@contextmanager
def _only_one(paths: RuntimePaths) -> Iterator[None]:
    """One edge64d a runtime folder; the kernel lets the lock go however a process ends."""
    paths.runtime.mkdir(parents=True, exist_ok=True, mode=0o755)
    with paths.lock.open("a+") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _locked(lock):
            if time.monotonic() > deadline:
                lock.seek(0)
                raise ApplianceError(
                    f"another edge64d (process {lock.read().strip()}) serves {paths.runtime}",
                    "stop it first, or name another --runtime-dir",
                )
            time.sleep(0.1)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


async def _serve(paths: RuntimePaths, service: Service, datapath: Datapath) -> None:
    loop = asyncio.get_running_loop()
    events = LinkEvents(service.heal, service.announce)
    events.listen(loop)
    server = uvicorn.Server(
        uvicorn.Config(
            make_api(service, datapath), log_level="warning", lifespan="off", access_log=False
        )
    )
    tasks = [
        asyncio.create_task(events.run()),
        asyncio.create_task(_retry(service)),
        asyncio.create_task(_keep_watcher(paths)),
        asyncio.create_task(log_events(datapath)),
    ]
    listening = _api_socket(paths.api_socket)
    log.info("serving %s", paths.api_socket)
    try:
        await server.serve(sockets=[listening])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        events.close(loop)
        paths.api_socket.unlink(missing_ok=True)


def _api_socket(path: Path) -> socket.socket:
    """Only root may connect. The file appears in one step, so a client finds it served."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(fresh))
    except OSError as error:
        raise SystemLacks(f"cannot listen on {path}: {error}") from error
    finally:
        os.umask(before)
    listening.listen(64)
    fresh.rename(path)
    return listening


async def _retry(service: Service) -> None:
    """What failed is tried again: a driver may be late, memory short."""
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        if service.failure and service.running is not None:
            await asyncio.to_thread(service.heal)


async def _keep_watcher(paths: RuntimePaths) -> None:
    """The watcher runs as long as the daemon does, and dies with it."""
    command = [sys.executable, "-m", "appliance.daemon.watcher"]
    command += ["--runtime-dir", str(paths.runtime), "--parent", str(os.getpid())]
    process: subprocess.Popen[bytes] | None = None
    try:
        while True:
            if process is None or process.poll() is not None:
                if process is not None:
                    log.error("the watcher ended (%s); starting it again", process.returncode)
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            await asyncio.sleep(0.5)
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()
