"""The command behind ``make demo``."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Run the demo and return its exit status: 0, 1 after a failure, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="draws which images are labeled (default: %(default)s)")
    parser.add_argument("--ui", action="store_true", help="leave Airflow and the emulator running")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started this in the background
        signal.signal(number, _interrupt)
    try:
        if options.ui:
            from demo.ui import serve

            serve(options.seed, sys.stdout)
        else:
            from demo.run import run, table

            print(table(run(options.seed, sys.stdout), options.seed))
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  # the last line of defence: one line instead of a traceback
        from demo.run import LOG

        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"The demo failed: {reason} (Airflow's log: {LOG})", file=sys.stderr)
        return 1
    return 0


def _interrupt(_: int, __: FrameType | None) -> None:
    """End on SIGTERM as on Ctrl-C, with everything that was started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
