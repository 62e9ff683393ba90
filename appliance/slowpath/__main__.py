"""``python -m appliance.slowpath --settings FILE``"""

import argparse
import os
import sys
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.slowpath.service import Service, drop_privileges


def main() -> int:
    runtime = Path(os.environ.get("EDGE64_RUNTIME_DIR", "/run/edge64"))
    parser = argparse.ArgumentParser(prog="python -m appliance.slowpath", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="JSON that edge64d writes")
    parser.add_argument(
        "--counters",
        type=Path,
        default=runtime / "slowpath" / "counters.json",
        help="file to show what was counted, each second (default: %(default)s)",
    )
    parser.add_argument(
        "--user", default="nobody", help="who to be once the device is open (default: nobody)"
    )
    arguments = parser.parse_args()
    try:
        arguments.counters.parent.mkdir(parents=True, exist_ok=True)
        service = Service(arguments.settings, arguments.counters)
        drop_privileges(arguments.user, arguments.counters.parent)
        service.run()
    except ApplianceError as error:
        print(f"slowpath: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"slowpath: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
