"""``python -m dns64 --settings FILE``: one worker; start one for each core."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from dns64.errors import Dns64Error
from dns64.settings import read_settings
from dns64.worker import Worker, drop_privileges, new_loop, raise_file_limit


def main() -> int:
    parser = argparse.ArgumentParser(prog="dns64", description="edge64's resolver: one worker")
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE")
    parser.add_argument("--worker", type=int, default=0, metavar="N", help="names the stats file")
    parser.add_argument("--check", action="store_true", help="only check the settings")
    options = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="dns64[%(process)d] %(levelname)s %(message)s"
    )
    try:
        settings = read_settings(options.settings)
        if options.check:
            return 0
        raise_file_limit()
        worker = Worker(options.settings, settings, options.worker)
        drop_privileges(settings)
    except Dns64Error as error:
        print(f"dns64: {error}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return 1
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(worker.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
