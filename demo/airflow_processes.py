"""Starts and stops a real Airflow: scheduler, triggerer, DAG processor and API server on SQLite.

Used by ``make demo UI=1``, by the end-to-end tests, and by the long runs, which also end, kill and freeze single parts.
Every process leads a process group of its own: Airflow's processes have children (workers, parsers, web workers) that a
signal to the parent alone leaves behind.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from demo import metadata
from demo.airflow_api import AirflowApi
from demo.environment import EXAMPLE_DAGS, airflow_settings, child_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    import psutil

HOST = "127.0.0.1"
# All parts read the log files on this disk, so none of them has to serve its own, on ports that may be taken.
COMPONENTS = {
    "scheduler": ("--skip-serve-logs",),
    "triggerer": ("--skip-serve-logs",),
    "dag-processor": (),
    "api-server": ("--host", HOST, "--workers", "1"),
}
# A part's name may have a number at its end: "triggerer-2" is a second triggerer.
SECOND_TRIGGERER = "triggerer-2"
HEALTHY_WITHIN = 300.0
KNOWN_WITHIN = 300.0
"""Seconds until a start, or the reading of DAGs, is given up: a busy machine may take long."""

# Below the ports that systems give to whoever asks for any: the API server listens only after a while, and somebody
# else may have been given one of those until then.
PORTS = range(20_000, 32_000)
STOPPED_WITHIN = 15.0


class AirflowProcessError(Exception):
    """Airflow did not start, or a part of it has ended."""


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that nobody is given by chance.

    :raises OSError: a hundred ports are all taken.
    """
    for _ in range(100):
        port = secrets.choice(PORTS)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind((HOST, port))
            return port
    raise OSError(f"no free port was found in {PORTS}")


