"""Writing labels, which is also how proposals are confirmed (contract 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.api.label_rules import check_forms, check_rules
from airflow_provider_modelarts.emulator.http.errors import refuse
from airflow_provider_modelarts.emulator.http.messages import Call, Refusal, Reply, json_reply
from airflow_provider_modelarts.emulator.http.schema import UPDATE_SAMPLES, check
from airflow_provider_modelarts.emulator.state.dataset import PUBLISHING, Dataset, Sample
from airflow_provider_modelarts.emulator.state.kinds import DETECTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_modelarts.emulator.state.store import Store
    from airflow_provider_modelarts.emulator.state.team import Copy

SIZE = "@modelarts:size"


def update_samples(store: Store, call: Call) -> Reply:
    """`PUT D/data-annotations/samples` (contract 4.1)."""
    body = call.json()
    dataset = store.dataset(call.params["dataset_id"])
    check_update(store, dataset, body)
    now = store.clock.now()
    author = author_of(store, body.get("email"))
    only_known = store.variants.new_labels == "refuse"

    def write(written: dict[str, Any]) -> None:
        sample = dataset.samples.get(written["sample_id"])
        if sample is None:
            raise refuse("ModelArts.4420", written["sample_id"])
        labels = labels_to_write(store, dataset, written, only_known=only_known)
        keep_beside_labels(store, sample, written)
        if labels is not None:
            dataset.add_labels_of(labels)  # contract 4.1, "New label names"
            dataset.set_labels(sample, labels, author, now)

    return reply_to_batch(store, call, body["samples"], write)


def author_of(store: Store, email: str | None) -> str:
    """Return who has labeled, as `annotated_by` says it: a member of a team, or else the account that calls."""
    return f"human/{email or f'{store.identity.domain}/{store.identity.user}'}"


def check_update(store: Store, dataset: Dataset, body: Any) -> None:
    """Refuse a write as a whole: its shape, labels without a name, or a dataset that is being published.

    :raises Refusal: 400 ModelArts.0104 or 4381; 501 4383 for labels of samples that have none.
    """
    strict = store.variants.strict_requests
    check(body, UPDATE_SAMPLES[store.variants.score], strict=strict)
    for written in body["samples"]:
        check_forms(dataset, written["sample_id"], written.get("labels") or (), strict=strict)
    if dataset.status == PUBLISHING:
        raise refuse("ModelArts.4381")  # contract 4.1, "Dataset publishing"


def labels_to_write(
    store: Store, dataset: Dataset, written: dict[str, Any], *, only_known: bool
) -> list[dict[str, Any]] | None:
    """Return the new label list; None: the labels stay (a variant, quirk 21).

    :param only_known: whether names that the dataset does not have are refused.
    :raises Refusal: the sample cannot be written.
    """
    check_sample_type(dataset, written)
    if "labels" not in written and store.variants.missing_labels == "keep":
        return None
    labels: list[dict[str, Any]] = written.get("labels") or []
    # Contract 3.3: the size is mandatory when a detection label is written.
    if dataset.dataset_type == DETECTION and labels and SIZE not in (written.get("metadata") or {}):
        raise refuse("ModelArts.4423", written["sample_id"])
    for label in labels if only_known else ():
        if label.get("name") and label["name"] not in dataset.labels:
            raise refuse("ModelArts.4410", label["name"])
    sample = dataset.samples.get(written["sample_id"])
    check_rules(dataset, written["sample_id"], labels, None if sample is None else sample.text)
    return labels


def check_sample_type(dataset: Dataset, written: dict[str, Any]) -> None:
    """Refuse a sample that is said to be something else than the samples of its dataset are.

    :raises Refusal: ModelArts.0104, for this sample alone.
    """
    if written.get("sample_type", dataset.kind.sample_type) != dataset.kind.sample_type:
        raise refuse("ModelArts.0104", f"sample_type={written['sample_type']}")


def keep_beside_labels(store: Store, sample: Sample | Copy, written: dict[str, Any]) -> None:
    """Keep written usage and metadata: merged into the old, or in its place with the variant (contract 4.1)."""
    sample.usage = written.get("sample_usage", sample.usage)
    metadata = written.get("metadata")
    if metadata is None:
        return
    known = {name: value for name, value in metadata.items() if name != SIZE}
    if store.variants.metadata == "merge" and sample.metadata:
        known = sample.metadata | known
    sample.metadata = known or None


def reply_to_batch(
    store: Store, call: Call, samples: list[dict[str, Any]], write: Callable[[dict[str, Any]], None]
) -> Reply:
    """Write each sample, or fail it as an injected fault asks, and return BatchResult.

    HTTP 200 also when some failed; the others are written (contract 4.1 and 10, row "Confirm").

    :param write: writes one sample, or raises the refusal of that sample.
    """
    results: list[dict[str, Any]] = []
    for position, written in enumerate(samples):
        try:
            if call.fault == "fail_sample":
                _fail_sample(call, position, written["sample_id"])
            write(written)
            results.append({"success": True})
        except Refusal as refusal:  # a result carries no sample id (contract 4.1, "Some failed")
            results.append({"success": False, "error_code": refusal.code, "error_msg": refusal.message})
    failed = [result for result in results if not result["success"]]
    if not failed:
        return json_reply({"success": True, **({"results": results} if store.variants.results_on_success else {})})
    # Variants of contract 10: positions that cannot be trusted.
    form = call.fault_args.get("form", "short") if call.fault == "results" else store.variants.results
    if form == "missing":
        return json_reply({"success": False})
    if form == "short":
        results = failed[:-1] if len(failed) == len(results) else failed
    elif form == "shuffled":
        results = results[1:] + results[:1]
    return json_reply({"success": False, "results": results})


def _fail_sample(call: Call, position: int, sample_id: str) -> None:
    """Raise the injected refusal of one sample, by its id or position; without either it is the first."""
    args = call.fault_args
    if sample_id == args.get("sample_id") or position == args.get("position", None if "sample_id" in args else 0):
        message = args.get("message", "Sample update failed.")
        raise Refusal(400, args.get("code", "ModelArts.4421"), f"{message} [{sample_id}]")
