"""Thousands of waits in one process, as a triggerer holds them, against a server that takes 100 ms for each answer.

Each row prints, over a window of time: processor time as a share of one core, memory, open files, how late polls
reached the server, and how late the event loop ran (with the lag of an idle thread of another process, which is
the machine's own share). Beside each row the same wait is built from the trigger of
``HttpSensor(deferrable=True)``, which can wait for the end of a 404 only: it gets one.

*going on*: the waits began at different times, as those of many DAG runs do, and are past their early looks.
*restarted*: waits of all ages go on in the same moment in a new process, as after the restart of a triggerer.
*begun*: all begin in the same moment, as the tasks of one large mapping, and look as often as young waits do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.environment import airflow_settings, drop_inherited
from tests.benchmarks.local_server import PROJECT, LocalServer, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

LATENCY = 0.1
POLL_INTERVAL = 30
ROWS = ((1000, "going on"), (5000, "going on"), (5000, "restarted"), (5000, "begun"))
OLDEST = 3600.0
"""Age in seconds of the oldest wait that is restarted; the ages are spread evenly."""
WINDOW = 33.0
"""Seconds that are measured: a poll interval and its jitter, so that every wait polls at least once."""

AIMS = "aims for 5,000 going on: CPU at most 35 %, RSS at most 400 MB, lateness p95 under 1 s, loop lag p99 under 50 ms"

planned: contextvars.ContextVar[float | None] = contextvars.ContextVar("planned", default=None)
"""When the wait at hand meant to send its next poll; epoch seconds."""


def _raise_file_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _noted_sleep(sleep: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return a sleep that notes when it should end."""

    async def noted(*arguments: Any, **keywords: Any) -> Any:
        planned.set(time.time() + arguments[-1])
        return await sleep(*arguments, **keywords)

    return noted


def _planned_header() -> dict[str, str]:
    moment = planned.get()
    return {} if moment is None else {"X-Planned": f"{moment:.6f}"}


def _our_triggers(count: int, start: str, url: str) -> Iterator[Any]:
    """Yield waits of this package; a header with the planned moment is all that is added to them."""
    from airflow_provider_modelarts.client.clock import Clock
    from airflow_provider_modelarts.client.transport.session import HttpSession
    from airflow_provider_modelarts.triggers.label_task import ModelArtsLabelTaskTrigger

    extra = {"auth": "token", "project_id": PROJECT, "iam_endpoint": url}
    connection = {"conn_type": "modelarts", "host": url, "password": "token", "extra": extra}
    os.environ["AIRFLOW_CONN_MODELARTS_DEFAULT"] = json.dumps(connection)
    send, sleep = HttpSession.send, Clock.sleep_async
    HttpSession.send = lambda self, request, what: send(self, request.with_headers(_planned_header()), what)  # type: ignore[method-assign]
    Clock.sleep_async = _noted_sleep(sleep)  # type: ignore[method-assign,assignment]
    now = time.time()
    for number in range(count):
        yield ModelArtsLabelTaskTrigger(
            "d" * 19,
            f"task{number:015d}",
            deadline=now + 3600,
            poll_interval=POLL_INTERVAL,
            started=now - OLDEST * number / count if start == "restarted" else None,
        )


def _http_triggers(count: int, _start: str, url: str) -> Iterator[Any]:
    """Yield waits of the HTTP provider, as its deferrable sensor makes them; they do not know when they began."""
    import aiohttp
    from airflow.providers.http.triggers import http

    os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": url})
    request = aiohttp.ClientSession._request

    async def with_moment(self: Any, *arguments: Any, **keywords: Any) -> Any:
        keywords["headers"] = {**(keywords.get("headers") or {}), **_planned_header()}
        return await request(self, *arguments, **keywords)

    class Noted:
        """asyncio, but for its sleep."""

        sleep = staticmethod(_noted_sleep(asyncio.sleep))

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

    aiohttp.ClientSession._request = with_moment
    http.asyncio = Noted()
    for number in range(count):
        yield http.HttpSensorTrigger(
            endpoint=f"not-yet/{number}", headers={"X-Auth-Token": "token"}, poke_interval=POLL_INTERVAL
        )


KINDS: dict[str, Callable[[int, str, str], Iterator[Any]]] = {"modelarts": _our_triggers, "http": _http_triggers}


async def _consume(trigger: Any, after: float) -> None:
    await asyncio.sleep(after)
    async for event in trigger.run():
        raise RuntimeError(f"a wait that should go on has ended: {event}")


async def _measure_lag(lags: list[float]) -> None:
    """Note by how much a sleep of 10 ms is too long."""
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append(time.perf_counter() - begin - 0.01)


def quantile(values: list[float], share: float) -> float:
    """Return the value below which a share of all values lies; nan of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _skip_early_looks() -> None:
    """Let waits look at once and then every poll interval, as the HTTP provider's do."""
    from airflow_provider_modelarts.client import poll_schedule

    poll_schedule.EARLY_GAPS = ((0.001, 0.001),)  # type: ignore[assignment]


