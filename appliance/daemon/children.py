"""The processes beside edge64d: their settings files, and supervisor, which runs them."""

import os
import pwd
import socket
import xmlrpc.client
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from appliance.config.values import Appliance
from appliance.daemon.paths import RuntimePaths
from appliance.daemon.supervisor import DAEMON, RESOLVER, SLOW_PATH, write_supervisor_config
from appliance.errors import ApplianceError
from appliance.slowpath import settings as slow
from bpf.model import BoxAddresses
from dns64 import settings as dns
from dns64.errors import Dns64Error

UNPRIVILEGED = "nobody"
_LOWEST_IPV6_MTU = 1280


@dataclass(frozen=True)
class ProcessState:
    """One process as supervisor sees it."""

    name: str
    state: str
    pid: int


def resolver_settings(appliance: Appliance, stats_dir: Path | None) -> dns.Settings | None:
    """What the resolver's workers are told; None when there is no resolver."""
    resolver = appliance.resolver
    if resolver is None:
        return None
    return dns.Settings(
        listen=tuple(dns.Listen(address, resolver.port) for address in resolver.listen),
        upstreams=tuple(dns.Upstream(one.address, one.port) for one in resolver.upstreams),
        policies=(
            dns.Policy(prefixes=appliance.translation.pref64, exclude_aaaa=resolver.exclude),
        ),
        user=UNPRIVILEGED,
        stats_dir=str(stats_dir) if stats_dir else None,
    )


def slow_path_settings(appliance: Appliance, own: BoxAddresses) -> slow.Settings | None:
    """What the slow path is told; None when nothing is translated."""
    translation = appliance.translation
    if not translation.pref64 and not translation.eam:
        return None
    interfaces = appliance.interfaces
    mtu4 = [one.mtu for one in interfaces if one.ipv4]
    mtu6 = [max(one.mtu, _LOWEST_IPV6_MTU) for one in interfaces if one.ipv6]
    ipv4: list[IPv4Address] = [own_.ip for one in interfaces for own_ in one.ipv4]
    ipv6: list[IPv6Address] = [
        own_.ip for one in interfaces for own_ in one.ipv6 if not own_.ip.is_link_local
    ]
    return slow.Settings(
        translation=translation,
        mtu4=min(mtu4, default=1500),
        mtu6=min(mtu6, default=1500),
        ipv4=ipv4[0] if ipv4 else None,
        ipv6=ipv6[0] if ipv6 else None,
        own=own,
    )


class Children:
    """Writes settings, and has supervisor start, reload or stop what they are for."""

    def __init__(self, paths: RuntimePaths) -> None:
        self._paths = paths

    def prepare(self, appliance: Appliance) -> None:
        """Raises ApplianceError when a process would not take its settings."""
        try:
            resolver_settings(appliance, None)
            slow_path_settings(appliance, BoxAddresses())
        except ValueError as error:
            raise ApplianceError(f"the settings do not fit: {error}") from error

    def update(self, appliance: Appliance, own: BoxAddresses) -> list[str]:
        """Settings written, processes told. Returns warnings; none of them undoes a commit."""
        try:
            resolver_changed, must_restart = self._write_resolver(appliance)
            slow_changed = self._write_slow_path(appliance, own)
        except OSError as error:
            return [f"settings of the resolver or the slow path not written: {error.strerror}"]
        workers = appliance.resolver.workers if appliance.resolver else 1
        try:
            supervisor = self._supervisor()
            if supervisor is None:
                return ["no supervisor here: the resolver and the slow path are not started"]
            if write_supervisor_config(self._paths, workers):
                _take_new_config(supervisor)
            _hold(
                supervisor, RESOLVER, appliance.resolver is not None, resolver_changed, must_restart
            )
            _hold(supervisor, SLOW_PATH, self._paths.slow_path_settings.exists(), slow_changed)
        except (OSError, xmlrpc.client.Error) as error:
            return [f"supervisor did not do what it was asked: {error}"]
        return []

    def states(self) -> list[ProcessState]:
        """All processes, empty without a supervisor."""
        try:
            supervisor = self._supervisor()
            found: Any = supervisor.supervisor.getAllProcessInfo() if supervisor else []
        except (OSError, xmlrpc.client.Error):
            return []
        return [ProcessState(one["name"], one["statename"].lower(), one["pid"]) for one in found]

    def _supervisor(self) -> Any:
        """A proxy to supervisor's own API; None where none listens."""
        path = self._paths.supervisor_socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(str(path))
        except OSError:
            return None
        transport = SupervisorTransport(None, None, f"unix://{path}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport)

    def _write_resolver(self, appliance: Appliance) -> tuple[bool, bool]:
        """Whether the settings changed, and whether sockets must be bound anew, which a worker
        that gave up its privileges cannot do."""
        path = self._paths.resolver_settings
        before = path.read_bytes() if path.exists() else b""
        settings = resolver_settings(appliance, _writable(self._paths.stats / "dns64"))
        if settings is None:
            path.unlink(missing_ok=True)
            return bool(before), False
        old_listen = _listen_of(path) if before else settings.listen
        dns.write_settings(path, settings)
        return path.read_bytes() != before, old_listen != settings.listen

    def _write_slow_path(self, appliance: Appliance, own: BoxAddresses) -> bool:
        path = self._paths.slow_path_settings
        before = path.read_bytes() if path.exists() else b""
        settings = slow_path_settings(appliance, own)
        if settings is None:
            path.unlink(missing_ok=True)
            return bool(before)
        _writable(self._paths.stats / "slowpath")
        slow.write_settings(path, settings)
        return path.read_bytes() != before


def _listen_of(path: Path) -> tuple[dns.Listen, ...]:
    try:
        return dns.read_settings(path).listen
    except Dns64Error:
        return ()


def _writable(folder: Path) -> Path:
    """A folder that a process without privileges can write."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    try:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)
    except (KeyError, PermissionError):
        folder.chmod(0o777)
    return folder


def _take_new_config(supervisor: Any) -> None:
    """As supervisorctl's ``update``, for everything but edge64d, which is asking."""
    added, changed, removed = supervisor.supervisor.reloadConfig()[0]
    for group in (*removed, *changed):
        if group != DAEMON:
            supervisor.supervisor.stopProcessGroup(group)
            supervisor.supervisor.removeProcessGroup(group)
    for group in (*added, *changed):
        if group != DAEMON:
            supervisor.supervisor.addProcessGroup(group)


def _hold(
    supervisor: Any, group: str, wanted: bool, changed: bool, must_restart: bool = False
) -> None:
    """Running with the newest settings, or stopped."""
    running = {
        one["statename"] in ("RUNNING", "STARTING", "BACKOFF")
        for one in supervisor.supervisor.getAllProcessInfo()
        if one["group"] == group
    }
    if True in running and (not wanted or must_restart):
        supervisor.supervisor.stopProcessGroup(group)
        running = {False}
    if wanted and False in running:
        supervisor.supervisor.startProcessGroup(group, False)
    elif wanted and changed:
        supervisor.supervisor.signalProcessGroup(group, "HUP")
