"""Prints how fast the emulator is: ``python -m tests.emulator.measure [proposals]``. Not a test."""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import time

from airflow_provider_modelarts.emulator import Emulator


def main(count: int) -> None:
    begin = time.perf_counter()
    with Emulator() as emulator:
        print(f"start                                {1000 * (time.perf_counter() - begin):8.1f} ms")
        begin = time.perf_counter()
        dataset_id = emulator.load_proposals(count)
        print(f"load {count} proposals              {1000 * (time.perf_counter() - begin):8.1f} ms")
        emulator.journal.keep_bodies = False
        connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"))
        headers = {"X-Auth-Token": emulator.issue_token()}
        root = f"/v2/{emulator.project_id}/datasets/{dataset_id}"

        def ask(method: str, tail: str, body: bytes | None = None) -> tuple[float, bytes]:
            begin = time.perf_counter()
            extra = {"Content-Type": "application/json"} if body else {}
            connection.request(method, root + tail, body=body, headers=headers | extra)
            answer = connection.getresponse().read()
            return 1000 * (time.perf_counter() - begin), answer

        def report(name: str, times: list[float]) -> None:
            times.sort()
            print(f"{name:36} {statistics.median(times):8.2f} ms median {times[int(len(times) * 0.99)]:8.2f} ms p99")

        pages = count // 100
        tail = "/auto-annotations/samples?limit=100&order=asc&offset="
        report("page of 100, anywhere", [ask("GET", f"{tail}{number % pages}")[0] for number in range(0, 7000, 7)])
        report("dataset", [ask("GET", "")[0] for _ in range(500)])
        reads, writes = [], []
        for number in range(pages - 1, max(pages - 301, -1), -1):
            seconds, answer = ask("GET", f"{tail}{number}")
            reads.append(seconds)
            samples = json.loads(answer)["samples"]
            body = json.dumps({"samples": [{"sample_id": s["sample_id"], "labels": s["labels"]} for s in samples]})
            writes.append(ask("PUT", "/data-annotations/samples", body.encode())[0])
        report("page of 100 between writes", reads)
        report("confirm 100", writes)
        filtered = "/auto-annotations/samples?limit=100&label_name=rose&offset="
        print(f"first page of a filter               {ask('GET', filtered + '0')[0]:8.1f} ms")
        report("page of 100 of a filter", [ask("GET", f"{filtered}{number}")[0] for number in range(200)])
        print(f"statistics                           {ask('GET', '/data-annotations/stats')[0]:8.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
