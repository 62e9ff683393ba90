"""Where the compiled objects are."""

import os
from pathlib import Path

from bpf.errors import BpfError

_BUILT = Path(__file__).resolve().parent.parent / "build" / "bpf"
_INSTALLED = Path("/usr/lib/edge64/bpf")


def object_path(name: str) -> Path:
    """The object compiled from ``NAME.bpf.c``; ``EDGE64_BPF_DIR`` names its folder."""
    wanted = os.environ.get("EDGE64_BPF_DIR")
    folders = [Path(wanted)] if wanted else [_BUILT, _INSTALLED]
    for folder in folders:
        path = folder / f"{name}.bpf.o"
        if path.exists():
            return path
    raise BpfError(
        f"no compiled object {name}.bpf.o in {' or '.join(map(str, folders))}",
        "run `make objects`",
    )
