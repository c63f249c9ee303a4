"""How messages spell what is long or many."""

from __future__ import annotations

import pytest

from airflow_provider_modelarts.client.wording import counted, cut, first_of


@pytest.mark.parametrize(
    ("items", "options", "expected"),
    [
        ([], {}, ""),
        (["a"], {}, "a"),
        (["a", "b"], {}, "a, b"),
        (["a", "b", "c"], {}, "a, b and 1 more"),
        (["a", "b", "c"], {"separator": "; "}, "a; b; and 1 more"),
        (["a", "b"], {"total": 2}, "a, b"),
        (["a", "b"], {"total": 9}, "a, b and 7 more"),
        (["a", "b", "c", "d"], {"total": 3}, "a, b and 1 more"),
    ],
)
def test_the_first_of_many_are_named_and_the_rest_is_counted(
    items: list[str], options: dict[str, object], expected: str
) -> None:
    assert first_of(items, 2, **options) == expected  # type: ignore[arg-type]


def test_a_text_is_cut_only_if_it_is_longer_than_allowed() -> None:
    assert [cut("12345", 5), cut("123456", 5)] == ["12345", "12..."]


def test_a_noun_follows_its_count() -> None:
    assert [counted(0, "sample"), counted(1, "sample"), counted(2, "sample")] == ["0 samples", "1 sample", "2 samples"]
