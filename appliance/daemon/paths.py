"""Where things are at run time."""

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_RUNTIME_DIR = Path("/run/edge64")
FACTORY_CONFIG = Path("/etc/edge64/edge64.yaml")


@dataclass(frozen=True)
class RuntimePaths:
    """``runtime`` is lost at reboot and belongs to one appliance; ``state`` outlives it."""

    runtime: Path
    state: Path

    @classmethod
    def from_environment(
        cls, runtime: Path | None = None, state: Path | None = None
    ) -> "RuntimePaths":
        """EDGE64_RUNTIME_DIR and EDGE64_STATE_DIR; the state is in the runtime folder unless
        something else is said."""
        chosen = runtime or Path(os.environ.get("EDGE64_RUNTIME_DIR") or DEFAULT_RUNTIME_DIR)
        kept = state or Path(os.environ.get("EDGE64_STATE_DIR") or chosen)
        return cls(chosen.absolute(), kept.absolute())

    @property
    def api_socket(self) -> Path:
        return self.runtime / "api.sock"

    @property
    def bpffs(self) -> Path:
        return self.runtime / "bpf"

    @property
    def lock(self) -> Path:
        return self.runtime / "edge64d.lock"

    @property
    def running(self) -> Path:
        return self.state / "running.yaml"

    @property
    def watcher_status(self) -> Path:
        return self.runtime / "watcher.json"

    @property
    def supervisor_socket(self) -> Path:
        return self.runtime / "supervisor.sock"

    @property
    def supervisor_config(self) -> Path:
        return self.runtime / "supervisord.conf"

    @property
    def resolver_settings(self) -> Path:
        return self.runtime / "dns64.json"

    @property
    def slow_path_settings(self) -> Path:
        return self.runtime / "slowpath.json"

    @property
    def stats(self) -> Path:
        """Counters that the resolver and the slow path write."""
        return self.runtime / "stats"

    @property
    def logs(self) -> Path:
        return self.runtime / "log"
