"""The page that shows a dataset in a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from airflow_provider_modelarts.links import DATASET_XCOM, ModelArtsDatasetLink

if TYPE_CHECKING:
    import pytest

    from airflow_provider_modelarts.emulator import Emulator
    from tests.emulator.conftest import Caller


def page(emulator: Emulator, dataset_id: str) -> requests.Response:
    """What a browser gets, which has no token."""
    return requests.get(emulator.page_of(dataset_id), timeout=20)


def test_it_shows_counts_labels_tasks_and_samples_with_their_images(digits: Caller) -> None:
    task_id = digits.finish(collect_key_sample=True)
    emulator = digits.emulator
    digits.put([{"sample_id": digits.walk()[0]["sample_id"], "labels": [{"name": "7"}]}])
    response = page(emulator, digits.dataset_id)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=UTF-8"
    text = response.text
    for part in (
        digits.dataset_id,
        "<h1>digits</h1>",
        "1,797",
        "Labeled: 151",
        "Awaiting confirmation: 1,646",
        task_id,
        "succeeded",
        ">7<br><small>digit_1796.png<br>human/domain",
        "human/emulator/owner",
    ):
        assert part in text, part
    assert re.search(r"<td>7</td><td class=\"number\">16</td><td class=\"number\">1\d\d</td>", text)
    images = re.findall(r'<img src="([^"]+)"', text)
    assert len(images) == 48
    assert requests.get(images[0].replace("&amp;", "&"), timeout=10).content.startswith(b"\x89PNG")
    assert {urlsplit(url).netloc for url in images} == {urlsplit(emulator.url).netloc}


def test_whatever_a_name_holds_is_text(digits: Caller) -> None:
    evil = '<script>alert("x")</script>'
    dataset = digits.dataset
    first, second = list(dataset.samples)[:2]
    dataset.edit(first, [evil], author=evil)
    odd: Any = [None, {"name": evil}]
    dataset.propose([{"sample_id": second, "labels": odd}])
    for dataset_id in (digits.dataset_id, evil.replace("/", "")):
        response = page(digits.emulator, dataset_id)
        assert "<script" not in response.text
        assert "&lt;script&gt;" in response.text
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_an_unknown_dataset_is_a_page_too(emulator: Emulator) -> None:
    response = page(emulator, "unknown")
    assert (response.status_code, response.headers["Content-Type"]) == (404, "text/html; charset=UTF-8")
    assert "no dataset <code>unknown</code>" in response.text


def test_a_dataset_without_images_has_a_page(emulator: Emulator) -> None:
    text = page(emulator, emulator.load_proposals(30, hard_share=1)).text
    assert "Awaiting confirmation: 30" in text
    assert "(hard)" in text
    assert "<img" not in text


def test_looking_at_the_page_changes_nothing_for_a_test(digits: Caller) -> None:
    rule = digits.emulator.faults.add("*", "", "status", status=503)
    assert page(digits.emulator, digits.dataset_id).status_code == 200
    assert rule.fired == 0


def test_the_link_of_a_task_leads_there(digits: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made by the package's own link from what the emulator's connection says."""
    kept = {"dataset_id": digits.dataset_id, "console": digits.emulator.connection_with_console["extra"]["console"]}
    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom.get_value", lambda *, ti_key, key: kept)
    assert DATASET_XCOM
    key: Any = type("Key", (), dict.fromkeys(("dag_id", "run_id", "task_id", "map_index", "try_number"), "x"))
    assert ModelArtsDatasetLink().get_link(Any, ti_key=key) == digits.emulator.page_of(digits.dataset_id)  # type: ignore[arg-type]


def test_what_was_said_is_shown_in_place_of_a_name(emulator: Emulator) -> None:
    dataset_id = emulator.load_samples(201, 2, labeled=1)
    dataset = emulator.dataset(dataset_id)
    said = {"type": 201, "score": 0.5, "property": {"@modelarts:content": "Good <b>morning</b>."}}
    dataset.propose([{"sample_id": list(dataset.samples)[1], "labels": [said]}])
    page = requests.get(emulator.page_of(dataset_id), timeout=10).text
    assert "This is tone 0." in page
    assert "Good &lt;b&gt;morning&lt;/b&gt;. 0.5" in page
    assert "None" not in page.partition("<h2>Labels</h2>")[2].partition("<h2>Labeling tasks</h2>")[0]
