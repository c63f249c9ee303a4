"""Filling datasets: digits, folders of images, made-up samples, and large synthetic sets of proposals."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.data import made_up
from airflow_provider_modelarts.emulator.state import ids
from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample
from airflow_provider_modelarts.emulator.state.documents import proposal_json
from airflow_provider_modelarts.emulator.state.kinds import DETECTION, KINDS, TABLES
from airflow_provider_modelarts.emulator.state.storage import StoredFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow_provider_modelarts.emulator.state.store import Store

OWNER = "human/emulator/owner"
DEFAULT_LABELS = ("daisy", "rose", "sunflower", "tulip")
SIDE = 640  # pixels of a synthetic image
# Texts and numbers in the mixed forms of quirks 3 and 5: a client has to give them back as they are.
COEFFICIENTS = ("0.0", "0", "0.25", "1.0", "1")


def load_digits(store: Store, labeled: int) -> Dataset:
    """Make a dataset of the 1,797 digits, so many of them labeled.

    The draw comes from the seed and spreads evenly over the labels, as far as the number goes.

    :raises ValueError: more labeled than there are.
    """
    from airflow_provider_modelarts.emulator.data.images import Digits

    digits = Digits()
    if not 0 <= labeled <= len(digits.targets):
        raise ValueError(f"labeled must lie within 0..{len(digits.targets)}, not {labeled}")
    dataset = store.new_dataset("digits", 0)
    dataset.images = digits
    samples = [
        _add(store, dataset, index, f"digits/input/digit_{index:04d}.png", size=Digits.size, image=index, truth=target)
        for index, target in enumerate(digits.targets)
    ]
    for name in sorted(set(digits.targets)):
        dataset.add_label(name)
    now = store.clock.now()
    for index in _draw(store.seed, dataset, digits.targets, labeled):
        dataset.set_labels(samples[index], [{"name": digits.targets[index]}], OWNER, now)
    return dataset


def _draw(seed: int, dataset: Dataset, targets: list[str], count: int) -> list[int]:
    """Return `count` indices: the same number of each label, the rest from anywhere."""
    order = list(range(len(targets)))
    random.Random(f"{seed}/labeled/{dataset.dataset_id}").shuffle(order)  # noqa: S311 - a draw, not a secret
    each = count // len(set(targets))
    taken = dict.fromkeys(targets, 0)
    drawn: list[int] = []
    rest: list[int] = []
    for index in order:
        is_drawn = taken[targets[index]] < each
        taken[targets[index]] += is_drawn
        (drawn if is_drawn else rest).append(index)
    return drawn + rest[: count - len(drawn)]


def load_folder(store: Store, path: Path) -> Dataset:
    """Make a dataset of a folder: sub-folders are labels, `unlabeled/` and the folder itself are unlabeled.

    :raises ValueError: no image in it.
    """
    from airflow_provider_modelarts.emulator.data.images import Folder

    folder = Folder(path)
    dataset = store.new_dataset(path.resolve().name, 0)
    dataset.images = folder
    now = store.clock.now()
    for index, file in enumerate(folder.files):
        key = f"{dataset.name}/input/{file.path.relative_to(path).as_posix()}"
        sample = _add(store, dataset, index, key, size=file.size, image=index, truth=file.label)
        if file.label is not None:
            dataset.add_label(file.label)
            dataset.set_labels(sample, [{"name": file.label}], OWNER, now)
    return dataset


def load_proposals(
    store: Store, count: int, *, labels: Sequence[str], kind: str, hard_share: float, seed: int
) -> Dataset:
    """Make a dataset whose samples all await confirmation; there are no images behind them.

    :raises ValueError: unknown kind, share or no labels.
    """
    if kind not in LABELERS:
        raise ValueError(f"kind is one of {tuple(LABELERS)}, not {kind!r}")
    if not labels or not 0.0 <= hard_share <= 1.0:
        raise ValueError("labels must not be empty, and hard_share must lie within 0..1")
    dataset = store.new_dataset(f"synthetic-{kind}", DETECTION if kind == "detection" else 0)
    for name in labels:
        dataset.add_label(name)
    draw = random.Random(f"{store.seed}/{seed}/proposals/{dataset.dataset_id}")  # noqa: S311 - data, not a secret
    now = store.clock.now()
    fragments = []
    for index in range(count):
        key = f"{dataset.name}/input/image_{index:07d}.jpg"
        sample = _add(store, dataset, index, key, size=(SIDE, SIDE, 3))
        proposed = LABELERS[kind](draw, labels)
        sample.truth = [label["name"] for label in proposed] if kind != "classification" else proposed[0]["name"]
        hard = _hard(draw, is_hard=draw.random() < hard_share)
        fragments.append((sample.sample_id, proposal_json(dataset, sample, store.presigner, now, proposed, **hard)))
    dataset.proposals.replace(fragments)
    return dataset


def load_samples(store: Store, dataset_type: int, count: int, *, labeled: int) -> Dataset:
    """Make a dataset of made-up texts, sounds or tables, of which a person has labeled the first ones.

    :raises ValueError: a type whose samples are not made up here, or more labeled than there are.
    """
    if dataset_type not in made_up.LABELS:
        raise ValueError(f"dataset_type is one of {tuple(made_up.LABELS)}, not {dataset_type!r}")
    if not 0 <= labeled <= count or (labeled and not KINDS[dataset_type].label_types):
        raise ValueError(f"{labeled} of {count} samples of a dataset of type {dataset_type} cannot be labeled")
    dataset = store.new_dataset(f"samples-{dataset_type}-{store.made_datasets}", dataset_type)
    for label in made_up.LABEL_SETS.get(dataset_type, ()):
        dataset.add_label(**label)
    if dataset_type == TABLES:
        dataset.schema, dataset.has_header, dataset.imports_data = made_up.COLUMNS, True, True
    pattern, content_of = made_up.FILES[dataset.kind.sample_type]
    now = store.clock.now()
    for index in range(count):
        sample = _add(store, dataset, index, dataset.key_of(pattern.format(index)), content=content_of(index))
        if index < labeled:
            dataset.set_labels(sample, made_up.LABELS[dataset_type](index), OWNER, now)
    return dataset


def put_files(store: Store, folder: str, contents: Mapping[str, str | bytes]) -> list[StoredFile]:
    """Put files into a folder of the object storage: name and content of each."""
    files = [
        StoredFile(folder + name, content=content.encode() if isinstance(content, str) else content)
        for name, content in contents.items()
    ]
    store.files |= {file.path: file for file in files}
    return files


def put_images(store: Store, folder: str, count: int, *, label: str | None, hard: bool) -> list[StoredFile]:
    """Put files into a folder of the object storage.

    In the input folder of a dataset with pictures they are copies of those, so that they can be labeled; elsewhere
    there are no pictures behind them.
    """
    owner = next((one for one in store.datasets.values() if one.data_path == folder), None)
    pictured = [one for one in owner.samples.values() if one.image is not None] if owner is not None else []
    labels = () if label is None else ({"name": label},)
    first = len(store.files)
    files = []
    for number in range(count):
        path = f"{folder}added_{first + number:06d}.png"
        file = StoredFile(path, labels=labels, hard=hard)
        if owner is not None and pictured:
            model = pictured[number % len(pictured)]
            file = StoredFile(path, model.size, labels, hard, owner.images, model.image, model.truth)
        store.files[path] = file
        files.append(file)
    return files


def _add(store: Store, dataset: Dataset, index: int, key: str, **further: Any) -> Sample:
    sample_id = ids.hex_id(store.seed, dataset.dataset_id, "sample", index)
    sample = Sample(sample_id, key, int(dataset.created * 1000) - 1000 + index % 1000, **further)
    dataset.samples[sample_id] = sample
    return sample


def _score(draw: random.Random) -> float:
    """Return a score: mostly sure, sometimes exactly one, as `1` or as `1.0` (quirk 5)."""
    value = draw.random()
    if value < 0.05:
        return 1 if value < 0.025 else 1.0
    return round(1.0 - 0.7 * value**3, 4)


def _hard(draw: random.Random, *, is_hard: bool) -> dict[str, Any]:
    form = int if draw.random() < 0.5 else float
    return {
        "@modelarts:hard_coefficient": form(is_hard),
        "@modelarts:hard": is_hard,
        "@modelarts:hard_reasons": sorted(draw.sample(range(31), 3), reverse=True) if is_hard else [],
    }


def _label(draw: random.Random, name: str, number: int, kind: int, extra: dict[str, Any]) -> dict[str, Any]:
    properties = {"@modelarts:hard_coefficient": draw.choice(COEFFICIENTS), "@modelarts:hard": "false", **extra}
    return {"name": name, "type": kind, "id": str(number), "property": properties, "score": _score(draw)}


def _one(draw: random.Random, labels: Sequence[str]) -> list[dict[str, Any]]:
    return [_label(draw, draw.choice(labels), 1, 0, {})]


def _several(draw: random.Random, labels: Sequence[str]) -> list[dict[str, Any]]:
    """One to three different labels with attributes of their own (contract 3.3, "any other key")."""
    names = draw.sample(list(labels), draw.randint(1, min(3, len(labels))))
    return [
        _label(draw, name, number, 0, {"ripeness": draw.choice(["1", "1.0", "low"]), "weight": draw.choice([1, 1.0])})
        for number, name in enumerate(names, 1)
    ]


def _boxes(draw: random.Random, labels: Sequence[str]) -> list[dict[str, Any]]:
    """One to four boxes, upper-left corner first (contract 3.3, `@modelarts:feature`)."""
    boxes = []
    for number in range(1, draw.randint(1, 4) + 1):
        left, top = draw.randrange(SIDE // 2), draw.randrange(SIDE // 2)
        right, bottom = left + draw.randint(1, SIDE // 2 - 1), top + draw.randint(1, SIDE // 2 - 1)
        corner: list[float] = [right, bottom] if draw.random() < 0.5 else [float(right), bottom]
        feature = {"@modelarts:shape": "bndbox", "@modelarts:feature": [[left, top], corner]}
        boxes.append(_label(draw, draw.choice(labels), number, DETECTION, feature))
    return boxes


LABELERS = {"classification": _one, "multi_label": _several, "detection": _boxes}
