"""The label set of a dataset (contract 6.2)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_updates import reply_to_batch
from airflow_provider_modelarts.emulator.api.sample_files import delete_samples_of
from airflow_provider_modelarts.emulator.api.samples import asked_version
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Reply, done, json_reply
from airflow_provider_modelarts.emulator.http.paging import read_page
from airflow_provider_modelarts.emulator.http.query import boolean, integer
from airflow_provider_modelarts.emulator.http.schema import LABEL_PROPERTIES, LABEL_TYPES, LABELS, check
from airflow_provider_modelarts.emulator.state.dataset import PUBLISHING, Dataset
from airflow_provider_modelarts.emulator.state.kinds import ENTITY, RELATION
from airflow_provider_modelarts.emulator.state.store import UnknownObjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_modelarts.emulator.state.store import Store

LABEL_FIELDS = ("name", "type", "property", "attributes")
RENAME, SHORTCUT = "@modelarts:rename_to", "@modelarts:shortcut"
ENDS = ("@modelarts:from_type", "@modelarts:to_type")
# `delete_policy` (contract 6.2).
LABEL_ONLY, SAMPLES_TOO, FILES_TOO = 0, 1, 2


def list_labels(store: Store, call: Call) -> Reply:
    """`GET D/data-annotations/labels` (contract 6.2, paging of 0.1: up to 100000)."""
    dataset = store.dataset(call.params["dataset_id"])
    version = asked_version(dataset, call)
    page = read_page(call, store.variants, maximum=100_000, default=100_000)
    labels = list((version or dataset).labels.values())
    shown = page.cut(labels[::-1] if page.newest_first else labels)
    return json_reply({"labels": shown, **page.total("total_number", len(labels), len(shown))})


def create_labels(store: Store, call: Call) -> Reply:
    """`POST D/data-annotations/labels` (contract 6.2): a name that is taken fails with 4411."""
    dataset, labels = _read(store, call)
    return _one_by_one(store, call, labels, lambda label: create_label(dataset, label))


def update_labels(store: Store, call: Call) -> Reply:
    """`PUT D/data-annotations/labels` (contract 6.2): `@modelarts:rename_to` renames, samples follow."""
    dataset, labels = _read(store, call)
    return _one_by_one(store, call, labels, lambda label: update_label_of(dataset, label))


def delete_labels(store: Store, call: Call) -> Reply:
    """`POST D/data-annotations/labels/delete` (contract 6.2), by `delete_policy`."""
    dataset, labels = _read(store, call)
    policy = integer(call, "delete_policy") or LABEL_ONLY
    if policy not in (LABEL_ONLY, SAMPLES_TOO, FILES_TOO):
        raise refuse("ModelArts.0104", f"delete_policy={policy}")
    return _one_by_one(store, call, labels, lambda label: _delete(store, dataset, label, policy))


def update_label(store: Store, call: Call) -> Reply:
    """`PUT D/data-annotations/labels/{label_name}` (contract 6.2): the body is the map of properties; 204."""
    body = call.json()
    dataset, label = _find(store, call)
    check(body, LABEL_PROPERTIES, strict=store.variants.strict_requests)
    refuse_while_publishing(dataset)
    update_label_of(dataset, {"name": label["name"], "property": body})
    return done(with_body=store.variants.body_with_204)


def delete_label(store: Store, call: Call) -> Reply:
    """`DELETE D/data-annotations/labels/{label_name}` (contract 6.2): also the samples that have only it; 204."""
    dataset, label = _find(store, call)
    refuse_while_publishing(dataset)
    _delete(store, dataset, label, FILES_TOO if boolean(call, "delete_source") else SAMPLES_TOO)
    return done(with_body=store.variants.body_with_204)


def _read(store: Store, call: Call) -> tuple[Dataset, list[dict[str, Any]]]:
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check(body, LABELS, strict=store.variants.strict_requests)
    refuse_while_publishing(dataset)
    return dataset, body["labels"]


def refuse_while_publishing(dataset: Dataset) -> None:
    """Refuse a change of labels while a version is being published (contract 6.3).

    :raises Refusal: 400 ModelArts.4381.
    """
    if dataset.status == PUBLISHING:
        raise refuse("ModelArts.4381")


def _one_by_one(
    store: Store, call: Call, labels: list[dict[str, Any]], change: Callable[[dict[str, Any]], None]
) -> Reply:
    """Change each label and return BatchResult; a label has no sample id, an injected fault names it by its name."""
    return reply_to_batch(store, call, [{**label, "sample_id": label["name"]} for label in labels], change)


def _find(store: Store, call: Call) -> tuple[Dataset, dict[str, Any]]:
    """Return the label that the path names; `label_type` must be its type."""
    dataset = store.dataset(call.params["dataset_id"])
    name, label_type = call.params["label_name"], integer(call, "label_type")
    if label_type is not None and label_type not in LABEL_TYPES:
        raise refuse("ModelArts.0104", f"label_type={label_type}")
    label = dataset.labels.get(name)
    if label is None or label_type not in (None, label["type"]):
        raise UnknownObjectError("ModelArts.4410", name)
    return dataset, label


def create_label(dataset: Dataset, label: dict[str, Any]) -> None:
    """Add a label to the label set.

    :raises Refusal: its name or shortcut is taken, its attributes repeat themselves, or it joins unknown entities.
    """
    if label["name"] in dataset.labels:
        raise refuse("ModelArts.4411", label["name"])
    _check(dataset, label)
    fields = {field: label[field] for field in LABEL_FIELDS if field in label}
    if RENAME in fields.get("property", {}):  # there is nothing to rename yet
        fields["property"] = {key: value for key, value in fields["property"].items() if key != RENAME}
    dataset.add_label(**fields)


def check_update(dataset: Dataset, change: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a label as a change leaves it, under its old name, and its new name.

    :raises Refusal: there is no such label, or what :func:`create_label` refuses.
    """
    name = change["name"]
    label = dataset.labels.get(name)
    if label is None:
        raise refuse("ModelArts.4410", name)
    properties = dict(change.get("property") or {})
    new_name: str = properties.pop(RENAME, name)
    if new_name != name and new_name in dataset.labels:
        raise refuse("ModelArts.4411", new_name)
    changed = {**label, "property": {**(label.get("property") or {}), **properties}}
    if "attributes" in change:
        changed["attributes"] = change["attributes"]
    _check(dataset, changed)
    return changed, new_name


