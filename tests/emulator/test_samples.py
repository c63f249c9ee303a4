"""Lists of samples, single samples, images (contract 3 and 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.emulator.conftest import AUTO, SAMPLES, Caller, ids_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("newest_first", [True, False])
def test_confirmed_samples_leave_every_page(proposals: Callable[..., Caller], newest_first: bool) -> None:
    """Like a walker: whatever is written, the pages are those of the list without it."""
    caller = proposals(1300)
    order = "desc" if newest_first else "asc"
    remaining = caller.walk(order=order)
    for round_number in range(4):
        gone = remaining[round_number::5][:60]
        caller.confirm(gone)
        remaining = [sample for sample in remaining if sample not in gone]
        page = caller.get(AUTO, limit=100, offset=3, order=order)
        assert page["sample_count"] == len(remaining)
        assert page["samples"] == remaining[300:400]
    assert caller.walk(order=order) == remaining


def test_a_hundred_thousand_proposals(proposals: Callable[..., Caller]) -> None:
    """Size changes nothing: pages from both ends, in the middle, and after writes."""
    caller = proposals(100_000)
    caller.emulator.journal.keep_bodies = True
    first = caller.get(AUTO, limit=100)
    assert first["sample_count"] == 100_000
    last = caller.get(AUTO, limit=100, offset=999, order="asc")
    assert ids_of(last["samples"]) == ids_of(first["samples"])[::-1]
    middle = caller.get(AUTO, limit=100, offset=500)["samples"]
    caller.confirm(first["samples"])
    assert caller.get(AUTO, limit=100, offset=499)["samples"] == middle
    assert caller.get(AUTO, limit=1)["sample_count"] == 99_900
    assert caller.dataset.unconfirmed == 99_900


def test_one_proposal(proposals: Callable[..., Caller]) -> None:
    caller = proposals(30, hard_share=1.0)
    sample = caller.walk()[3]
    alone = caller.get(f"{AUTO}/{sample['sample_id']}")
    details = alone.pop("hard_details", {})
    assert alone == sample
    assert {int(reason) for reason in details} <= set(sample["metadata"]["@modelarts:hard_reasons"])
    assert caller.refused("GET", f"{AUTO}/unknown") == (400, "ModelArts.4420")
    caller.confirm([sample])
    assert caller.refused("GET", f"{AUTO}/{sample['sample_id']}") == (400, "ModelArts.4420")


def test_one_hard_proposal_explains_its_reasons(digits: Caller) -> None:
    digits.finish(collect_key_sample=True)
    for listed in digits.walk():
        assert "hard_details" not in listed
        single = digits.get(f"{AUTO}/{listed['sample_id']}")
        reasons = listed["metadata"]["@modelarts:hard_reasons"]
        assert set(single.get("hard_details", {})) == {str(reason) for reason in reasons}
        assert all(one["reason"] and one["suggestion"] for one in single.get("hard_details", {}).values())
        if reasons:
            return
    raise AssertionError("no proposal was hard")


def test_presigned_urls_serve_the_image(digits: Caller) -> None:
    digits.finish()
    sample = digits.get(AUTO, limit=1, process_parameter="image/resize,m_lfit,h_200")["samples"][0]
    assert "x-image-process=image%2Fresize%2Cm_lfit%2Ch_200" in sample["source"]
    assert digits.emulator.secrets[2] in sample["source"]
    image = requests.get(sample["source"], timeout=10)
    assert image.headers["Content-Type"] == "image/png"
    assert image.content.startswith(b"\x89PNG")
    assert requests.get(sample["source"].partition("?")[0], timeout=10).status_code == 403
    assert sample["metadata"]["@modelarts:origin_source"].startswith("s3://emulator-data/digits/input/digit_")


@pytest.mark.wrong_requests  # lower case and an empty state, as in the examples (quirk 35)
def test_sample_states(digits: Caller) -> None:
    digits.finish()
    counts = {
        state: digits.get(SAMPLES, sample_state=state, limit=1)["sample_count"]
        for state in ("", "__ALL__", "__none__", "__AUTO_ANNOTATION__", "__ACCEPTED__")
    }
    assert counts == {"": 1797, "__ALL__": 150, "__none__": 1647, "__AUTO_ANNOTATION__": 1647, "__ACCEPTED__": 0}
    labeled = digits.get(SAMPLES, label_name="3", limit=100)
    assert labeled["sample_count"] == 15
    assert {sample["labels"][0]["name"] for sample in labeled["samples"]} == {"3"}


@pytest.mark.wrong_requests
def test_an_unknown_sample_state(digits: Caller) -> None:
    query = {"sample_state": "__SOME__"}
    assert digits.refused("GET", SAMPLES, params=query) == (400, "ModelArts.0104")


def test_every_documented_filter_of_samples_counts(digits: Caller) -> None:
    sample_id = digits.sample_ids(1)[0]
    digits.put([{"sample_id": sample_id, "labels": [{"name": "5"}]}], email="a@b.c")
    (by_member,) = digits.get(SAMPLES, email="a@b.c")["samples"]
    assert by_member["sample_id"] == sample_id
    assert digits.get(SAMPLES, sample_type=0)["sample_count"] == 1797
    assert digits.get(SAMPLES, sample_type=1)["sample_count"] == 0, "there is no text here"
    processed = digits.get(SAMPLES, limit=1, process_parameter="image/resize,h_200")["samples"][0]
    assert "x-image-process=image%2Fresize%2Ch_200" in processed["preview"]
    assert digits.refused("GET", SAMPLES, params={"version_id": "v"}) == (400, "ModelArts.4353")
    assert digits.refused("GET", "/data-annotations/labels", params={"version_id": "v"}) == (400, "ModelArts.4353")


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    ("tail", "query"),
    [
        (SAMPLES, {"sample_type": 3}),
        (SAMPLES, {"preview": "yes"}),
        (SAMPLES, {"locale": "de"}),
        ("/data-annotations/stats", {"sample_state": "__SOME__"}),
        ("/data-annotations/stats", {"locale": "de"}),
    ],
)
def test_values_out_of_range_in_the_datasets_own_lists(digits: Caller, tail: str, query: dict[str, Any]) -> None:
    assert digits.refused("GET", tail, params=query) == (400, "ModelArts.0104")
