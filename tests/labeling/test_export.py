"""Exports of labels: what is read back equals what was confirmed, nothing is dropped silently, no file is half."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from lxml import etree

from airflow_provider_modelarts.client.errors import InvalidRequest
from airflow_provider_modelarts.labeling.apply import confirm
from airflow_provider_modelarts.labeling.export import FORMAT_NAMES, PROPOSAL_FORMATS
from airflow_provider_modelarts.labeling.export.exporter import ExportRequest, ExportUnsteadyError, LabelExport
from airflow_provider_modelarts.labeling.export.folder import (
    ExportDamaged,
    ExportPlaceError,
    read_export,
)
from airflow_provider_modelarts.labeling.export.formats import FORMATS
from airflow_provider_modelarts.labeling.export.results import ExportProblemsError, ExportResult
from airflow_provider_modelarts.labeling.ledger.entries import RunIdentity
from airflow_provider_modelarts.labeling.ledger.reader import read_ledger
from airflow_provider_modelarts.labeling.ledger.recorder import LedgerTarget
from airflow_provider_modelarts.labeling.plan.builder import make_plan
from tests.labeling.export_datasets import (
    FEATURES,
    ODD_NAMES,
    expected,
    label_all,
    labeled_by_hand,
    place,
    source_of,
)
from tests.labeling.export_readers import READERS, Labels, label, lines, of_label_studio, sources, truth
from tests.labeling.object_store import Bucket

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.emulator import Emulator
    from tests.support.clock import MovedClock

OF_PLACES = ("modelarts-manifest", "coco", "yolo", "yolo-segment", "pascal-voc", "label-studio", "imagefolder", "jsonl")
OF_IMAGES = ("modelarts-manifest", "label-studio", "imagefolder", "jsonl")
KEEPS = {
    "modelarts-manifest": set(FEATURES),
    "coco": {"bndbox", "polygon"},
    "yolo": {"bndbox"},
    "yolo-segment": {"bndbox", "polygon"},
    "pascal-voc": {"bndbox"},
    "label-studio": {"bndbox", "polygon", "circle", "point"},
    "imagefolder": set(FEATURES),
    "jsonl": set(FEATURES),
}
RUN = RunIdentity("dag", "run", "confirm")


class Exporter:
    """Exports a dataset of the emulator."""

    def __init__(self, client: ModelArtsClient, folder: Path) -> None:
        self.client, self.folder = client, folder

    def __call__(self, dataset_id: str, name: str, **more: Any) -> ExportResult:
        request = ExportRequest(dataset_id, more.pop("path", self.folder), name, **more)
        return LabelExport(self.client, request).run()

    def read(self, name: str) -> Labels:
        return READERS[name](self.folder)


@pytest.fixture
def export(client: ModelArtsClient, tmp_path: Path) -> Exporter:
    return Exporter(client, tmp_path / "export")


# --- what comes back


def test_every_format_has_a_reader_that_shares_nothing_with_it() -> None:
    assert set(READERS) == set(FORMATS) == set(KEEPS)
    assert tuple(FORMATS) == FORMAT_NAMES
    assert tuple(name for name, one in FORMATS.items() if one.takes_proposals) == PROPOSAL_FORMATS


@pytest.mark.parametrize("name", OF_PLACES)
def test_boxes_come_back_as_they_were_confirmed(export: Exporter, emulator: Emulator, name: str) -> None:
    dataset_id = label_all(emulator, 250, "detection", left=30)
    result = export(dataset_id, name)
    assert export.read(name) == expected(emulator, dataset_id)
    assert (result.seen, result.samples, result.left_out, result.problems) == (220, 220, 0, {})
    assert result.labels == sum(
        len(emulator.dataset(dataset_id).labels_of(one)) for one in emulator.dataset(dataset_id).samples
    )
    assert read_export(export.folder, check_files=True)["samples"] == 220


@pytest.mark.parametrize("kind", ["classification", "multi_label"])
@pytest.mark.parametrize("name", OF_IMAGES)
def test_labels_of_images_come_back_as_they_were_confirmed(
    export: Exporter, emulator: Emulator, name: str, kind: str
) -> None:
    dataset_id = label_all(emulator, 120, kind, left=10)
    assert export(dataset_id, name).samples == 110
    assert export.read(name) == expected(emulator, dataset_id)


@pytest.mark.parametrize("name", OF_PLACES)
def test_names_are_arbitrary_text(export: Exporter, emulator: Emulator, name: str) -> None:
    dataset_id, _ = labeled_by_hand(emulator, [[place(one, "bndbox")] for one in ODD_NAMES])
    export(dataset_id, name)
    assert export.read(name) == expected(emulator, dataset_id)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_names_of_several_labels_of_an_image_are_arbitrary_text(
    export: Exporter, emulator: Emulator, name: str
) -> None:
    dataset_id, _ = labeled_by_hand(emulator, [[{"name": one, "type": 0} for one in ODD_NAMES]])
    export(dataset_id, name)
    assert export.read(name) == expected(emulator, dataset_id)


@pytest.mark.parametrize("on_problem", ["fail", "leave_out_samples", "leave_out_labels"])
@pytest.mark.parametrize("name", KEEPS)
def test_a_shape_is_kept_or_named(export: Exporter, emulator: Emulator, name: str, on_problem: Any) -> None:
    """Each sample has a box and another shape."""
    shapes = list(FEATURES)
    dataset_id, ids = labeled_by_hand(emulator, [[place("a", "bndbox"), place("b", one)] for one in shapes])
    lost = [shape for shape in shapes if shape not in KEEPS[name]]
    if lost and on_problem == "fail":
        with pytest.raises(ExportProblemsError) as failure:
            export(dataset_id, name, on_problem=on_problem)
        assert all(f"shape_{shape}" in str(failure.value) for shape in lost)
        assert ids[shapes.index(lost[0])] in str(failure.value)
        assert not export.folder.exists(), "nothing was written"
        return
    result = export(dataset_id, name, on_problem=on_problem)
    assert {code: one.samples for code, one in result.problems.items()} == {
        f"shape_{shape}": (ids[shapes.index(shape)],) for shape in sorted(lost)
    }
    whole = expected(emulator, dataset_id)
    for shape in lost:
        source = source_of(emulator, dataset_id, ids[shapes.index(shape)])
        if on_problem == "leave_out_samples":
            del whole[source]
        else:
            del whole[source][truth("b", place("b", shape)["property"])]
    found = export.read(name)
    if name == "jsonl":
        assert not lost
    assert found == whole
    is_by_label = on_problem == "leave_out_labels"
    assert (result.left_out, result.labels_left_out) == ((0, len(lost)) if is_by_label else (len(lost), 0))
    assert read_export(export.folder)["problems"].keys() == result.problems.keys()


@pytest.mark.wrong_answers
@pytest.mark.parametrize("name", ["yolo", "coco", "pascal-voc", "label-studio", "modelarts-manifest"])
def test_a_size_is_never_guessed(export: Exporter, emulator: Emulator, name: str) -> None:
    dataset_id, ids = labeled_by_hand(emulator, [[place("a", "bndbox")]] * 3)
    emulator.dataset(dataset_id).samples[ids[1]].metadata = {"@modelarts:size": []}
    with pytest.raises(ExportProblemsError, match=f"no_size.*1 sample: {ids[1]}"):
        export(dataset_id, name)
    result = export(dataset_id, name, on_problem="leave_out_labels")
    assert (result.samples, result.left_out, result.problems["no_size"].samples) == (2, 1, (ids[1],))
    assert source_of(emulator, dataset_id, ids[1]) not in export.read(name)


@pytest.mark.wrong_answers
def test_what_needs_no_size_is_exported_without(export: Exporter, emulator: Emulator) -> None:
    dataset_id, ids = labeled_by_hand(emulator, [[{"name": "a", "type": 0}]])
    emulator.dataset(dataset_id).samples[ids[0]].metadata = {"@modelarts:size": []}
    for name in OF_IMAGES:
        assert export(dataset_id, name, path=export.folder / name).samples == 1


BAD_FEATURES: list[tuple[str | None, Any]] = [
    ("bndbox", [[10, 10], [5, 20]]),
    ("bndbox", [[1, 2]]),
    ("bndbox", [[1, 2], [3, "wide"]]),
    ("bndbox", "1,2,3,4"),
    ("star", [[1, 2], [3, 4]]),
    (None, [[1, 2], [3, 4]]),
    (["bndbox"], [[1, 2], [3, 4]]),
    ("polygon", [[1, 2], [3, 4]]),
    ("circle", [[1, 2], [0]]),
    ("circle", [[1, 2]]),
    ("point", []),
]


@pytest.mark.wrong_answers
@pytest.mark.parametrize(("shape", "feature"), BAD_FEATURES)
def test_a_place_that_cannot_be_read_is_named(export: Exporter, emulator: Emulator, shape: Any, feature: Any) -> None:
    given = {"name": "b", "type": 1, "property": {"@modelarts:feature": feature}}
    if shape is not None:
        given["property"]["@modelarts:shape"] = shape
    dataset_id, ids = labeled_by_hand(emulator, [[given], [place("a", "bndbox")]])
    for name in OF_PLACES:
        folder = export.folder / name
        if name == "jsonl":
            assert export(dataset_id, name, path=folder).samples == 2, "it keeps what it does not understand"
            continue
        result = export(dataset_id, name, path=folder, on_problem="leave_out_samples")
        assert {code: one.samples for code, one in result.problems.items()} == {"bad_shape": (ids[0],)}


@pytest.mark.parametrize("name", ["yolo", "yolo-segment", "label-studio"])
def test_a_box_beyond_the_image_is_named(export: Exporter, emulator: Emulator, name: str) -> None:
    outside = [place("a", "bndbox", [[600, 1], [641, 2]]), place("a", "bndbox", [[-1, 1], [6, 2]])]
    dataset_id, ids = labeled_by_hand(emulator, [[one] for one in outside])
    with pytest.raises(ExportProblemsError, match="outside_image"):
        export(dataset_id, name)
    assert export(dataset_id, "coco").samples == len(ids)
    assert export.read("coco") == expected(emulator, dataset_id)


@pytest.mark.parametrize("name", ["pascal-voc", "label-studio", "modelarts-manifest"])
def test_what_xml_cannot_say_is_named(export: Exporter, emulator: Emulator, name: str) -> None:
    dataset_id, ids = labeled_by_hand(emulator, [[place("bell\x07", "bndbox")], [place("a", "bndbox")]])
    result = export(dataset_id, name, on_problem="leave_out_samples")
    assert {code: one.samples for code, one in result.problems.items()} == {"not_in_xml": (ids[0],)}
    assert export(dataset_id, "coco", path=export.folder / "coco").samples == 2


def test_classes_have_the_numbers_that_were_asked_for(export: Exporter, emulator: Emulator) -> None:
    dataset_id, _ = labeled_by_hand(emulator, [[place("a", "bndbox")], [place("c", "bndbox")]])
    export(dataset_id, "yolo", classes=["c", "b", "a"])
    assert export.read("yolo") == expected(emulator, dataset_id)
    rows = {path.read_text().split()[0] for path in (export.folder / "labels").iterdir()}
    assert rows == {"0", "2"}
    with pytest.raises(ExportProblemsError, match="unknown_class"):
        export(dataset_id, "yolo", classes=["c", "b"])
    with pytest.raises(InvalidRequest, match="twice"):
        export(dataset_id, "yolo", classes=["c", "c"])


def test_attributes_of_labels_stay_beside_every_format(export: Exporter, emulator: Emulator) -> None:
    dataset_id, ids = labeled_by_hand(emulator, [[place("a", "bndbox", color="white & blue")]])
    for name in OF_PLACES:
        export(dataset_id, name, path=export.folder / name)
        (line,) = lines(export.folder / name / "samples.jsonl")
        assert line["labels"] == emulator.dataset(dataset_id).labels_of(ids[0])
    (file,) = (export.folder / "modelarts-manifest" / "annotations").iterdir()
    found = {one.findtext("key"): one.findtext("value") for one in ET.parse(file).getroot().iter("property")}
    assert found == {"color": "white & blue"}


# --- names of files


@pytest.mark.parametrize("name", ["yolo", "pascal-voc", "coco", "imagefolder", "modelarts-manifest"])
def test_images_of_the_same_name_do_not_overwrite_each_other(export: Exporter, emulator: Emulator, name: str) -> None:
    keys = ["x/one.jpg", "y/one.jpg", "y/ONE.jpg", "y/one.png", "z/two.jpg", "../../../etc/one.jpg", "y/..", "y/.hid"]
    dataset_id, ids = labeled_by_hand(emulator, [[place(f"a{number}", "bndbox")] for number in range(len(keys))])
    dataset = emulator.dataset(dataset_id)
    for sample_id, key in zip(ids, keys, strict=True):
        dataset.samples[sample_id].key = key
    result = export(dataset_id, name)
    assert export.read(name) == expected(emulator, dataset_id)
    by_source = {source: file_name for file_name, source in sources(export.folder).items()}
    assert by_source["s3://emulator-data/z/two.jpg"] == "two.jpg"
    assert len({file_name.casefold() for file_name in by_source.values()}) == len(keys)
    assert not [one for one in by_source.values() if one.startswith(".") or "/" in one]
    # What differs in the extension is another file where the extension counts.
    assert (by_source["s3://emulator-data/y/one.png"] == "one.png") is not FORMATS[name].names_by_stem
    assert result.renamed == (6 if not FORMATS[name].names_by_stem else 7)
    written = [path.relative_to(export.folder.parent) for path in export.folder.parent.rglob("*") if path.is_file()]
    assert all(path.parts[0] == "export" for path in written)


def test_a_mark_that_another_image_has_as_its_own_name_is_not_given_twice(export: Exporter, emulator: Emulator) -> None:
    from airflow_provider_modelarts.labeling.export.file_names import distinguished

    dataset_id, ids = labeled_by_hand(emulator, [[place(f"a{number}", "bndbox")] for number in range(3)])
    dataset = emulator.dataset(dataset_id)
    keys = ["x/one.jpg", "y/one.jpg", f"z/{distinguished('one.jpg', ids[0])}"]
    for sample_id, key in zip(ids, keys, strict=True):
        dataset.samples[sample_id].key = key
    export(dataset_id, "yolo")
    assert export.read("yolo") == expected(emulator, dataset_id)


# --- proposals


def test_undecided_proposals_are_predictions_and_nothing_else(export: Exporter, emulator: Emulator) -> None:
    dataset_id = label_all(emulator, 60, "detection", left=25)
    dataset = emulator.dataset(dataset_id)
    result = export(dataset_id, "label-studio", include_proposals=True)
    assert (result.samples, result.proposals) == (35, 25)
    assert export.read("label-studio") == expected(emulator, dataset_id)
    assert of_label_studio(export.folder, "predictions") == {
        source_of(emulator, dataset_id, sample_id): Counter(
            truth(one["name"], one["property"]) for one in raw["labels"]
        )
        for sample_id, raw in dataset.proposals.items()
    }
    tasks = json.loads((export.folder / "tasks.json").read_bytes())
    assert [bool(task.get("annotations")) for task in tasks] == [not task.get("predictions") for task in tasks]
    assert sum(result.by_label.values()) < result.labels, "a proposal counts for no label"


def test_a_proposal_that_is_confirmed_while_it_is_read_is_exported_once(export: Exporter, emulator: Emulator) -> None:
    dataset_id = label_all(emulator, 30, "classification", left=10)
    dataset = emulator.dataset(dataset_id)
    chosen = next(iter(dataset.proposals))

    def confirm(record: Any) -> None:
        if "auto-annotations" in record.path and not dataset.labels_of(chosen):
            dataset.edit(chosen, "by a person")

    emulator.observers.append(confirm)
    result = export(dataset_id, "jsonl", include_proposals=True)
    emulator.observers.remove(confirm)
    found = [one for one in lines(export.folder / "samples.jsonl") if one["sample_id"] == chosen]
    assert [("proposals" in one, one["labels"][0]["name"]) for one in found] == [(False, "by a person")]
    assert (result.samples, result.proposals, result.seen) == (21, 9, 30)


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if not one.takes_proposals])
def test_a_format_that_cannot_tell_a_proposal_takes_none(export: Exporter, name: str) -> None:
    with pytest.raises(InvalidRequest, match="label-studio"):
        export("dataset", name, include_proposals=True)


def test_an_unknown_format_is_refused(export: Exporter) -> None:
    with pytest.raises(InvalidRequest, match="modelarts-manifest, coco, yolo"):
        export("dataset", "cocoa")


# --- who confirmed


@pytest.fixture
def confirmed(client: ModelArtsClient, emulator: Emulator, tmp_path: Path) -> str:
    """A dataset of which a run has confirmed a part, by a plan, with a ledger."""
    dataset_id = emulator.load_proposals(80)
    plan = make_plan(client, dataset_id, tmp_path / "plan.jsonl", policy={"min_score": 0.6}).plan
    target = LedgerTarget(tmp_path / "ledger", RUN, "ada")
    confirm(client, dataset_id, plan=plan, ledger=target)
    return dataset_id


def test_it_says_who_confirmed_what_and_when_and_by_which_rule(
    export: Exporter, confirmed: str, emulator: Emulator, moved_clock: MovedClock, tmp_path: Path
) -> None:
    from airflow_provider_modelarts.labeling.plan import read_plan

    dataset = emulator.dataset(confirmed)
    labeled = [one for one in dataset.samples if dataset.labels_of(one)]
    changed, emptied, by_hand = (
        labeled[0],
        labeled[1],
        next(one for one in dataset.samples if not dataset.labels_of(one)),
    )
    dataset.edit(changed, "corrected")
    dataset.edit(emptied, [])
    dataset.edit(by_hand, "by a person")
    plan = read_plan(tmp_path / "plan.jsonl")
    result = export(confirmed, "jsonl", plan=plan, ledgers=[read_ledger(tmp_path / "ledger", RUN.run_id)])
    rows = {one["sample_id"]: one for one in lines(export.folder / "samples.jsonl")}
    assert set(rows) == set(labeled) - {emptied} | {by_hand}
    for sample_id in set(labeled) - {changed, emptied}:
        said = rows[sample_id]["confirmation"]
        assert said.pop("confirmed_at").startswith("20")
        assert said == {
            "dag_id": "dag",
            "run_id": "run",
            "task_id": "confirm",
            "map_index": -1,
            "try_number": 1,
            "approved_by": "ada",
            "plan_digest": plan.digest,
            "rule": "passed",
        }
        assert rows[sample_id]["planned"] == {"decision": "confirm", "rule": "passed"}
    assert "confirmation" not in rows[changed], "these labels are not the ones that were confirmed"
    assert "confirmation" not in rows[by_hand]
    assert rows[by_hand]["planned"]["decision"] == "review"
    counts = (result.confirmed, result.changed_since, result.confirmed_missing)
    assert counts == (len(labeled) - 2, 1, 1)
    assert read_export(export.folder)["plan"]["sha256"] == plan.digest


# --- signed addresses


@pytest.mark.parametrize("name", OF_PLACES)
def test_no_signed_address_leaves(export: Exporter, emulator: Emulator, name: str) -> None:
    address = f"{emulator.url}/obs/b/k.jpg?AccessKeyId=x&Expires=1&Signature=sentinel"
    labels = [[place("a", "bndbox", note=f"see {address}")], [place("a", "bndbox")]]
    dataset_id, _ = labeled_by_hand(emulator, labels)
    result = export(dataset_id, name, include_proposals=name in ("jsonl", "label-studio"))
    assert result.redacted == 1
    for path in export.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [secret for secret in (*emulator.secrets, "Signature", "sentinel") if secret.encode() in content]


@pytest.mark.parametrize(
    "text",
    [
        {"https://h/k.jpg?Signature=sentinel": "x"},
        {"deep": ["https://h/k.jpg?Signature=sentinel"]},
        '{"see": "https:\\/\\/h\\/k.jpg?AccessKeyId=x&Signature=sentinel"}',
        "//h/k.jpg?Signature=sentinel",
        "https://p/?to=https%3A%2F%2Fh%2Fk.jpg%3FSignature%3Dsentinel",
        "https%3A%2F%2Fh%2Fk.jpg%3FX-Amz-Signature%3Dsentinel",
        "https://h/k.jpg?response-content-disposition=filename='x'&Signature=sentinel",
        "https://h/k.jpg#x-obs-security-token=sentinel",
        "https://user:sentinel@h/k.jpg",
    ],
)
def test_no_signed_address_leaves_in_another_form(export: Exporter, emulator: Emulator, text: Any) -> None:
    dataset_id, _ = labeled_by_hand(emulator, [[place("a", "bndbox", note=text)]])
    assert export(dataset_id, "coco").redacted == 1
    assert not [path for path in export.folder.rglob("*.json*") if b"sentinel" in path.read_bytes()]


@pytest.mark.parametrize(
    "text", ["see //comment", "a signature=yes", "https://h/k.jpg", "12:30 // a@b", "x://y:z", "a:b@c"]
)
def test_other_texts_of_attributes_stay_as_they_are(export: Exporter, emulator: Emulator, text: str) -> None:
    dataset_id, _ = labeled_by_hand(emulator, [[place("a", "bndbox", note=text)]])
    assert export(dataset_id, "jsonl").redacted == 0
    (line,) = lines(export.folder / "samples.jsonl")
    assert line["labels"][0]["property"]["note"] == text


@pytest.mark.wrong_answers
@pytest.mark.parametrize("name", OF_PLACES)
def test_without_a_place_in_storage_the_address_goes_without_its_signature(
    export: Exporter, emulator: Emulator, name: str
) -> None:
    dataset_id, ids = labeled_by_hand(emulator, [[place("a", "bndbox")]])
    nowhere = {"@modelarts:new_source": None, "@modelarts:origin_source": None}
    emulator.dataset(dataset_id).samples[ids[0]].metadata = nowhere
    if name == "modelarts-manifest":
        with pytest.raises(ExportProblemsError, match="no_source"):
            export(dataset_id, name)
        return
    export(dataset_id, name)
    (source,) = sources(export.folder).values() if name not in ("jsonl", "label-studio") else export.read(name)
    assert source.startswith(emulator.url)
    assert "?" not in source


def test_a_question_mark_in_the_name_of_an_image_begins_no_signature(export: Exporter, emulator: Emulator) -> None:
    """Without the rest of its name, the manifest would give the labels to another image."""
    dataset_id, ids = labeled_by_hand(emulator, [[place("a", "bndbox")]])
    emulator.dataset(dataset_id).samples[ids[0]].key = "x/what?size=2.jpg"
    export(dataset_id, "modelarts-manifest")
    assert export.read("modelarts-manifest") == expected(emulator, dataset_id)


@pytest.mark.wrong_answers
def test_a_label_of_a_kind_that_nobody_knows_is_not_called_one_of_an_image(
    export: Exporter, emulator: Emulator
) -> None:
    dataset_id, _ = labeled_by_hand(
        emulator, [[{"name": "a", "type": 999}], [{"name": "c", "type": 3}], [place("b", "bndbox")]]
    )
    result = export(dataset_id, "modelarts-manifest", on_problem="leave_out_samples")
    assert {code: one.count for code, one in result.problems.items()} == {"bad_shape": 1, "label_type": 1}
    assert b"image_classification" not in (export.folder / "labels.manifest").read_bytes()


# --- complete, or visibly not


class Crash(BaseException):
    """The process is killed."""


@pytest.mark.parametrize("name", ["yolo", "coco"])
def test_after_a_crash_anywhere_the_export_is_visibly_not_there_and_a_retry_replaces_it(
    export: Exporter, emulator: Emulator, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writing stops at its first, second, third ... file, one after the other in the same folder."""
    from airflow_provider_modelarts.labeling.export import folder as folders

    first = label_all(emulator, 5, "detection")
    replaced = folders.replaced_file
    left = 0

    def stop(path: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash
        return replaced(path)

    monkeypatch.setattr(folders, "replaced_file", stop)
    crashes = 0
    for number in range(100):
        left = number
        try:
            export(first, name)
        except Crash:
            crashes += 1
            with pytest.raises(ExportDamaged):
                read_export(export.folder)
            continue
        break
    assert crashes == (8 if name == "yolo" else 3)
    assert read_export(export.folder, check_files=True)["samples"] == 5
    assert export.read(name) == expected(emulator, first)


def test_a_failed_export_leaves_the_one_before(export: Exporter, emulator: Emulator) -> None:
    dataset_id, ids = labeled_by_hand(emulator, [[place("a", "bndbox")], [place("a", "bndbox")]])
    before = export(dataset_id, "yolo")
    emulator.dataset(dataset_id).edit(ids[0], [place("a", "line")])
    with pytest.raises(ExportProblemsError):
        export(dataset_id, "yolo")
    assert read_export(export.folder, check_files=True)["files_sha256"] == before.digest


def test_what_is_no_longer_labeled_is_no_longer_there(export: Exporter, emulator: Emulator) -> None:
    dataset_id = label_all(emulator, 6, "detection")
    export(dataset_id, "pascal-voc")
    dataset = emulator.dataset(dataset_id)
    dataset.edit(next(iter(dataset.samples)), [])
    (export.folder / ".export.json.0123abcd").write_text("left by a process that was killed")
    (export.folder / "Annotations" / f".{next((export.folder / 'Annotations').iterdir()).name}.0123abcd").write_text("")
    assert export(dataset_id, "pascal-voc").samples == 5
    assert export.read("pascal-voc") == expected(emulator, dataset_id)
    assert not [path for path in export.folder.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("stranger", ["notes.txt", "labels/mine.txt", "images", "labels/deep/er.txt"])
@pytest.mark.parametrize("is_there", [False, True])
def test_it_does_not_mix_with_other_files(export: Exporter, emulator: Emulator, stranger: str, is_there: bool) -> None:
    dataset_id = label_all(emulator, 3, "detection")
    if is_there:
        export(dataset_id, "yolo")
    path = export.folder / stranger
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(ExportPlaceError, match=stranger.partition("er.")[0].rstrip("/")):
        export(dataset_id, "yolo")
    assert path.read_text() == "mine"
    assert (export.folder / "export.json").exists() is is_there


def test_it_does_not_replace_another_export(export: Exporter, emulator: Emulator) -> None:
    one, other = (label_all(emulator, 3, "detection") for _ in range(2))
    done = export(one, "yolo")
    for dataset_id, name in ((other, "yolo"), (one, "coco")):
        with pytest.raises(ExportPlaceError, match=f"{one} as yolo"):
            export(dataset_id, name)
    (export.folder / "export.files.jsonl").write_text("cut off")
    with pytest.raises(ExportPlaceError, match="not complete or was altered"):
        export(one, "yolo")
    assert done.digest


@pytest.mark.parametrize("kind", ["file", "list", "document"])
def test_an_altered_export_is_found(export: Exporter, emulator: Emulator, kind: str) -> None:
    dataset_id = label_all(emulator, 3, "detection")
    export(dataset_id, "yolo")
    path = {
        "file": next((export.folder / "labels").iterdir()),
        "list": export.folder / "export.files.jsonl",
        "document": export.folder / "export.json",
    }[kind]
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1) if kind != "document" else b"{}")
    with pytest.raises(ExportDamaged):
        read_export(export.folder, check_files=True)


