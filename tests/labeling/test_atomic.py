"""A plan that two tries make at once: the first complete one counts, wherever it lies."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from airflow_provider_modelarts.labeling.plan.lines import PlanHeader
from airflow_provider_modelarts.labeling.plan.plan_file import PlanWriter, read_plan
from airflow_provider_modelarts.labeling.storage import atomic
from airflow_provider_modelarts.labeling.storage.sealed_file import NotStoredError, SealedWriter, encode_line
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_modelarts.labeling.plan.plan_file import Plan
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

LINE = encode_line({"number": 1})


class Unconditional(Bucket):
    """A store that knows no conditional write, as fsspec says so."""

    def open(self, mode: str = "rb") -> Any:
        if mode == "xb":
            raise NotImplementedError("File mode not supported")
        return super().open(mode)


class NotThisWay(Bucket):
    """A store behind S3's interface that refuses the header: s3fs tells it when the object is closed."""

    def open(self, mode: str = "rb") -> Any:
        upload = super().open("wb" if mode == "xb" else mode)
        if mode == "xb":
            upload.close = lambda: (_ for _ in ()).throw(OSError(errno.ENOSYS, "not implemented"))
        return upload


class Careless(Bucket):
    """A store that takes the condition and pays no heed to it."""

    def open(self, mode: str = "rb") -> Any:
        return super().open("wb" if mode == "xb" else mode)


def airflow_path(folder: Path) -> StoragePath:
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(f"file://{folder}")


