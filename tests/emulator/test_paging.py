"""Pages of lists (contract 0.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.conftest import AUTO, Caller, ids_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("mode", ["page", "record"])
def test_what_offset_counts(proposals: Callable[..., Caller], mode: str) -> None:
    caller = proposals(25)
    caller.emulator.variants.offset_mode = mode
    everything = ids_of(caller.get(AUTO, limit=100)["samples"])
    assert len(everything) == 25
    step = 10 if mode == "page" else 1
    for offset in (0, 1, 2):
        page = caller.get(AUTO, limit=10, offset=offset)
        assert page["sample_count"] == 25
        assert ids_of(page["samples"]) == everything[offset * step :][:10]
    assert caller.get(AUTO, limit=10, offset=25)["samples"] == []


def test_defaults_and_order(proposals: Callable[..., Caller]) -> None:
    caller = proposals(25)
    down = ids_of(caller.walk(order="desc", limit=7))
    assert len(caller.get(AUTO)["samples"]) == 10
    assert ids_of(caller.walk(order="asc", limit=7)) == down[::-1]
    assert ids_of(caller.walk(limit=7)) == down
    assert len(set(down)) == 25


@pytest.mark.wrong_requests
@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "ten"},
        {"offset": -1},
        {"order": "up"},
    ],
)
def test_values_out_of_range(proposals: Callable[..., Caller], query: dict[str, Any]) -> None:
    assert proposals(5).refused("GET", AUTO, params=query) == (400, "ModelArts.0104")