def test_two_at_once_in_the_same_folder_are_noticed(export: Exporter, emulator: Emulator) -> None:
    from airflow_provider_modelarts.labeling.export.folder import ExportFolder
    from airflow_provider_modelarts.labeling.export.formats.base import ExportFile

    def files() -> Any:
        yield ExportFile("data.yaml", lambda: [b"names: {}\n"])
        quick.write([], [], {})

    slow, quick = (ExportFolder(export.folder, "dataset", "yolo", ("labels",)) for _ in range(2))
    with pytest.raises(ExportPlaceError, match="Another task exports"):
        slow.write(files(), ["data.yaml"], {})


@pytest.mark.parametrize("name", ["yolo", "coco", "modelarts-manifest"])
def test_object_storage_has_no_folders_and_does_as_well(
    client: ModelArtsClient, emulator: Emulator, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(path: Any) -> None:
        path.objects.pop(str(path), None)

    monkeypatch.setattr("airflow_provider_modelarts.labeling.export.folder.remove_file", remove)
    bucket = Bucket("s3://bucket/export")
    dataset_id = label_all(emulator, 6, "detection")
    for _ in range(2):
        LabelExport(client, ExportRequest(dataset_id, bucket, name)).run()
        assert read_export(bucket, check_files=True)["samples"] == 6
    for key, content in bucket.objects.items():
        path = tmp_path / key.removeprefix("s3://bucket/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert READERS[name](tmp_path / "export") == expected(emulator, dataset_id)
    if name == "modelarts-manifest":
        line = next(lines(tmp_path / "export" / "labels.manifest"))
        assert line["annotation"][0]["annotation-loc"].startswith("s3://bucket/export/annotations/image_")


# --- a list that moves


def test_a_list_that_changes_is_read_again_and_not_exported_in_part(export: Exporter, emulator: Emulator) -> None:
    dataset_id = label_all(emulator, 350, "classification")
    dataset = emulator.dataset(dataset_id)
    left = [3]

    def unlabel(record: Any) -> None:
        """Take away the labels of a sample whose page was read: those behind it move up."""
        if record.method == "GET" and "/data-annotations/samples" in record.path and left[0]:
            left[0] -= 1
            dataset.edit(list(dataset.samples)[-1 - left[0] % len(dataset.samples)], [])

    emulator.observers.append(unlabel)
    result = export(dataset_id, "jsonl")
    assert result.samples == 347
    assert export.read("jsonl") == expected(emulator, dataset_id)
    left[0] = 1000
    with pytest.raises(ExportUnsteadyError, match="3 times"):
        export(dataset_id, "jsonl")
    emulator.observers.remove(unlabel)
    assert read_export(export.folder)["samples"] == 347


# --- the forms themselves

VOC = etree.RelaxNG(
    etree.fromstring(
        """
<element name="annotation" xmlns="http://relaxng.org/ns/structure/1.0"
         datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
  <element name="folder"><text/></element>
  <element name="filename"><text/></element>
  <element name="path"><text/></element>
  <element name="source"><element name="database"><text/></element></element>
  <element name="size">
    <element name="width"><data type="positiveInteger"/></element>
    <element name="height"><data type="positiveInteger"/></element>
    <element name="depth"><data type="positiveInteger"/></element>
  </element>
  <element name="segmented"><data type="boolean"/></element>
  <oneOrMore>
    <element name="object">
      <element name="name"><text/></element>
      <element name="pose"><text/></element>
      <element name="truncated"><data type="boolean"/></element>
      <element name="occluded"><data type="boolean"/></element>
      <element name="difficult"><data type="boolean"/></element>
      <element name="bndbox">
        <element name="xmin"><data type="decimal"/></element>
        <element name="ymin"><data type="decimal"/></element>
        <element name="xmax"><data type="decimal"/></element>
        <element name="ymax"><data type="decimal"/></element>
      </element>
    </element>
  </oneOrMore>
</element>
"""
    )
)


def test_pascal_voc_keeps_to_its_schema(export: Exporter, emulator: Emulator) -> None:
    dataset_id, _ = labeled_by_hand(emulator, [[place(one, "bndbox"), place("b", "bndbox")] for one in ODD_NAMES])
    export(dataset_id, "pascal-voc")
    files = list((export.folder / "Annotations").iterdir())
    assert len(files) == len(ODD_NAMES)
    for file in files:
        VOC.assertValid(etree.parse(file))


def test_whole_coordinates_have_no_fraction_in_xml(export: Exporter, emulator: Emulator) -> None:
    """The vendor's reader takes whole numbers only."""
    dataset_id, _ = labeled_by_hand(emulator, [[place("a", "bndbox", [[10.0, 20.0], [30, 40.0]])]])
    export(dataset_id, "modelarts-manifest")
    (file,) = (export.folder / "annotations").iterdir()
    box = ET.parse(file).getroot().find("object/bndbox")
    assert box is not None
    assert [int(child.text or "") for child in box] == [10, 20, 30, 40]


COCO_SCHEMA = {
    "type": "object",
    "required": ["info", "licenses", "categories", "images", "annotations"],
    "properties": {
        "categories": {"items": {"required": ["id", "name"], "properties": {"id": {"type": "integer", "minimum": 1}}}},
        "images": {"items": {"required": ["id", "file_name", "width", "height"]}},
        "annotations": {
            "items": {
                "required": ["id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd"],
                "properties": {
                    "bbox": {"items": {"type": "number"}, "minItems": 4, "maxItems": 4},
                    "area": {"type": "number", "exclusiveMinimum": 0},
                    "iscrowd": {"const": 0},
                },
            }
        },
    },
}


def test_coco_keeps_to_its_schema_also_when_it_is_empty(export: Exporter, emulator: Emulator) -> None:
    dataset_id, _ = labeled_by_hand(emulator, [[place("a", "polygon"), place("b", "bndbox")]])
    export(dataset_id, "coco")
    document = json.loads((export.folder / "annotations.json").read_bytes())
    jsonschema.validate(document, COCO_SCHEMA)
    (outline,) = (one for one in document["annotations"] if one["segmentation"])
    assert outline["area"] == pytest.approx(795.625)
    nothing = emulator.load_proposals(3, kind="detection")
    for name in OF_PLACES:
        assert export(nothing, name, path=export.folder / "empty" / name).samples == 0
    jsonschema.validate(json.loads((export.folder / "empty" / "coco" / "annotations.json").read_bytes()), COCO_SCHEMA)
    assert json.loads((export.folder / "empty" / "label-studio" / "tasks.json").read_bytes()) == []


def test_the_configuration_of_label_studio_has_every_label(export: Exporter, emulator: Emulator) -> None:
    dataset_id, _ = labeled_by_hand(
        emulator, [[place(one, "bndbox"), {"name": one, "type": 0}, place("p", "point")] for one in ODD_NAMES]
    )
    export(dataset_id, "label-studio")
    view = ET.parse(export.folder / "config.xml").getroot()
    controls = {one.get("name"): one for one in view if one.get("toName") == "image"}
    assert set(controls) == {"bndbox", "choice", "point"}
    for control in controls.values():
        assert {item.get("value") for item in control} == {*ODD_NAMES, "p"}
    regions = [
        region
        for task in json.loads((export.folder / "tasks.json").read_bytes())
        for region in task["annotations"][0]["result"]
    ]
    assert {(one["from_name"], one["type"]) for one in regions} == {
        (name, control.tag.lower()) for name, control in controls.items()
    }


def test_the_same_export_twice_is_the_same_bytes(export: Exporter, emulator: Emulator) -> None:
    dataset_id = label_all(emulator, 40, "detection")
    first, again = (export(dataset_id, "coco", path=export.folder / name) for name in ("first", "again"))
    for name in ("annotations.json", "samples.jsonl"):
        assert (export.folder / "first" / name).read_bytes() == (export.folder / "again" / name).read_bytes()
    assert label("x") == ("x", None, ())
    assert first.to_xcom() | {"uri": "", "digest": ""} == again.to_xcom() | {"uri": "", "digest": ""}


def test_a_service_that_lists_unlabeled_samples_too_does_not_get_them_into_the_export(
    export: Exporter, emulator: Emulator, confirmed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_modelarts.labeling.export import exporter

    dataset = emulator.dataset(confirmed)
    labeled = [one for one in dataset.samples if dataset.labels_of(one)]
    dataset.edit(labeled[0], [])
    monkeypatch.setattr(exporter, "LABELED", None)
    result = export(confirmed, "jsonl", ledgers=[read_ledger(tmp_path / "ledger", RUN.run_id)])
    assert (result.seen, result.samples, result.left_out) == (len(labeled) - 1, len(labeled) - 1, 0)
    assert (result.confirmed, result.changed_since, result.confirmed_missing) == (len(labeled) - 1, 0, 1)


def test_another_export_that_came_while_the_samples_were_read_is_left_alone(
    export: Exporter, emulator: Emulator
) -> None:
    """Both found the folder empty; the slower one must not write over what the quicker one has completed."""
    one, other = (label_all(emulator, 3, "detection") for _ in range(2))
    quick = Exporter(export.client, export.folder)
    reads = iter([lambda: quick(one, "coco")])

    def somebody_writes() -> bool:
        next(reads, lambda: None)()
        return False

    request = ExportRequest(other, export.folder, "yolo")
    with pytest.raises(ExportPlaceError):
        LabelExport(export.client, request, should_stop=somebody_writes).run()
    assert read_export(export.folder, check_files=True)["dataset_id"] == one
    assert not (export.folder / "data.yaml").exists()


def test_a_file_that_came_while_the_samples_were_read_is_left_alone(export: Exporter, emulator: Emulator) -> None:
    dataset_id = label_all(emulator, 3, "detection")

    def somebody_writes() -> bool:
        export.folder.mkdir(exist_ok=True)
        (export.folder / "data.yaml").write_text("mine")
        return False

    with pytest.raises(ExportPlaceError):
        LabelExport(export.client, ExportRequest(dataset_id, export.folder, "yolo"), should_stop=somebody_writes).run()
    assert [path.name for path in export.folder.iterdir()] == ["data.yaml"]
    assert (export.folder / "data.yaml").read_text() == "mine"


def test_marks_that_other_images_have_as_their_own_names_are_not_given_twice(
    export: Exporter, emulator: Emulator
) -> None:
    """Whoever names images may know the ids of samples: no image gets the name of another one, and none is lost."""
    from airflow_provider_modelarts.labeling.export.file_names import distinguished

    dataset_id, ids = labeled_by_hand(emulator, [[place(f"a{number}", "bndbox")] for number in range(6)])
    dataset = emulator.dataset(dataset_id)
    marks = [f"z/{distinguished('one.jpg', ids[0] + turn)}" for turn in ("", "#1", "#2")]
    for sample_id, key in zip(ids, ["x/one.jpg", "y/one.jpg", *marks, "z/two.jpg"], strict=True):
        dataset.samples[sample_id].key = key
    export(dataset_id, "yolo")
    assert export.read("yolo") == expected(emulator, dataset_id)
    by_id = {one["sample_id"]: one["file_name"] for one in lines(export.folder / "samples.jsonl")}
    assert by_id[ids[5]] == "two.jpg"
    assert len({name.casefold() for name in by_id.values()}) == len(ids)


@pytest.mark.parametrize("own", ["CON.jpg", "aux", "com1.x.png", "rose.jpg.", "rose.jpg ", "nul .jpg"])
def test_names_that_windows_does_not_take_are_not_given(own: str) -> None:
    from airflow_provider_modelarts.labeling.export.file_names import safe_name

    name = safe_name(own)
    assert name != own
    assert not PureWindowsPath(name).is_reserved()
    assert name == name.rstrip(". ")
