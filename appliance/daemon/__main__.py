"""``python -m appliance.daemon``: edge64d, as supervisor starts it."""

import argparse
import sys
from pathlib import Path

from appliance.daemon.main import run
from appliance.daemon.paths import RuntimePaths
from appliance.errors import ApplianceError


def main() -> int:
    parser = argparse.ArgumentParser(prog="edge64d", description="The control plane of edge64.")
    parser.add_argument("--config", type=Path, help="apply this instead of the running one")
    parser.add_argument(
        "--runtime-dir", type=Path, help="default: $EDGE64_RUNTIME_DIR, /run/edge64"
    )
    parser.add_argument("--state-dir", type=Path, help="default: $EDGE64_STATE_DIR, the former")
    options = parser.parse_args()
    paths = RuntimePaths.from_environment(options.runtime_dir, options.state_dir)
    try:
        run(paths, options.config)
    except ApplianceError as error:
        print(f"edge64d: {error}", file=sys.stderr)
        if error.hint:
            print(f"edge64d: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
