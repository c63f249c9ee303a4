"""What confirming costs: the documented loop, this package, and bare sockets, against one server in one run.

(a) the documented loop: a session, the default page of 10, one write per page; (b) the same with pages of 100; (c) this
package; (d) threads with bare sockets that read and write the same bytes and parse nothing. Each line is measured in a
process of its own: CPU and memory are those of the client alone. With the ledger on a plan is stored first, so every
proposal is read twice: "plan" and "apply" are told apart, "whole" is both, and (d) reads twice as well beside it.

``python -m tests.benchmarks confirm``; SECONDS_EACH=3 makes it shorter, LATENCIES=50, THREADS=16 and MOST=0 choose.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.bare_server import PROJECT, TOKEN, BareServer

DATASET = "d" * 19
LARGEST = 200_000
AIMS = (
    "aims: CPU over (b) at 0 ms: ledger off 0.5, apply 0.8, whole 1.2; rate over (d) with 16 threads: at 50 ms apply "
    "0.9, at 20 ms off 0.7 and apply 0.5; rate over (b) at 0 ms and 16 threads, ledger off: 2; at most 160 bytes of "
    "memory per proposal from 20,000 to 1,000,000"
)
LINE = "{name:<34}{number:>9,}{rate:>12,.0f}{cpu:>12}{rss:>10,.0f}"
HEADER = f"{'':<34}{'samples':>9}{'samples/s':>12}{'CPU us':>12}{'peak MB':>10}"


# What is measured; each runs in a process of its own and returns what is only known inside.


def prepare(kind: str) -> None:
    """Import what is needed, so that it is not measured."""
    if kind == "loop":
        import requests  # noqa: F401
    elif kind == "package":
        from airflow_provider_modelarts.client import ModelArtsClient  # noqa: F401
        from airflow_provider_modelarts.client.transport.session import HttpSession
        from airflow_provider_modelarts.labeling.apply import confirmation as apply  # noqa: F401

        HttpSession().close()


def loop(port: int, number: int, limit: int) -> dict[str, float]:
    """Read the first page and write it back until nothing is left, as the documents show it."""
    import requests

    session = requests.Session()
    session.trust_env = False
    session.headers["X-Auth-Token"] = TOKEN
    dataset = f"http://127.0.0.1:{port}/v2/{PROJECT}/datasets/{DATASET}"
    query = {} if limit == 10 else {"limit": str(limit)}
    while True:
        page = session.get(f"{dataset}/auto-annotations/samples", params=query, timeout=30).json()
        if not page["samples"]:
            return {}
        samples = [{"sample_id": one["sample_id"], "labels": one["labels"]} for one in page["samples"]]
        answer = session.put(f"{dataset}/data-annotations/samples", json={"samples": samples}, timeout=30)
        assert answer.json()["success"]


def package(port: int, number: int, threads: int, ledger: bool) -> dict[str, float]:
    """Confirm with this package; with the ledger on, a plan first."""
    from airflow_provider_modelarts.client import ModelArtsClient, TokenCredentials
    from airflow_provider_modelarts.labeling.apply.confirmation import LedgerTarget, confirm
    from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
    from airflow_provider_modelarts.labeling.plan.builder import make_plan
    from airflow_provider_modelarts.labeling.proposals.worker_pool import WorkerPool

    with ModelArtsClient(f"http://127.0.0.1:{port}", TokenCredentials(TOKEN, PROJECT)) as client:
        if not ledger:
            result = confirm(client, DATASET, concurrency=threads)
            assert (result.confirmed, result.unaccounted) == (number, 0), result
            return {}
        with tempfile.TemporaryDirectory() as folder:
            begun, used = time.perf_counter(), time.process_time()
            crew = WorkerPool(threads)
            plan = make_plan(client, DATASET, Path(folder) / "plan.jsonl", crew=crew).plan
            crew.close()
            middle, middle_used = time.perf_counter(), time.process_time()
            place = LedgerTarget(Path(folder), RunIdentity("dag", "run", "task"))
            result = confirm(client, DATASET, plan=plan, ledger=place, concurrency=threads)
            assert (result.confirmed, result.unaccounted) == (number, 0), result
            end, end_used = time.perf_counter(), time.process_time()
        return {
            "plan_seconds": middle - begun,
            "plan_cpu": middle_used - used,
            "apply_seconds": end - middle,
            "apply_cpu": end_used - middle_used,
        }


def bare(port: int, number: int, threads: int, reads: int) -> dict[str, float]:
    """Read every page and send as many bytes back, from threads with a socket each."""
    path = f"/v2/{PROJECT}/datasets/{DATASET}/"
    fields = f"Host: 127.0.0.1:{port}\r\nX-Auth-Token: {TOKEN}\r\nAccept: application/json\r\n"
    labels = (
        b'[{"name":"rose","type":0,"id":"1","score":0.93,'
        b'"property":{"@modelarts:hard":"false","@modelarts:hard_coefficient":"0.0"}}]'
    )
    sample = b'{"sample_id":"%032x","labels":%b}' % (0, labels)
    body = b'{"samples":[' + b",".join([sample] * 100) + b"]}"
    put = (
        f"PUT {path}data-annotations/samples HTTP/1.1\r\n{fields}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    pages = number // 100
    for work in [("get",)] * (reads - 1) + [("get", "put")]:
        numbers = iter(range(pages - 1, -1, -1))
        lock = threading.Lock()

        def carry(work: tuple[str, ...] = work, numbers: Any = numbers, lock: Any = lock) -> None:
            buffer = bytearray(1 << 20)
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while True:
                    with lock:
                        page = next(numbers, None)
                    if page is None:
                        return
                    query = f"limit=100&offset={page}&order=asc"
                    get = f"GET {path}auto-annotations/samples?{query} HTTP/1.1\r\n{fields}\r\n".encode()
                    for what in work:
                        connection.sendall(get if what == "get" else put)
                        _receive(connection, buffer)

        crowd = [threading.Thread(target=carry) for _ in range(threads)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
    return {}


def _receive(connection: socket.socket, buffer: bytearray) -> None:
    """Receive one answer."""
    got = connection.recv_into(buffer)
    while (end := buffer.find(b"\r\n\r\n", 0, got)) < 0:
        got += connection.recv_into(memoryview(buffer)[got:])
    place = buffer.find(b"Content-Length:", 0, end)
    length = int(bytes(buffer[place + 15 : buffer.find(b"\r\n", place)]))
    left = end + 4 + length - got
    while left > 0:
        left -= connection.recv_into(buffer)


KINDS = {"loop": loop, "package": package, "bare": bare}


def measure(kind: str, arguments: dict[str, Any]) -> dict[str, float]:
    """Run one in this process."""
    prepare(kind)
    begun, used = time.perf_counter(), time.process_time()
    inside = KINDS[kind](**arguments)
    return {
        "seconds": time.perf_counter() - begun,
        "cpu": time.process_time() - used,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        **inside,
    }


def run(server: BareServer, kind: str, number: int, latency: float, **arguments: Any) -> dict[str, float]:
    """Run one in a process of its own, against a fresh list."""
    number = max(number // 100, 1) * 100
    server.reset(number, "front" if kind == "loop" else "end", latency)
    told = json.dumps({"port": server.port, "number": number, **arguments})
    command = [sys.executable, "-m", "tests.benchmarks.confirm", "--measure", kind, told]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    measured["number"] = number
    if (served := server.report())["written"] != number:
        sys.exit(f"{kind} {arguments}: {number} proposals, {served['written']} written")
    return measured


def rate(measured: dict[str, float], part: str = "") -> float:
    return measured["number"] / measured[f"{part}seconds"]


def cpu(measured: dict[str, float], part: str = "") -> float:
    """Return microseconds of CPU for each sample."""
    return measured[f"{part}cpu"] / measured["number"] * 1e6


def show(name: str, measured: dict[str, float], part: str = "") -> None:
    facts = {"number": int(measured["number"]), "rate": rate(measured, part), "cpu": f"{cpu(measured, part):.1f}"}
    print(LINE.format(name=name, rss=measured["rss"] / 1e6, **facts))


def compare(server: BareServer, latency: float, seconds: float, threads: list[int]) -> None:
    """Measure all ways at one latency and print their ratios."""
    exchange = latency + 0.004

    def fitting(requests_per_sample: float, width: int = 1) -> int:
        return int(min(LARGEST, seconds * width / exchange / requests_per_sample))

    print(f"\nlatency {latency * 1000:.0f} ms\n{HEADER}")
    a = run(server, "loop", fitting(0.2), latency, limit=10)
    show("(a) documented loop, pages of 10", a)
    b = run(server, "loop", fitting(0.02), latency, limit=100)
    show("(b) the same, pages of 100", b)
    ratios = []
    for width in threads:
        number = fitting(0.02, width)
        d = run(server, "bare", number, latency, threads=width, reads=1)
        d_twice = run(server, "bare", number, latency, threads=width, reads=2)
        off = run(server, "package", number, latency, threads=width, ledger=False)
        on = run(server, "package", number, latency, threads=width, ledger=True)
        show(f"(d) bare sockets, {width} threads", d)
        show(f"(d) bare, {width} threads, read twice", d_twice)
        show(f"(c) package, {width}, ledger off", off)
        show(f"(c) package, {width}, ledger: plan", on, "plan_")
        show(f"(c) package, {width}, ledger: apply", on, "apply_")
        show(f"(c) package, {width}, ledger: whole", on)
        for name, measured, part, beside in (
            ("off", off, "", d),
            ("on, apply", on, "apply_", d),
            ("on, whole", on, "", d_twice),
        ):
            c = rate(measured, part)
            costs = cpu(measured, part) / cpu(b)
            ratios.append((width, name, c / rate(a), c / rate(b), c / rate(beside), costs))
    print(f"{'threads':>10}{'ledger':>14}{'c/a':>10}{'c/b':>10}{'c/d':>10}{'CPU c/b':>10}")
    for width, name, to_a, to_b, to_d, costs in ratios:
        print(f"{width:>10}{name:>14}{to_a:>10.1f}{to_b:>10.1f}{to_d:>10.2f}{costs:>10.2f}")


def grow(server: BareServer, least: int, most: int) -> None:
    """Print how memory grows with the number of proposals, plan and ledger included."""
    few = run(server, "package", least, 0.0, threads=16, ledger=True)
    many = run(server, "package", most, 0.0, threads=16, ledger=True)
    print(f"\nmemory\n{HEADER}")
    show("(c) package, 16, ledger: whole", few)
    show("(c) package, 16, ledger: whole", many)
    print(f"{(many['rss'] - few['rss']) / (many['number'] - few['number']):.0f} bytes of peak RSS per proposal")


def main() -> None:
    """Measure and print."""
    seconds = float(os.environ.get("SECONDS_EACH", "6"))
    latencies = [float(text) / 1000 for text in os.environ.get("LATENCIES", "0,20,50").split(",")]
    threads = [int(text) for text in os.environ.get("THREADS", "1,8,16,32").split(",")]
    most = int(os.environ.get("MOST", "1000000"))
    with BareServer() as server:
        for latency in latencies:
            compare(server, latency, seconds, threads)
        if most > 20_000:
            grow(server, 20_000, most)
    print(AIMS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "ARGUMENTS"))
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure[0], json.loads(asked.measure[1]))))
    else:
        main()