class AirflowProcesses(AirflowApi):
    """One running Airflow; a context manager.

    :param home: its own folder; a metadata database that already lies there is used as it is.
    :param dags_folder: where the DAG files lie.
    :param port: port of the API server; 0 takes a free one.
    :param settings: further environment variables, such as ``AIRFLOW__...`` or ``AIRFLOW_CONN_...``.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags_folder: Path = EXAMPLE_DAGS,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.port = port or free_port()
        super().__init__(f"http://{HOST}:{self.port}")
        self.environ = child_environment(
            os.environ,
            {
                **airflow_settings(home, dags_folder=dags_folder),
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
                "AIRFLOW__API__BASE_URL": self.url,
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__PARALLELISM": "4",
                "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
                **(settings or {}),
            },
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()

    def __enter__(self) -> AirflowProcesses:
        """Start it; see :meth:`start`."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it; see :meth:`stop`."""
        self.stop()

    def start(self) -> None:
        """Start every part and wait until all of them are healthy.

        :raises AirflowProcessError: a part ended, or the whole is not healthy in time; nothing is left running then.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            metadata.copy_to(self.home)
            for component in COMPONENTS:
                self.start_component(component)
            self.wait_until(self._is_healthy, HEALTHY_WITHIN, "Airflow is not healthy")
        except BaseException:
            self.stop()
            raise

    def start_component(self, component: str) -> None:
        """Start one part, of :data:`COMPONENTS`, or one more of them, such as :data:`SECOND_TRIGGERER`."""
        role = component.rstrip("-0123456789")
        arguments = [*COMPONENTS[role], *(["--port", str(self.port)] if role == "api-server" else [])]
        with self.log_file(component).open("ab") as log:
            self._processes[component] = subprocess.Popen(
                [sys.executable, "-m", "airflow", role, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment_of(role),
                cwd=self.home,
                start_new_session=True,
            )
        self._sessions.add(self._processes[component].pid)

    def environment_of(self, role: str) -> Mapping[str, str]:  # noqa: ARG002 - a subclass may tell parts apart
        """Return the environment variables of a part: the same for all of them."""
        return self.environ

    def stop_component(self, component: str) -> None:
        """End one part by SIGTERM, as a deployment does, and wait until it is gone; after a while by SIGKILL."""
        process = self._processes.pop(component)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPPED_WITHIN)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def kill_component(self, component: str) -> None:
        """End one part and its children by SIGKILL, as a machine that goes down does."""
        process = self._processes.pop(component)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def freeze_component(self, component: str) -> None:
        """Let one part and its children stand still, as in a machine that is paused."""
        _signal_group(self.process_id(component), signal.SIGSTOP)

    def thaw_component(self, component: str) -> None:
        """Let a part go on that stood still."""
        _signal_group(self.process_id(component), signal.SIGCONT)

    def task_process(self, ti_id: str) -> psutil.Process | None:
        """Return the process that runs a try of a task, if one does; its parent supervises it.

        :param ti_id: id of the try, from :meth:`task_instance`.
        """
        import psutil

        title = f"airflow worker -- {ti_id}"
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if " ".join(process.cmdline()).startswith(title):
                    return process
        return None

    def process_id(self, component: str) -> int:
        """Return the process id of one part, which is also that of its process group."""
        return self._processes[component].pid

    def log_file(self, component: str) -> Path:
        """Return where one part's output goes."""
        return self.home / f"{component}.log"

    def stop(self) -> None:
        """End every part and all that they started: first by SIGTERM, after a while by SIGKILL."""
        with _undisturbed():
            _end(list(self._processes.values()))
            for process in self._leftovers():
                _kill(process)
            self._processes.clear()

    def _leftovers(self) -> list[psutil.Process]:
        """Return what is left of the sessions that the parts led: tasks lead process groups of their own.

        Parent and environment do not show it: a task outlives its killed supervisor, and its title hides its
        environment.
        """
        import psutil

        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
                if os.getsid(process.pid) in self._sessions and process.cwd() == str(self.home):
                    found.append(process)
        return found

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run of a DAG, as soon as the DAG is known, and return its run id."""
        self.wait_until(lambda: self.knows_dag(dag_id), KNOWN_WITHIN, f"the DAG {dag_id} is unknown")
        answer = self.request("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf)})
        run_id: str = answer["dag_run_id"]
        return run_id

    def wait_for_run(self, dag_id: str, run_id: str, *, within: float) -> str:
        """Wait until a run has ended and return its state."""
        self.wait_until(
            lambda: self.run_state(dag_id, run_id) in ("success", "failed"), within, f"{dag_id} {run_id} has not ended"
        )
        return self.run_state(dag_id, run_id)

    def wait_until(self, condition: Callable[[], bool], within: float, complaint: str) -> None:
        """Ask ``condition`` every quarter of a second.

        :raises AirflowProcessError: it does not hold ``within`` seconds, or a part of Airflow has ended.
        """
        deadline = time.monotonic() + within
        while not condition():
            self.check_alive()
            if time.monotonic() > deadline:
                raise AirflowProcessError(f"{complaint} after {within:.0f} s; see the logs in {self.home}")
            time.sleep(0.25)

    def check_alive(self) -> None:
        """Raise :class:`AirflowProcessError` if a part has ended by itself."""
        for component, process in self._processes.items():
            if process.poll() is not None:
                log = self.log_file(component)
                raise AirflowProcessError(
                    f"airflow {component} ended with exit status {process.returncode}: {_last_error(log)} (see {log})"
                )

    def _is_healthy(self) -> bool:
        if not self._listens():  # else another Airflow may answer, which has taken the port
            return False
        try:
            health = self.request("GET", "/api/v2/monitor/health")
        except (OSError, ValueError):  # not listening yet, or not yet able to answer
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def _listens(self) -> bool:
        """Whether it is this API server, or a child of it, that listens on the port."""
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            server = psutil.Process(self.process_id("api-server"))
            return any(
                found.status == psutil.CONN_LISTEN and found.laddr.port == self.port
                for process in (server, *server.children(recursive=True))
                for found in process.net_connections("tcp")
            )
        return False


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C cut the stopping short: it would leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals do not interrupt this thread
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes with their groups by SIGTERM, and what is left of them after a while by SIGKILL."""
    for process in processes:
        _signal_group(process.pid, signal.SIGTERM)
        _signal_group(process.pid, signal.SIGCONT)  # one that stands still would not notice
    deadline = time.monotonic() + STOPPED_WITHIN
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _kill(process: psutil.Process) -> None:
    import psutil

    # psutil compares start times, so a recycled process id is left alone.
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _signal_group(process_id: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, number)


def _last_error(log: Path) -> str:
    """Return the line of a log that most probably says why a process ended."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "error" in line]
    return (telling or lines or ["no output"])[-1][:300]
