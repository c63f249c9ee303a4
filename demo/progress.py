"""Shows the progress on the terminal, as read from the emulator's journal."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TextIO

from demo.journal_steps import step_of

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Journal, Record

# Contract 2.3, table of status.
TASK_STATES = {-1: "queued", 0: "initializing", 1: "running", 2: "failed", 3: "succeeded", 4: "stopping", 5: "stopped"}


class Progress:
    """Lines with the seconds since the beginning; on a terminal also one last line that changes.

    :param output: where to write.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        self._began = time.monotonic()
        self._read = 0
        self._now = "Airflow is starting"
        self._confirmed = 0
        self._proposals: int | None = None
        self._last_said = ""
        self.say(self._now)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """Write a line that stays, unless it is the one before."""
        if text != self._last_said:
            self._last_said = text
            self._write(text, end="\n")

    def look(self, journal: Journal) -> None:
        """Tell what is new in the journal."""
        records = journal[self._read :]
        self._read += len(records)
        for record in records:
            self._tell(record)
        if self._is_terminal:
            self._write(self._now, end="")

    def finish(self) -> None:
        """Write what the changing line came to."""
        if self._proposals is not None:
            self.say(f"{self._confirmed:,} of {self._proposals:,} proposals are confirmed")

    def _write(self, text: str, end: str) -> None:
        # Back to the start of the line and clear it: it may hold the changing line.
        begin = "\r\033[K" if self._is_terminal else ""
        self._output.write(f"{begin}{self.seconds:6.1f} s  {text}{end}")
        self._output.flush()

    def _tell(self, record: Record) -> None:
        step = step_of(record)
        if record.status == 0 or record.status >= 400:
            self.say(f"{record.method} {record.path} was answered with status {record.status}")
        elif step is not None:
            body: Any = json.loads(record.response) if record.response else {}
            getattr(self, f"_tell_{step}")(record, body)

    def _tell_token(self, _: Record, __: Any) -> None:
        self.say("IAM has issued a token")

    def _tell_start(self, _: Record, answer: Any) -> None:
        self.say(f"labeling task {answer.get('task_id')} has been started")
        self._now = "waiting in the triggerer's way: no worker is held"

    def _tell_wait(self, _: Record, answer: Any) -> None:
        state = TASK_STATES.get(answer.get("status"), f"status {answer.get('status')}")
        self.say(f"labeling task: {state}, {float(answer.get('progress') or 0):.0f} %")

    def _tell_list(self, _: Record, answer: Any) -> None:
        if self._proposals is None:
            self._proposals = int(answer.get("sample_count") or 0)
            self.say(f"{self._proposals:,} proposals of the machine await confirmation")
        self._now = f"{self._confirmed:,} of {self._proposals:,} proposals are confirmed"

    def _tell_confirm(self, record: Record, answer: Any) -> None:
        if answer.get("success"):
            self._confirmed += len(json.loads(record.body)["samples"])
        self._now = f"{self._confirmed:,} of {self._proposals or 0:,} proposals are confirmed"