PLACES: dict[str, Callable[[Path], Any]] = {
    "pathlib": lambda folder: folder,
    "airflow": airflow_path,
    "object store": lambda folder: Bucket(),
    "without conditional writes": lambda folder: Unconditional(),
    "that refuses conditions": lambda folder: NotThisWay(),
    "that ignores conditions": lambda folder: Careless(),
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return PLACES[request.param](tmp_path) / "new folder" / "plan.jsonl"


def store(path: Any, dataset_id: str, keep: Callable[[Plan], bool] | None = lambda plan: True) -> Plan:
    with PlanWriter(path, PlanHeader(dataset_id), keep=keep) as writer:
        pass
    return writer.plan()


def test_the_first_complete_plan_counts(place: Any) -> None:
    first = store(place, "first")
    second = store(place, "second")
    assert (second.header.dataset_id, second.digest) == ("first", first.digest)
    assert read_plan(place).digest == first.digest


def test_a_plan_that_appears_while_another_is_made_counts(place: Any) -> None:
    with PlanWriter(place, PlanHeader("slow"), keep=lambda plan: True) as slow:
        quick = store(place, "quick")
    assert slow.plan().digest == quick.digest == read_plan(place).digest


def test_a_plan_is_replaced_where_that_is_meant(place: Any) -> None:
    store(place, "first")
    assert store(place, "second", keep=None).header.dataset_id == "second"
    assert store(place, "third", keep=lambda plan: plan.header.dataset_id != "second").header.dataset_id == "third"
    assert read_plan(place).header.dataset_id == "third"


def test_a_part_of_a_plan_does_not_count(place: Any) -> None:
    plan = store(place, "first")
    with place.open("rb") as file:
        content = file.read()
    with place.open("wb") as file:
        file.write(content[:-10])
    assert store(place, "second").header.dataset_id == "second"
    assert read_plan(place).digest != plan.digest


@pytest.mark.parametrize("store_of", [Unconditional, Careless, NotThisWay])
def test_without_conditional_writes_the_plan_that_is_there_in_the_end_counts(store_of: type[Bucket]) -> None:
    """Both looked before either was there; the one that replaced the other is found by looking back."""

    class Crowded(store_of):  # type: ignore[misc, valid-type]
        def open(self, mode: str = "rb") -> Any:
            upload = super().open(mode)
            if mode in ("wb", "xb") and others:
                close, other = upload.close, others.pop()

                def close_and_be_replaced() -> None:
                    close()
                    self.content = other

                upload.close = close_and_be_replaced
            return upload

    elsewhere = Bucket() / "plan.jsonl"
    theirs = store(elsewhere, "theirs")
    others = [elsewhere.content] * (2 if store_of is NotThisWay else 1)
    place = Crowded() / "plan.jsonl"
    assert store(place, "ours").digest == theirs.digest
    assert not others


def test_many_at_once_on_a_disk_agree(tmp_path: Path) -> None:
    for number in range(20):
        place = tmp_path / f"{number}.jsonl"
        found: list[Plan] = []
        together = threading.Barrier(4, timeout=60)

        def make(name: str, place: Path = place, found: list[Plan] = found, together: Any = together) -> None:
            with PlanWriter(place, PlanHeader(name), keep=lambda plan: True) as writer:
                together.wait()
            found.append(writer.plan())

        threads = [threading.Thread(target=make, args=(f"dataset {one}",)) for one in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {plan.digest for plan in found} == {read_plan(place).digest}
        assert len(found) == 4
    assert len(list(tmp_path.iterdir())) == 20, "no temporary file stays"


def test_a_disk_without_links_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(atomic.os, "link", link)
    place = tmp_path / "plan.jsonl"
    first = store(place, "first")
    assert store(place, "second").digest == first.digest
    assert [path.name for path in tmp_path.iterdir()] == ["plan.jsonl"]


def test_an_error_stores_nothing_anywhere(place: Any) -> None:
    with pytest.raises(ZeroDivisionError), SealedWriter(place) as file:  # noqa: PT012 - the point is where it ends
        file.write(LINE)
        raise ZeroDivisionError
    assert not place.exists()


def test_a_storage_that_fails_says_so() -> None:
    class Full(Bucket):
        def open(self, mode: str = "rb") -> Any:
            if mode != "rb":
                raise OSError(errno.ENOSPC, "no space left")
            return super().open(mode)

    with pytest.raises(OSError, match="no space left"):
        store(Full() / "plan.jsonl", "first")


def test_an_answer_lost_after_the_plan_was_stored_makes_no_second_plan() -> None:
    class Cut(Bucket):
        def open(self, mode: str = "rb") -> Any:
            upload = super().open(mode)
            if mode == "xb":
                close = upload.close

                def close_without_answer() -> None:
                    close()
                    raise OSError(errno.EIO, "connection lost")

                upload.close = close_without_answer
            return upload

    place = Cut() / "plan.jsonl"
    assert store(place, "ours").digest == read_plan(place).digest


# --- what is known in the end


def is_theirs(plan: Plan) -> bool:
    return plan.header.dataset_id == "theirs"


class Exchanged(Bucket):
    """Whatever is written here is something else a moment later."""

    content_afterwards: bytes | None = None

    def open(self, mode: str = "rb") -> Any:
        upload = super().open(mode)
        if mode != "rb":
            close = upload.close

            def close_and_exchange() -> None:
                close()
                if self.content_afterwards is None:
                    self.objects.pop(self._name, None)
                else:
                    self.content = self.content_afterwards

            upload.close = close_and_exchange
        return upload


def cut_in_the_middle() -> bytes:
    place = Bucket() / "plan.jsonl"
    with PlanWriter(place, PlanHeader("ours")):
        pass
    lines = place.content.splitlines(keepends=True)
    return lines[0][:-20] + lines[-1]


def of_somebody_else() -> bytes:
    place = Bucket() / "plan.jsonl"
    store(place, "somebody else's")
    return place.content


@pytest.mark.parametrize("afterwards", [lambda: None, lambda: b"", lambda: b"{}", cut_in_the_middle, of_somebody_else])
def test_a_plan_is_not_given_out_unless_it_is_stored(afterwards: Callable[[], bytes | None]) -> None:
    class Here(Exchanged):
        content_afterwards = afterwards()

    writer = PlanWriter(Here() / "plan.jsonl", PlanHeader("ours"), keep=is_theirs)
    with pytest.raises(NotStoredError, match=r"memory://bucket/plan\.jsonl was written, but something else or nothing"):
        writer.__enter__().__exit__(None, None, None)
    assert not NotStoredError.permanent, "the next try may find what counts"


def test_on_a_disk_without_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "plan.jsonl"

    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def replace(temporary: Path, path: Path) -> None:
        temporary.unlink()
        path.write_bytes(theirs)

    theirs = of_somebody_else()
    monkeypatch.setattr(atomic.os, "link", link)
    monkeypatch.setattr("pathlib.Path.replace", replace)
    with pytest.raises(NotStoredError):
        store(place, "ours", keep=is_theirs)


def test_two_that_replace_a_part_of_a_plan_on_a_disk_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, elsewhere = tmp_path / "plan.jsonl", tmp_path / "elsewhere.jsonl"
    place.write_bytes(b"part")
    theirs = store(elsewhere, "theirs")
    replace = type(place).replace

    def replace_and_be_replaced(temporary: Path, path: Path) -> None:
        replace(temporary, path)
        path.write_bytes(elsewhere.read_bytes())

    monkeypatch.setattr("pathlib.Path.replace", replace_and_be_replaced)
    assert store(place, "ours").digest == theirs.digest


class AnswerError(OSError):
    """As s3fs raises it: botocore's error, with the answer's status, is the cause."""

    def __init__(self, status: int, number: int) -> None:
        super().__init__(number, "refused")
        self.__cause__ = Exception()
        self.__cause__.response = {"ResponseMetadata": {"HTTPStatusCode": status}}  # type: ignore[attr-defined]


class Answering(Bucket):
    """A store that answers conditional writes with these errors, one after the other, and then holds them."""

    answers: ClassVar[list[Exception]]

    def open(self, mode: str = "rb") -> Any:
        upload = super().open(mode)
        if mode == "xb" and self.answers:
            error = self.answers.pop(0)
            upload.close = lambda: (_ for _ in ()).throw(error)
        return upload


@pytest.mark.parametrize(
    "answers",
    [
        [AnswerError(501, errno.ENOSYS)],
        [AnswerError(405, errno.EPERM)],
        [AnswerError(409, errno.EIO)] * 3,
        [AnswerError(409, errno.EBUSY)],
        [AnswerError(412, errno.EINVAL)],
        [OSError(errno.EPERM, "MethodNotAllowed")],
    ],
)
def test_a_store_that_refuses_the_condition_is_used_all_the_same(answers: list[Exception]) -> None:
    class Here(Answering):
        pass

    Here.answers = list(answers)
    place = Here() / "plan.jsonl"
    first = store(place, "first")
    assert not Here.answers
    assert read_plan(place).digest == first.digest
    Here.answers = list(answers)
    assert store(place, "second").digest == first.digest


@pytest.mark.parametrize(
    "answer", [AnswerError(503, errno.EBUSY), AnswerError(403, errno.EACCES), RuntimeError("lost")]
)
def test_other_answers_are_no_reason_to_write_without_the_condition(answer: Exception) -> None:
    class Here(Answering):
        answers: ClassVar[list[Exception]] = [answer]

    place = Here() / "plan.jsonl"
    with pytest.raises(type(answer)):
        store(place, "ours")
    assert not place.exists()


def test_who_collides_with_another_takes_the_other_plan() -> None:
    elsewhere = Bucket() / "plan.jsonl"
    theirs = store(elsewhere, "theirs")

    class Here(Answering):
        answers: ClassVar[list[Exception]] = [AnswerError(409, errno.EIO)]

        def open(self, mode: str = "rb") -> Any:
            upload = super().open(mode)
            if mode == "xb":
                self.content = elsewhere.content  # the other one is through
            return upload

    assert store(Here() / "plan.jsonl", "ours").digest == theirs.digest
