"""The slow path's process: reads the device, counts, and takes new settings on SIGHUP."""

import os
import pwd
import select
import signal
import socket
import sys
import time
from pathlib import Path

from appliance.slowpath.counters import Counters, CountersFile
from appliance.slowpath.device import TunDevice
from appliance.slowpath.handler import PacketHandler
from appliance.slowpath.settings import Settings, SlowPathError, read_settings

_BATCH = 256  # packets between two looks at signals and the clock
_COUNTERS_EVERY_S = 1.0


class Service:
    """One device, one file of settings, one file of counters."""

    def __init__(self, settings_path: Path, counters_path: Path) -> None:
        self._settings_path = settings_path
        settings = read_settings(settings_path)
        self._device = TunDevice(settings.device)
        self._counters = Counters()
        self._counters_file = CountersFile(counters_path)
        self._handler = self._new_handler(settings)
        self._reload_wanted = False
        self._stop_wanted = False

    def run(self) -> None:
        """Returns after SIGTERM or SIGINT."""
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        poll = select.poll()
        poll.register(self._device.fileno(), select.POLLIN)
        poll.register(wake_read.fileno(), select.POLLIN)
        print(f"slowpath: serving {self._device.name}", file=sys.stderr, flush=True)
        due = 0.0
        while not self._stop_wanted:
            now = time.monotonic()
            if now >= due:
                self._write_counters()
                due = now + _COUNTERS_EVERY_S
            poll.poll(max(0.0, due - now) * 1000)
            _drain(wake_read)
            if self._reload_wanted:
                self._reload_wanted = False
                self._reload()
            self._serve_batch()
        self._write_counters()
        signal.set_wakeup_fd(-1)
        self._device.close()

    def _serve_batch(self) -> None:
        for _ in range(_BATCH):
            try:
                packet = self._device.read()
            except OSError as error:
                # The device went down or away under us; it is not worth a busy loop.
                self._counters.packets["read-failed"] += 1
                print(f"slowpath: cannot read {self._device.name}: {error}", file=sys.stderr)
                time.sleep(0.1)
                return
            if packet is None:
                return
            self._handler.handle(packet)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._reload_wanted = True
        else:
            self._stop_wanted = True

    def _reload(self) -> None:
        try:
            settings = read_settings(self._settings_path)
            if settings.device != self._device.name:
                raise SlowPathError(
                    f"{self._settings_path}: device {settings.device}: "
                    f"it stays {self._device.name} until a restart"
                )
        except SlowPathError as error:
            print(f"slowpath: the old settings stay: {error}", file=sys.stderr, flush=True)
            return
        self._handler = self._new_handler(settings)
        print("slowpath: new settings taken", file=sys.stderr, flush=True)

    def _new_handler(self, settings: Settings) -> PacketHandler:
        return PacketHandler(settings, self._counters, self._device.write)

    def _write_counters(self) -> None:
        try:
            self._counters_file.write(self._counters)
        except OSError as error:
            print(f"slowpath: cannot write the counters: {error}", file=sys.stderr, flush=True)


def _drain(wake: socket.socket) -> None:
    try:
        while wake.recv(4096):
            pass
    except BlockingIOError:
        pass


def drop_privileges(user: str, writable: Path) -> None:
    """Becomes ``user`` if this is root; ``writable``, a directory, becomes that user's."""
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise SlowPathError(f"no user {user} to run as", "name another by --user") from None
    os.chown(writable, entry.pw_uid, entry.pw_gid)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