def update_label_of(dataset: Dataset, change: dict[str, Any]) -> None:
    """Change properties and attributes of a label, and its name if `@modelarts:rename_to` says so.

    :raises Refusal: as of :func:`check_update`.
    """
    changed, new_name = check_update(dataset, change)
    dataset.labels[change["name"]] = changed
    if new_name != change["name"]:
        dataset.rename_label(change["name"], new_name)


def _delete(store: Store, dataset: Dataset, label: dict[str, Any], policy: int) -> None:
    name = label["name"]
    if name not in dataset.labels:
        raise refuse("ModelArts.4410", name)
    relation = next((one for one in dataset.labels.values() if name in _ends(one)), None)
    if relation is not None and relation["name"] != name:
        raise refuse("ModelArts.4415", relation["name"])
    if policy != LABEL_ONLY:
        delete_samples_of(store, dataset, dataset.carriers(name), delete_source=policy == FILES_TOO)
    dataset.remove_label(name)


def _ends(label: dict[str, Any]) -> list[str]:
    """Return the labels of entities that the label of a relation joins."""
    properties = label.get("property") or {}
    return [properties[end] for end in ENDS if properties.get(end)] if label.get("type", RELATION) == RELATION else []


def _check(dataset: Dataset, label: dict[str, Any]) -> None:
    """Refuse a label, new or changed, that does not fit (contract 7.3, "names"; codes of the YAML)."""
    kind = label.get("type", dataset.dataset_type)
    if not dataset.kind.label_types:
        raise refuse("ModelArts.4383", f"labels in a dataset of type {dataset.dataset_type}")
    if kind not in dataset.kind.label_types:
        raise refuse("ModelArts.4413", f"{label['name']}: type {kind} in a dataset of type {dataset.dataset_type}")
    shortcut = (label.get("property") or {}).get(SHORTCUT)
    if shortcut and shortcut in dataset.taken_shortcuts(beside=(label["name"],)):
        raise refuse("ModelArts.4412", shortcut)
    for end in _ends(label):
        if dataset.labels.get(end, {}).get("type") != ENTITY:
            raise refuse("ModelArts.4414", end)
    attributes = label.get("attributes") or []
    _refuse_twins("ModelArts.4428", (attribute.get("name") for attribute in attributes))
    for attribute in attributes:
        _refuse_twins("ModelArts.4429", (value.get("value") for value in attribute.get("values") or []))


def _refuse_twins(code: str, texts: Iterable[str | None]) -> None:
    twin = next((text for text, count in Counter(texts).items() if text is not None and count > 1), None)
    if twin is not None:
        raise refuse(code, twin)
