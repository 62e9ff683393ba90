"""supervisord's configuration, from one template, for the appliance and the lab alike."""

import sys
from pathlib import Path

import appliance
from appliance.daemon.files import write_atomically
from appliance.daemon.paths import RuntimePaths

DAEMON, RESOLVER, SLOW_PATH = "edge64d", "dns64", "slowpath"

_TEMPLATE = Path(__file__).with_name("supervisord.conf")


def supervisor_config(paths: RuntimePaths, workers: int) -> str:
    """The text of supervisord.conf. ``workers``: how many resolver processes, 1 at least."""
    values = {
        "runtime": paths.runtime,
        "state": paths.state,
        "socket": paths.supervisor_socket,
        "logs": paths.logs,
        "python": sys.executable,
        "modules": Path(appliance.__file__).parents[1],
        "resolver_settings": paths.resolver_settings,
        "slow_path_settings": paths.slow_path_settings,
        "slow_path_counters": paths.stats / "slowpath" / "counters.json",
        "workers": max(1, workers),
    }
    text = _TEMPLATE.read_text()
    for name, value in values.items():
        # supervisor expands %; a folder's name may hold one.
        text = text.replace(f"@{name}@", str(value).replace("%", "%%"))
    return text


def write_supervisor_config(paths: RuntimePaths, workers: int) -> bool:
    """Writes the file where it differs; True when it did."""
    text = supervisor_config(paths, workers)
    path = paths.supervisor_config
    if path.exists() and path.read_text() == text:
        return False
    write_atomically(path, text)
    return True
