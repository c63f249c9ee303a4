"""Samples of a dataset and their final labels: contract 3.3, 4.1, 6.4."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ConfigDict, InstanceOf, RootModel

from airflow_provider_modelarts.client.reading import (
    to_flag,
    to_integer,
    to_number,
    to_objects,
    to_reasons,
    to_text,
    without_query,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

HARD = "@modelarts:hard"
HARD_REASONS = "@modelarts:hard_reasons"
SIZE = "@modelarts:size"
STABLE_SCHEMES = ("s3://", "obs://")


Item = TypeVar("Item")


class _View(RootModel[InstanceOf[dict[str, Any]]]):
    """A JSON object whose properties are read when asked for.

    A dataset has hundreds of thousands of samples, of which a run looks at a few properties each: reading them all
    into fields would cost more than parsing the JSON.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    @property
    def raw(self) -> dict[str, Any]:
        """What arrived, unchanged."""
        return self.root


class SampleLabel(_View):
    """One label of a sample, proposed or final."""

    @property
    def name(self) -> str:
        """The label's name, opaque (quirk 19); empty for kinds of labels that have none."""
        return to_text(self.root.get("name")) or ""

    @property
    def type(self) -> int | None:
        """The label's type (contract 6.1)."""
        return to_integer(self.root.get("type"))

    @property
    def id(self) -> str | None:
        """Number within the sample; proposals only (quirk 33)."""
        return to_text(self.root.get("id"))

    @property
    def score(self) -> float | None:
        """Confidence, 0 to 1; None if the service gives none."""
        return to_number(self.root.get("score"))

    @property
    def property(self) -> dict[str, Any]:
        """Box, difficulty and custom attributes (contract 3.3), as they arrived."""
        value = self.root.get("property")
        return value if isinstance(value, dict) else {}

    def __repr__(self) -> str:
        return f"SampleLabel(name={self.name!r}, type={self.type!r}, score={self.score!r})"

    __str__ = __repr__


class Sample(_View):
    """An image, text or other object of a dataset, with its proposed or final labels."""

    @property
    def sample_id(self) -> str:
        """Key of the sample, opaque (quirk 34); empty if the service left it out."""
        return to_text(self.root.get("sample_id")) or ""

    @cached_property
    def labels(self) -> tuple[SampleLabel, ...]:
        """Proposed labels where proposals are listed, final ones elsewhere."""
        return tuple(SampleLabel(label) for label in to_objects(self.root.get("labels")))

    @property
    def metadata(self) -> dict[str, Any]:
        """Size, origin, difficulty and custom attributes (contract 3.3), as they arrived."""
        value = self.root.get("metadata")
        return value if isinstance(value, dict) else {}

    @property
    def score(self) -> float | None:
        """Confidence in the sample as a whole; often missing where its labels have one."""
        return to_number(self.root.get("score"))

    @property
    def is_hard(self) -> bool | None:
        """Whether this is a hard example; None if neither the sample nor a label of it says so (quirk 2)."""
        known = to_flag(self.metadata.get(HARD))
        if known is not None:
            return known
        said = [flag for flag in (to_flag(label.property.get(HARD)) for label in self.labels) if flag is not None]
        return any(said) if said else None

    @property
    def hard_reasons(self) -> tuple[int, ...]:
        """Why it is hard, by number (contract 7.5), the sample's own reasons before those of its labels."""
        reasons = list(to_reasons(self.metadata.get(HARD_REASONS)))
        for label in self.labels:
            reasons.extend(to_reasons(label.property.get(HARD_REASONS)))
        return tuple(dict.fromkeys(reasons))

    @property
    def annotated_by(self) -> str | None:
        """Who labeled it, ``human/account/user``; None or empty if nobody did."""
        return to_text(self.root.get("annotated_by"))

    @property
    def sample_status(self) -> str | None:
        """The service's word for its state; it does not tell proposals from unlabeled samples (quirk 1)."""
        return to_text(self.root.get("sample_status"))

    @property
    def worker_id(self) -> str | None:
        """Team labeling: the member whose copy this is."""
        return to_text(self.root.get("worker_id"))

    @property
    def origin(self) -> str | None:
        """Where the sample lies, fit for logs and files: ``s3://...``, or its address without the signature (B20)."""
        for key in ("@modelarts:origin_source", "@modelarts:new_source"):
            place = self.metadata.get(key)
            if isinstance(place, str) and place.startswith(STABLE_SCHEMES):
                return place
        source = self.root.get("source")
        return without_query(source) if isinstance(source, str) and source else None

    def __repr__(self) -> str:
        names = [label.name for label in self.labels]
        return f"Sample(sample_id={self.sample_id!r}, labels={names!r}, origin={self.origin!r})"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list.

    :param items: what the page holds
    :param total: how many the whole list holds; None if the service does not say
    :param number: number of the page, from 0
    :param read_at: epoch seconds just before the page was asked for, so that its age is never understated
    """

    items: Sequence[Item]
    total: int | None
    number: int
    read_at: float


@dataclass(frozen=True, slots=True)
class SampleOutcome:
    """What became of one sample of a write.

    :param sample_id: the sample
    :param ok: True: the service says it was written; False: it says it was not; None: not known, read the sample
    :param error_code: the service's code
    :param error_msg: one line for people
    """

    sample_id: str
    ok: bool | None
    error_code: str | None = None
    error_msg: str | None = None