async def _run(kind: str, count: int, start: str, url: str) -> dict[str, Any]:
    import psutil

    process = psutil.Process()
    going_on = start == "going on"
    if going_on:
        _skip_early_looks()
    spread = POLL_INTERVAL / count if going_on else 0.0
    triggers = KINDS[kind](count, start, url)
    waits = [asyncio.create_task(_consume(trigger, number * spread)) for number, trigger in enumerate(triggers)]
    lags: list[float] = []
    lagging = asyncio.create_task(_measure_lag(lags))
    await asyncio.sleep(POLL_INTERVAL if going_on else 0)
    await asyncio.to_thread(served, url)
    lags.clear()
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.sleep(WINDOW)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    counted = await asyncio.to_thread(served, url)
    memory, files = process.memory_info().rss, process.num_fds()
    ended = [wait.exception() for wait in waits if wait.done()]
    for task in (*waits, lagging):
        task.cancel()
    return {
        "cpu": cpu / wall,
        "cpu_ms": cpu / max(counted["requests"], 1) * 1000,
        "rss": memory / 1e6,
        "files": files,
        "late": [quantile(counted["late"], share) for share in (0.5, 0.95, 1)],
        "lag": quantile(lags, 0.99),
        "requests": counted["requests"],
        "connections": counted["connections"],
        "ended": [repr(error) for error in ended][:3],
    }


def _in_this_process(kind: str, count: int, start: str, url: str, home: str) -> None:
    drop_inherited(os.environ)
    os.environ.update(airflow_settings(Path(home)))
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
    _raise_file_limit()
    print(json.dumps(asyncio.run(_run(kind, count, start, url))))


HEAD = (
    f"{'waits':>6} {'':<10} {'built from':<12} {'CPU':>6} {'per poll':>9} {'RSS':>7} {'files':>6} "
    f"{'late p50':>9} {'p95':>9} {'max':>9} {'loop lag p99':>13} {'idle lag':>9} {'polls':>6} {'connects':>9}"
)


def _line(count: int, start: str, name: str, found: dict[str, Any]) -> str:
    # nothing is planned before the first poll, which is all that an HttpSensor does right after a restart
    late = " ".join(f"{value:7.2f} s" if value == value else f"{'-':>9}" for value in found["late"])
    line = (
        f"{count:>6} {start:<10} {name:<12} {found['cpu']:>6.1%} {found['cpu_ms']:>6.2f} ms {found['rss']:>4.0f} MB "
        f"{found['files']:>6} {late} {found['lag'] * 1000:>10.1f} ms {found['idle_lag'] * 1000:>6.1f} ms "
        f"{found['requests']:>6} {found['connections']:>9}"
    )
    return line + (f"  ENDED: {found['ended']}" if found["ended"] else "")


def _idle_lag(stop: threading.Event) -> float:
    """Return the p99 lag of a thread that does nothing but sleep: what the machine itself adds."""
    lags = []
    while not stop.is_set():
        begin = time.perf_counter()
        time.sleep(0.01)
        lags.append(time.perf_counter() - begin - 0.01)
    return quantile(lags, 0.99)


def _measure(kind: str, count: int, start: str) -> dict[str, Any]:
    """Return what one row shows."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as idle:
        lag = idle.submit(_idle_lag, stop)
        try:
            found = _measure_child(kind, count, start)
        finally:
            stop.set()
        return {**found, "idle_lag": lag.result()}


def _measure_child(kind: str, count: int, start: str) -> dict[str, Any]:
    """Run one row in a process of its own: memory and clients of another row would count here."""
    with LocalServer(LATENCY) as server, tempfile.TemporaryDirectory() as home:
        arguments = ["--kind", kind, "--waits", str(count), "--start", start, "--url", server.url, "--home", home]
        command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.waiting", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind} with {count} waits: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the table."""
    _raise_file_limit()  # the server has a connection for each of the other side's
    print(f"Waiting: latency {LATENCY * 1000:.0f} ms, poll_interval {POLL_INTERVAL} s, measured for {WINDOW:.0f} s")
    print(f"({AIMS})")
    print(HEAD)
    comparable = find_spec("airflow.providers.http") is not None
    for count, start in ROWS:
        print(_line(count, start, "ModelArts", _measure("modelarts", count, start)), flush=True)
        if comparable:
            print(_line(count, start, "HttpSensor", _measure("http", count, start)), flush=True)
    if not comparable:
        print("Nothing to compare with: apache-airflow-providers-http is not installed (pip install '.[bench]').")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--waits", type=int)
    parser.add_argument("--start", choices=sorted({start for _, start in ROWS}))
    parser.add_argument("--url")
    parser.add_argument("--home")
    chosen = parser.parse_args()
    if chosen.kind:
        _in_this_process(chosen.kind, chosen.waits, chosen.start, chosen.url, chosen.home)
    else:
        main()
