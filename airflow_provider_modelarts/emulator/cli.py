"""The command `modelarts-emulator`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_modelarts.emulator import require_extra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

DEFAULT_PORT = 8090


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelarts-emulator", description="A local ModelArts and IAM with a real classifier behind it."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--data", default="digits", metavar="digits|FOLDER", help="what the dataset holds")
    parser.add_argument("--labeled", type=int, default=150, help="labeled digits (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws ids, credentials and labeled digits")
    parser.add_argument("--task-seconds", type=float, default=30.0, help="duration of a labeling task, in seconds")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator until Ctrl-C or SIGTERM.

    :param arguments: of the command line, without the program's name; None: the process's own.
    :returns: exit status: 0, 1 if it cannot serve, 2 for wrong arguments or if the extra `emulator` is not installed.
    """
    options = _parser().parse_args(arguments)
    try:
        require_extra()
    except ModuleNotFoundError as error:
        print(f"modelarts-emulator: {error}", file=sys.stderr)  # noqa: T201 - a command speaks on its terminal
        return 2
    from airflow_provider_modelarts.emulator.emulator import CONNECTION_VARIABLE, Emulator

    emulator = Emulator(options.seed, port=options.port, host=options.host, task_seconds=options.task_seconds)
    # It may run for days; counts and statuses are enough.
    emulator.journal.keep_bodies = False
    try:
        if options.data == "digits":
            dataset_id = emulator.load_digits(labeled=options.labeled)
        else:
            dataset_id = emulator.load_folder(Path(options.data))
        emulator.start()
    except (OSError, ValueError) as error:
        print(f"modelarts-emulator: {error}", file=sys.stderr)  # noqa: T201 - a command speaks on its terminal
        return 1
    # Listened for before anything is shown: whoever reads that may press Ctrl-C at once.
    with _end_wanted() as end_wanted:
        # The credentials are made up for this emulator; whoever starts it needs them.
        lines = (
            f"ModelArts and IAM: {emulator.url}",
            f"project_id:        {emulator.project_id}",
            f"dataset_id:        {dataset_id}",
            "",
            f"export {CONNECTION_VARIABLE}='{json.dumps(emulator.connection_with_console)}'",
            "",
            f"A page for the dataset: {emulator.page_of(dataset_id)}",
            "",
            "Ctrl-C ends it.",
        )
        print("\n".join(lines), flush=True)  # noqa: T201 - a command speaks on its terminal
        end_wanted.wait()
    emulator.stop()
    return 0


@contextmanager
def _end_wanted() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set, also where a shell started the command with Ctrl-C switched off."""
    wanted = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        wanted.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wanted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
