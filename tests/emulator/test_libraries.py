"""A dozen emulators that begin at once, in a process that has imported nothing yet."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from airflow_provider_modelarts.emulator import Emulator

LIBRARIES = {"numpy", "PIL", "sklearn", "threadpoolctl"}
COUNT = 12
sys.setswitchinterval(1e-5)
barrier = threading.Barrier(COUNT)
importers = set()


class Spy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LIBRARIES:
            importers.add(threading.get_ident())


def live(number):
    with Emulator(seed=number, task_seconds=0) as emulator:
        barrier.wait()
        # A third reads images in its own thread, a third in the thread of its server, a third trains at once.
        if number % 3:
            dataset_id = emulator.load_digits()
        else:
            dataset_id = emulator.load_folder(Path(sys.argv[1]))
        session = requests.Session()
        session.trust_env = False
        session.headers["X-Auth-Token"] = emulator.issue_token()
        place = f"{emulator.url}/v2/{emulator.project_id}/datasets/{dataset_id}"
        started = session.post(f"{place}/tasks", json={"task_type": "auto-label"}, timeout=120)
        listed = session.get(f"{place}/auto-annotations/samples", timeout=120)
        image = session.get(listed.json()["samples"][0]["source"], timeout=120)
        return [answer.status_code for answer in (started, listed, image)]


sys.meta_path.insert(0, Spy())
with ThreadPoolExecutor(COUNT) as pool:
    print(json.dumps({"answers": list(pool.map(live, range(COUNT))), "importers": len(importers)}))
"""


def folder_of_images(folder: Path) -> Path:
    """Two labels that can be told apart, and some unlabeled images."""
    for label, color in {"red": (200, 0, 0), "blue": (0, 0, 200), "unlabeled": (180, 10, 10)}.items():
        (folder / label).mkdir()
        for number in range(6):
            Image.new("RGB", (8, 8), color).save(folder / label / f"{number}.png")
    return folder


def test_a_dozen_that_begin_at_once_answer_and_one_thread_imports_the_libraries(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(folder_of_images(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["answers"] == [[200, 200, 200]] * 12, done.stderr
    assert outcome["importers"] == 1
