"""Sealed objects: written whole, refused when they are not."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_modelarts.labeling.storage.path import display_uri, file_name, list_folder, name_of, stored_uri
from airflow_provider_modelarts.labeling.storage.sealed_file import (
    SealedReader,
    SealedWriter,
    StorageDamaged,
    decode_object,
    encode_line,
)
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.labeling.storage.path import StoragePath

LINES = [encode_line({"number": number, "text": "a\u2028\n b"}) for number in range(3)]


def write(path: StoragePath, lines: list[bytes] = LINES, facts: dict[str, Any] | None = None) -> str:
    with SealedWriter(path) as file:
        for line in lines:
            file.write(line)
        return file.seal(facts or {})


def read(path: StoragePath, facts: dict[str, Any] | None = None) -> tuple[list[bytes], str]:
    reader = SealedReader(path)
    return list(reader.lines()), reader.check(facts or {})


def airflow_path(folder: Path) -> StoragePath:
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(f"file://{folder}")


PLACES = {
    "pathlib": lambda folder: folder,
    "airflow": airflow_path,
    "object store": lambda folder: Bucket() / "data",
}


@pytest.fixture(params=PLACES)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    return PLACES[request.param](tmp_path)


def test_what_is_written_is_read(root: StoragePath) -> None:
    path = root / "a new folder" / "x#1.jsonl"
    digest = write(path, facts={"lines": 3})
    assert read(path, {"lines": 3}) == (LINES, digest)
    assert path.exists()
    assert len(digest) == 64


def test_an_object_is_exchanged_as_a_whole(root: StoragePath) -> None:
    path = root / "x.jsonl"
    write(path)
    write(path, LINES[:1])
    assert read(path)[0] == LINES[:1]


def test_a_folder_is_listed_by_name_and_a_missing_one_is_empty(root: StoragePath) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        write(root / "there" / name)
    assert [name_of(path) for path in list_folder(root / "there")] == ["a.jsonl", "b.jsonl"]
    assert list_folder(root / "not there") == []


def test_an_error_leaves_nothing_that_could_be_taken_for_whole(root: StoragePath) -> None:
    path = root / "x.jsonl"
    with pytest.raises(ZeroDivisionError), SealedWriter(path) as file:  # noqa: PT012 - the point is where it ends
        file.write(LINES[0])
        raise ZeroDivisionError
    with pytest.raises(StorageDamaged, match=r"x\.jsonl"):
        read(path)


def test_an_error_keeps_what_was_there_on_a_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write(path)
    with pytest.raises(ZeroDivisionError), SealedWriter(path):
        raise ZeroDivisionError
    assert read(path)[0] == LINES
    assert [name_of(path) for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_an_object_without_a_seal_is_not_stored_on_a_disk(tmp_path: Path) -> None:
    with SealedWriter(tmp_path / "x.jsonl") as file:
        file.write(LINES[0])
    assert list(tmp_path.iterdir()) == []


@settings(deadline=None, derandomize=True)
@given(data=st.data())
def test_any_cut_and_any_changed_byte_is_found(data: st.DataObject) -> None:
    path = Bucket() / "x.jsonl"
    write(path, facts={"lines": 3})
    whole = path.content
    if data.draw(st.booleans(), label="cut"):
        path.content = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
        path.content = whole[:place] + bytes([other]) + whole[place + 1 :]
    with pytest.raises(StorageDamaged):
        read(path, {"lines": 3})


@settings(deadline=None, derandomize=True)
@given(order=st.permutations(range(4)).filter(lambda order: order != [0, 1, 2, 3]))
def test_exchanged_lines_are_found(order: list[int]) -> None:
    path = Bucket() / "x.jsonl"
    write(path)
    lines = path.content.splitlines(keepends=True)
    path.content = b"".join(lines[number] for number in order)
    with pytest.raises(StorageDamaged):
        read(path)


def test_facts_that_differ_are_found(root: StoragePath) -> None:
    write(root / "x.jsonl", facts={"lines": 3})
    with pytest.raises(StorageDamaged, match="not complete or was altered"):
        read(root / "x.jsonl", {"lines": 4})


def test_what_is_not_there_is_said(root: StoragePath) -> None:
    with pytest.raises(StorageDamaged, match=r"x\.jsonl cannot be used: there is nothing"):
        read(root / "x.jsonl")


def test_long_objects_are_read_in_pieces(tmp_path: Path) -> None:
    lines = [encode_line({"text": "x" * 1000, "number": number}) for number in range(3000)]
    write(tmp_path / "x.jsonl", lines)
    assert read(tmp_path / "x.jsonl")[0] == lines


@given(text=st.text())
def test_a_line_is_one_line(text: str) -> None:
    line = encode_line({"text": text})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"text": text}


@pytest.mark.parametrize(
    "value", [1, 1.0, -0.0, 0.1, 1e22, 5e-324, 2**64, 10**400, math.nan, math.inf, "\ud800", "\u2028"]
)
def test_a_line_says_what_it_was_given_number_formats_included(value: object) -> None:
    line = encode_line({"labels": [{"value": value}]})
    assert repr(decode_object(line)) == repr(json.loads(line)) == repr({"labels": [{"value": value}]})


@given(text=st.text())
def test_file_names_are_tame(text: str) -> None:
    name = file_name(text)
    assert name
    assert len(name) <= 80
    assert not set(name) & set('/\\:*?"<>| \n%#')
    assert name.strip(".")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://key:secret@bucket/plan.jsonl?X-Amz-Signature=abc", "s3://bucket/plan.jsonl"),
        ("s3://key:/sec/ret@bucket/plan.jsonl", "s3://bucket/plan.jsonl"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("s3://arn:aws:s3:eu-west-1:1:accesspoint/name/a@b", "s3://arn:aws:s3:eu-west-1:1:accesspoint/name/a@b"),
        ("s3://bucket/a b/plan.jsonl", "s3://bucket/a b/plan.jsonl"),
        ("/tmp/what?/plan.jsonl", "/tmp/what?/plan.jsonl"),
    ],
)
def test_places_are_shown_without_secrets(text: str, expected: str) -> None:
    class Named:
        def __str__(self) -> str:
            return text

    assert display_uri(Named()) == expected


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://conn@bucket/plan.jsonl", "s3://conn@bucket/plan.jsonl"),
        ("s3://bucket/a@b/plan.jsonl", "s3://bucket/a@b/plan.jsonl"),
        ("s3://user:secret@bucket/plan.jsonl", "s3://bucket/plan.jsonl"),
        ("s3://conn@bucket/plan.jsonl?signature=secret", "s3://conn@bucket/plan.jsonl"),
        ("file:///data/a@b/plan.jsonl", "file:///data/a@b/plan.jsonl"),
        ("/data/plan.jsonl", "/data/plan.jsonl"),
    ],
)
def test_a_record_of_a_place_keeps_the_connection_and_no_secret(given: str, kept: str) -> None:
    assert stored_uri(Bucket(given)) == kept
