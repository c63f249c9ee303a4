"""How the service may differ from what is documented: switches for tests of a client."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Variants:
    """Quirks to switch on; the defaults are the documented or most probable behaviour.

    :param offset_mode: "page" or "record": what `offset` counts (contract 0.1, quirk 17).
    :param max_page: so many items are served at once at most, whatever `limit` says; None: as many as `limit`.
    :param behind_the_end: what a page behind the end is: "empty", refused with 400, 404 or 500, or the "last" page
        once more.
    :param total: the total of a list: "true", "page" (what the answer holds), "capped" (100 at most), "zero",
        "negative" (-1), "null" or "missing".
    :param repeat_rows: so many of the oldest items of a list stand at its newest end once more.
    :param hard: "bool", "number" or "text": form of `metadata."@modelarts:hard"` (quirk 2).
    :param progress: "mixed" (30, 10.0, 100.0 as in the examples), "int" or "float" (quirk 6).
    :param score: "number" or "text": form of label scores (contract 10).
    :param extra_fields: add unknown fields to samples, labels, tasks and datasets.
    :param null_fields: send documented but absent sample fields as null.
    :param task_id_in_detail: whether a task's detail names the task (quirk 9: documented, in no example).
    :param results: "normal", "missing", "short" or "shuffled": `results` of a write that failed in part.
    :param results_on_success: send `results` also when everything was written (quirk 22: normally absent).
    :param body_with_204: send `{"success":true}` with 204 (quirk 28).
    :param config_name: "echo", "absent" or "invented": what becomes of `config.name` of a start.
    :param trim_labels_to_filter: a list filtered by label shows only the matching labels of a sample.
    :param shrink_list: so many of the newest proposals are confirmed by a person after each page that is served.
    :param missing_labels: "remove" (EN25) or "keep": a written sample without a `labels` field (quirk 21).
    :param metadata: "merge" or "replace": written metadata (contract 4.1).
    :param new_labels: "add" or "refuse": a label name that the dataset does not have (contract 4.1).
    :param unknown_status: 400 or 404 for unknown objects (quirk 23).
    :param code_prefix: "APIGW." or "APIG." before gateway codes (quirk 55).
    :param strict_requests: refuse unknown request fields, at every depth, and unknown query parameters with 0104
        instead of ignoring them (contract 10).
    :param lock_after: so many wrong passwords in a row lock the user; None: never (contract 1.2).
    :param rate_limit: (requests, seconds): more of them in one window are answered 429 APIGW.0308.
    :param retry_after: seconds announced by `Retry-After` with that 429; None: no header (not documented).
    :param max_running_tasks: more active tasks on one dataset are refused with 4409; None: no limit.
    :param max_datasets: more datasets are refused with 500 4354; None: no limit.
    :param max_versions: more versions of one dataset are refused with 4714; None: no limit.
    """

    offset_mode: str = "page"
    max_page: int | None = None
    behind_the_end: int | str = "empty"
    total: str = "true"
    repeat_rows: int = 0
    hard: str = "bool"
    progress: str = "mixed"
    score: str = "number"
    extra_fields: bool = False
    null_fields: bool = False
    task_id_in_detail: bool = True
    results: str = "normal"
    results_on_success: bool = False
    body_with_204: bool = False
    config_name: str = "echo"
    trim_labels_to_filter: bool = False
    shrink_list: int = 0
    missing_labels: str = "remove"
    metadata: str = "merge"
    new_labels: str = "add"
    unknown_status: int = 400
    code_prefix: str = "APIGW."
    strict_requests: bool = False
    lock_after: int | None = None
    rate_limit: tuple[int, float] | None = None
    retry_after: int | None = None
    max_running_tasks: int | None = None
    max_datasets: int | None = None
    max_versions: int | None = None

    def __setattr__(self, name: str, value: object) -> None:
        """Set a switch; a misspelled name or value would silently test nothing."""
        if name not in _NAMES:
            raise AttributeError(f"there is no variant {name!r}; there are {', '.join(sorted(_NAMES))}")
        allowed = CHOICES.get(name)
        if allowed is not None and value not in allowed:
            raise ValueError(f"variant {name} is one of {allowed}, not {value!r}")
        object.__setattr__(self, name, value)

    def reset(self) -> None:
        """Put every switch back to its default."""
        for item in fields(self):
            setattr(self, item.name, item.default)


CHOICES: dict[str, tuple[object, ...]] = {
    "offset_mode": ("page", "record"),
    "behind_the_end": ("empty", 400, 404, 500, "last"),
    "total": ("true", "page", "capped", "zero", "negative", "null", "missing"),
    "hard": ("bool", "number", "text"),
    "progress": ("mixed", "int", "float"),
    "score": ("number", "text"),
    "results": ("normal", "missing", "short", "shuffled"),
    "config_name": ("echo", "absent", "invented"),
    "missing_labels": ("remove", "keep"),
    "metadata": ("merge", "replace"),
    "new_labels": ("add", "refuse"),
    "unknown_status": (400, 404),
    "code_prefix": ("APIGW.", "APIG."),
}
_NAMES = frozenset(item.name for item in fields(Variants))
