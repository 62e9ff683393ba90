"""What the daemon does: apply a configuration, hold to it, tell how things are."""

import logging
import threading
import time
from dataclasses import dataclass, field

from appliance.config.problems import ConfigError
from appliance.config.validate import Loaded, load
from appliance.config.values import Appliance
from appliance.daemon.children import Children
from appliance.daemon.diff import differences
from appliance.daemon.files import write_atomically
from appliance.daemon.paths import RuntimePaths
from appliance.daemon.reconcile import Reconciler
from appliance.errors import ApplianceError

log = logging.getLogger("edge64d")


@dataclass(frozen=True)
class Applied:
    """``settings``: what differs from the configuration before; ``changes``: what was done."""

    settings: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Service:
    """Threads may call it; one of them applies at a time."""

    def __init__(
        self, paths: RuntimePaths, reconciler: Reconciler, children: Children | None = None
    ) -> None:
        self.paths = paths
        self.children = children or Children(paths)
        self._reconciler = reconciler
        self._lock = threading.Lock()
        self.running: Loaded | None = None
        self.applied_at: float | None = None
        self.missing: list[str] = []
        self.failure: str = ""

    @property
    def appliance(self) -> Appliance:
        return self.running.appliance if self.running else Appliance()

    def start(self, text: str | None, source: str) -> None:
        """The configuration of boot. What is wrong with it is kept as ``failure``, and the
        datapath runs on as it was left."""
        if text is None:
            log.info("no configuration yet; waiting for one to be applied")
            return
        try:
            loaded = load(text, source)
        except ConfigError as error:
            self.failure = f"{error}; what ran before runs on"
            for problem in error.problems:
                log.error("%s", problem)
            return
        with self._lock:
            self.running = loaded
        self.heal(booting=True)

    def heal(self, booting: bool = False) -> None:
        """Puts right what something else changed; a failure is told by ``failure``."""
        with self._lock:
            if self.running is None:
                return
            try:
                outcome = self._reconciler.apply(
                    self.running.appliance, missing_allowed=True, healing=not booting
                )
            except ApplianceError as error:
                if str(error) != self.failure:
                    log.error("%s", error)
                self.failure = str(error)
                return
            self.failure = ""
            self.missing = outcome.missing
            for change in outcome.changes:
                log.info("%s", change)
            if booting or outcome.changes:
                self._update_children()
            if booting:
                self.applied_at = time.time()
                self._save(self.running)

    def apply(self, text: str, source: str = "the configuration") -> Applied:
        """All of it or nothing. ConfigError: refused, nothing was touched. ApplianceError: it
        could not be done, and what ran before was put back (or not, and then it is said)."""
        loaded = load(text, source)
        self.children.prepare(loaded.appliance)
        with self._lock:
            before = self.running
            try:
                outcome = self._reconciler.apply(loaded.appliance)
                self._save(loaded)
            except ApplianceError as error:
                raise self._rolled_back(error, before) from error
            self.running = loaded
            self.applied_at = time.time()
            self.missing = outcome.missing
            self.failure = ""
            warnings = self._update_children()
        for change in outcome.changes:
            log.info("%s", change)
        settings = differences(before.document.data if before else {}, loaded.document.data)
        return Applied(settings, outcome.changes, warnings)

    def check(self, text: str, source: str = "the configuration") -> Applied:
        """As ``apply`` would judge it, without doing anything."""
        loaded = load(text, source)
        self.children.prepare(loaded.appliance)
        before = self.running
        return Applied(
            differences(before.document.data if before else {}, loaded.document.data), [], []
        )

    def announce(self, device: str) -> None:
        """A link came up: its hosts are told where the answered addresses are."""
        self._reconciler.announce_all(device)

    def _rolled_back(self, error: ApplianceError, before: Loaded | None) -> ApplianceError:
        appliance = before.appliance if before else Appliance()
        failed = type(error)
        try:
            self._reconciler.apply(appliance, missing_allowed=True)
        except ApplianceError as second:
            log.error("going back failed: %s", second)
            self.failure = f"an apply failed ({error}), and so did going back ({second})"
            return failed(f"not applied: {error}; going back failed too: {second}", error.hint)
        return failed(f"not applied: {error}; what ran before was put back", error.hint)

    def _update_children(self) -> list[str]:
        warnings = self.children.update(self.appliance, self._reconciler.own)
        for warning in warnings:
            log.warning("%s", warning)
        return warnings

    def _save(self, loaded: Loaded) -> None:
        try:
            self.paths.state.mkdir(parents=True, exist_ok=True)
            write_atomically(self.paths.running, loaded.text, 0o600)
        except OSError as error:
            raise ApplianceError(
                f"cannot write {self.paths.running}: {error.strerror}",
                "the configuration would be lost at the next start",
            ) from error
