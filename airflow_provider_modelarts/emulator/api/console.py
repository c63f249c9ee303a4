"""A page for a dataset, in place of the vendor's web console: plain HTML for people, no part of the contract."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.http.messages import Reply
from airflow_provider_modelarts.emulator.state.dataset import names_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_modelarts.emulator.http.messages import Call
    from airflow_provider_modelarts.emulator.state.dataset import Dataset, Sample
    from airflow_provider_modelarts.emulator.state.store import Store

CONTENT = "@modelarts:content"
PATH = "/console/datasets/"
SHOWN = 24
TASKS_SHOWN = 10
# Contract 2.3, table of status.
STATES = {-1: "queued", 0: "initializing", 1: "running", 2: "failed", 3: "succeeded", 4: "stopping", 5: "stopped"}
HEADERS = (
    ("Content-Type", "text/html; charset=UTF-8"),
    # Names of labels and datasets come from users: whatever is in them, nothing is run or fetched from elsewhere.
    ("Content-Security-Policy", "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"),
    ("Referrer-Policy", "no-referrer"),
)
STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse }
th, td { padding: .2em 1.2em .2em 0; text-align: left; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums } code { overflow-wrap: anywhere }
ul.samples { list-style: none; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, 9em); gap: 1em }
ul.samples img { width: 64px; height: 64px; object-fit: contain; border: 1px solid #ddd; display: block }
ul.samples small { color: #666; overflow-wrap: anywhere }
"""


def show_dataset(store: Store, call: Call) -> Reply:
    """`GET /console/datasets/{dataset_id}`: counts, labels, labeling tasks and some samples; 404 for an unknown one.

    It asks for no credentials, as it is for the person who runs the emulator.
    """
    dataset = store.datasets.get(call.params["dataset_id"])
    if dataset is None:
        text = f"<p>There is no dataset <code>{escape(call.params['dataset_id'])}</code> in this emulator.</p>"
        return _page(404, "Unknown dataset", text)
    store.settle(dataset)
    proposed = [proposal.data() for proposal in dataset.proposals.newest_first()]
    proposals = [(dataset.samples[document["sample_id"]], _proposal(document), "") for document in proposed]
    labeled = sorted((one for one in dataset.samples.values() if one.labels), key=lambda one: one.time, reverse=True)
    content = (
        f"<p>Dataset <code>{escape(dataset.dataset_id)}</code></p>",
        _counts(dataset, [sample for sample, _, _ in proposals]),
        "<h2>Labels</h2>",
        _labels(dataset, proposed),
        "<h2>Labeling tasks</h2>",
        _tasks(dataset, store.clock.now()),
        f"<h2>Awaiting confirmation: {len(proposed):,}</h2>",
        _samples(store, dataset, proposals[:SHOWN]),
        f"<h2>Labeled: {len(labeled):,}</h2>",
        _samples(store, dataset, [(one, _titles(one.labels), one.annotated_by) for one in labeled[:SHOWN]]),
    )
    return _page(200, dataset.name, "\n".join(content))


def _page(status: int, title: str, content: str) -> Reply:
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n{content}\n"
        "<p><small>A page of the ModelArts emulator. Load it again to see what has changed.</small></p>\n"
        "</body></html>\n"
    )
    return Reply(status, text.encode("utf-8", "replace"), HEADERS)


def _table(head: Iterable[str], rows: Iterable[Iterable[str | int]]) -> str:
    """Return a table; whole numbers are set to the right."""
    lines = ["<table><tr>", *(f"<th>{escape(name)}</th>" for name in head), "</tr>"]
    for row in rows:
        cells = (
            f'<td class="number">{cell:,}</td>' if isinstance(cell, int) else f"<td>{escape(cell)}</td>" for cell in row
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "".join([*lines, "</table>"])


def _counts(dataset: Dataset, proposed: list[Sample]) -> str:
    total, labeled = len(dataset.samples), dataset.annotated
    neither = total - labeled - sum(not sample.labels for sample in proposed)
    head = ("samples", "labeled", "awaiting confirmation", "neither")
    return _table(head, [(total, labeled, len(proposed), neither)])


def _labels(dataset: Dataset, proposed: list[dict[str, Any]]) -> str:
    final = Counter(name for sample in dataset.samples.values() for name in names_of(sample))
    given = (label.get("name") for document in proposed for label in _proposed(document))
    machine = Counter(str(name) for name in given if name)  # labels of speech have none
    names = dict.fromkeys([*dataset.labels, *machine])
    return _table(("label", "labeled", "proposed"), [(name, final[name], machine[name]) for name in names])


def _tasks(dataset: Dataset, now: float) -> str:
    tasks = list(dataset.tasks.values())[: -TASKS_SHOWN - 1 : -1]
    if not tasks:
        return "<p>None was started yet.</p>"
    rows = [
        (task.task_id, task.kind, STATES[task.status(now)], f"{task.describe(now, float)['progress']:.0f} %")
        for task in tasks
    ]
    return _table(("id", "kind", "state", "progress"), rows)


def _proposal(document: dict[str, Any]) -> str:
    return _titles(_proposed(document)) + (" (hard)" if (document["metadata"] or {}).get("@modelarts:hard") else "")


def _titles(labels: list[dict[str, Any]]) -> str:
    """Return names and scores of labels; what was said in place of the name where there is none."""
    titles = []
    for label in labels:
        value = label.get("property")
        said = value.get(CONTENT) if isinstance(value, dict) else None
        titles.append(f"{label.get('name') or said} {label.get('score', '')}".strip())
    return ", ".join(titles)


def _proposed(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the labels of a proposal without those that a test has made odd."""
    return [label for label in document["labels"] or () if isinstance(label, dict)]


def _samples(store: Store, dataset: Dataset, samples: list[tuple[Sample, str, str]]) -> str:
    """Return pictures of samples with a text, and in small letters the file's name and who labeled it."""
    items = []
    for sample, text, author in samples:
        picture = ""
        if sample.image is not None and dataset.images is not None:
            url = store.presigner.url(dataset.bucket, sample.key, store.clock.now())
            picture = f'<img src="{escape(url)}" alt="" loading="lazy">'
        small = "<br>".join(escape(line) for line in (sample.key.rpartition("/")[2], author) if line)
        items.append(f"<li>{picture}{escape(text)}<br><small>{small}</small></li>")
    if not items:
        return "<p>None.</p>"
    return f'<ul class="samples">{"".join(items)}</ul>\n<p><small>The newest {len(items)}.</small></p>'
