"""One worker: sockets, loop and signals around the resolver."""

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import resource
import signal
from pathlib import Path

from dns64.errors import Dns64Error
from dns64.front import Front
from dns64.listen import Bound, TcpConnection, TcpListener, UdpListener, bind
from dns64.resolver import Resolver
from dns64.settings import Limits, Listen, Settings, read_settings
from dns64.stats import Stats
from dns64.steps import UNTIL
from dns64.upstream import Upstreams

_log = logging.getLogger("dns64")

STATS_EVERY_S = 2.0


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed: three times the answers a second."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def raise_file_limit() -> None:
    """Every query to an upstream has a socket of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def drop_privileges(settings: Settings) -> None:
    """Become the user of the settings, for good; only root can, and only root has to."""
    if settings.user is None or os.geteuid() != 0:
        return
    user = pwd.getpwnam(settings.user)
    if settings.stats_dir is not None:
        folder = Path(settings.stats_dir)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(folder, user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    _log.info("running as %s:%s", user.pw_name, grp.getgrgid(user.pw_gid).gr_name)


class Worker:
    """Built before privileges are dropped (it binds), run after."""

    def __init__(self, path: Path, settings: Settings, number: int) -> None:
        self._path = path
        self._settings = settings
        self.stats = Stats(number)
        self._unserved: dict[Listen, Bound] = {}
        try:
            for listen in settings.listen:
                self._unserved[listen] = bind(listen)
        except PermissionError:
            raise Dns64Error(
                f"no right to bind port {listen.port}",
                "start as root with a user to become, or choose a port from 1024 on",
            ) from None
        self._serving: dict[Listen, tuple[UdpListener, TcpListener]] = {}
        self._connections: set[TcpConnection] = set()
        self._stopping = asyncio.Event()
        self._stats_failed = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then let what is under way finish."""
        self._loop = asyncio.get_running_loop()
        upstreams = self._upstreams(self._settings)
        self._resolver = Resolver(self._loop, upstreams, self._settings.limits, self.stats)
        self._front = Front(self._settings, self._resolver, self.stats)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        await self._serve()
        writer = self._loop.create_task(self._write_stats())
        _log.info("worker %d answers at %s", os.getpid(), ", ".join(map(_show, self._serving)))
        await self._stopping.wait()
        await self._drain()
        writer.cancel()
        self._write_stats_once()

    def _upstreams(self, settings: Settings, known: Upstreams | None = None) -> Upstreams:
        return Upstreams(
            self._loop,
            settings.upstreams,
            self.stats,
            settings.limits.udp_size,
            settings.randomise_case,
            known,
        )

    def _current_front(self) -> Front:
        return self._front

    def _current_limits(self) -> Limits:
        return self._settings.limits

    async def _serve(self) -> None:
        """Take up the bound sockets that are not served yet."""
        while self._unserved:
            listen, bound = self._unserved.popitem()
            udp = UdpListener(self._loop, bound, self._current_front, self.stats)
            tcp = TcpListener(
                self._loop,
                bound,
                self._current_front,
                self.stats,
                self._current_limits,
                self._connections,
            )
            await tcp.start()
            self._serving[listen] = (udp, tcp)

    def _reload_soon(self) -> None:
        self._reloading = self._loop.create_task(self._reload())

    async def _reload(self) -> None:
        """Read the settings again; bad ones change nothing. Queries under way end by the old."""
        try:
            settings = read_settings(self._path)
            bound = self._bind_new(settings)
        except Dns64Error as error:
            _log.error("settings not taken over, the old ones stay: %s", error)
            self.stats.count("reloads", "refused")
            return
        except PermissionError:
            # Without privileges a low port cannot be bound; the supervisor starts us as root again.
            _log.warning("the listening addresses changed: ending, to be started again")
            self.stats.count("reloads", "restart")
            self._stopping.set()
            return
        if settings.user != self._settings.user:
            _log.warning("another user takes effect only when the worker is started again")
        self._unserved.update(bound)
        upstreams = self._upstreams(settings, self._resolver.upstreams)
        self._resolver.upstreams = upstreams
        self._resolver.limits = settings.limits
        self._front = Front(settings, self._resolver, self.stats)
        self._settings = settings
        await self._serve()
        for listen in set(self._serving) - set(settings.listen):
            for listener in self._serving.pop(listen):
                listener.close()
        _log.info("settings taken over; answers at %s", ", ".join(map(_show, self._serving)))
        self.stats.count("reloads", "taken")

    def _bind_new(self, settings: Settings) -> dict[Listen, Bound]:
        bound: dict[Listen, Bound] = {}
        try:
            for listen in settings.listen:
                if listen not in self._serving:
                    bound[listen] = bind(listen)
        except (Dns64Error, PermissionError):
            for sockets in bound.values():
                sockets.close()
            raise
        return bound

    async def _drain(self) -> None:
        """Answer what was asked, take nothing new."""
        for _, tcp in self._serving.values():
            tcp.close()
        until = self._loop.time() + UNTIL + 0.2
        while self._resolver.outstanding and self._loop.time() < until:
            await asyncio.sleep(0.02)
        for udp, _ in self._serving.values():
            udp.close()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)

    async def _write_stats(self) -> None:
        while True:
            self._write_stats_once()
            await asyncio.sleep(STATS_EVERY_S)

    def _write_stats_once(self) -> None:
        if self._settings.stats_dir is None:
            return
        folder = Path(self._settings.stats_dir)
        try:
            with contextlib.suppress(PermissionError):
                folder.mkdir(parents=True, exist_ok=True)
            self.stats.write(folder)
        except OSError as error:
            if not self._stats_failed:
                _log.error("cannot write counters to %s: %s", folder, error.strerror)
            self._stats_failed = True
        else:
            self._stats_failed = False


def _show(listen: Listen) -> str:
    return f"{listen.address}#{listen.port}"
