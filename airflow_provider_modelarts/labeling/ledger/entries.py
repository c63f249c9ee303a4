"""One part of a ledger: who wrote it, its entries, its name and place, and whether it is what was written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

import msgspec

from airflow_provider_modelarts.client.redaction import without_queries
from airflow_provider_modelarts.labeling.label_equality import labels_as_list
from airflow_provider_modelarts.labeling.storage.path import file_name, name_of
from airflow_provider_modelarts.labeling.storage.sealed_file import (
    SealedReader,
    SealedWriter,
    StorageDamaged,
    decode_object,
    encode_line,
    encode_record,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.labeling.storage.path import StoragePath

    PathT = TypeVar("PathT", bound=StoragePath)

FORMAT = "modelarts-confirmation-ledger"
VERSION = 1
_HEADER_BYTES = 1 << 20
_LINES_AT_ONCE = 100  # one piece of all of them would be as large as the part
LedgerFate = Literal["intended", "confirmed", "failed", "gone", "changed", "unknown"]
FATES: tuple[LedgerFate, ...] = get_args(LedgerFate)
UNKNOWN = "unknown"
"""Code of a sample that was sent, and whose outcome neither an answer nor a read has shown."""


class LedgerBroken(StorageDamaged):
    """A part of the ledger is missing, altered or out of order; the text names it."""


@dataclass(frozen=True)
class RunIdentity:
    """Which Airflow task writes. Retries share all parameters but the try number.

    :param dag_id: the DAG
    :param run_id: the DAG run
    :param task_id: the task
    :param map_index: of a mapped task, else -1
    :param try_number: which try this is
    :param intent: what a retry keeps and a clear changes, if the caller knows such a thing
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    intent: str = ""

    def plan_path(self, root: PathT) -> PathT:
        """Return where the plan of this task lies beside its ledger when the user names no other place."""
        return run_folder(root, self.run_id) / f"{self.task_name}.{file_name(self.intent, 60)}.plan.jsonl"

    def chain_name(self, writer: str) -> str:
        """Return what the names of a writer's parts begin with; they sort by task, try, writer, sequence."""
        return f"{self.task_name}.try{self.try_number:03d}.{writer}"

    @property
    def task_name(self) -> str:
        """What the names of all files of this task begin with, whichever try wrote them."""
        # Names may be alike once they are cut and cleaned; the hash is not.
        mark = sha256(f"{self.dag_id}\n{self.task_id}".encode()).hexdigest()[:8]
        index = "" if self.map_index < 0 else f".{self.map_index:05d}"
        return f"{file_name(self.task_id, 60)}-{mark}{index}"


@dataclass(frozen=True, kw_only=True)
class PartHeader(RunIdentity):
    """The first line of a part: who wrote it, and where it belongs.

    :param dataset_id: the dataset that was written to
    :param writer: random id of the process's ledger
    :param sequence: number of the part in its chain, from 0
    :param previous: digest of the part before it; None in the first
    :param closing: this is the chain's last part
    :param plan_uri: the plan that was applied, with the id of the connection that leads there, if it has one; older
        ledgers hold no connection
    :param plan_digest: its digest
    :param approved_by: who approved the plan, if anybody was asked
    :param created_at: epoch seconds
    :param approved_at: when it was approved, as Airflow tells it, ISO 8601; older ledgers do not say
    """

    dataset_id: str
    writer: str
    sequence: int
    previous: str | None
    closing: bool
    plan_uri: str | None
    plan_digest: str | None
    approved_by: str | None
    created_at: float
    approved_at: str | None = None


class Entry(NamedTuple):
    """What became of one sample.

    :param sample_id: the sample
    :param fate: "confirmed": the labels are final; "failed": the service refused them, or its answer could not be
        had; "gone": no longer proposed; "changed": proposed otherwise than decided; "intended": about to be written,
        recorded before a write that replaces a person's labels; "unknown": it carries the labels, and nothing shows
        whether this run or a person gave them
    :param rule: the rule that decided
    :param after: the labels written, or to be written
    :param before: the labels a person had given it; None or empty if it had none
    :param origin: where the sample lies, without signature
    :param code: the service's code; of failed and unknown samples
    :param message: the service's text; of failed and unknown samples
    :param read: found out by reading, not by the service's answer
    """

    sample_id: str
    fate: LedgerFate
    rule: str
    after: list[dict[str, Any]]
    before: list[dict[str, Any]] | None = None
    origin: str | None = None
    code: str = ""
    message: str = ""
    read: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether it is known what became of the sample."""
        return self.fate != "intended" and not (self.fate == "failed" and self.code == UNKNOWN)

    def line(self) -> bytes:
        """Return the entry as a part holds it."""
        labels = {"after": _json(self.after), "before": _json(self.before)}
        texts = {"origin": without_queries(self.origin or "") or None, "message": without_queries(self.message)}
        return encode_record(_EntryLine(**{**self._asdict(), **labels, **texts}))


def run_folder(root: PathT, run_id: str) -> PathT:
    """Return the folder of a run's parts under the ledger's place."""
    return root / f"{file_name(run_id, 80)}-{sha256(run_id.encode()).hexdigest()[:12]}"


def write_part(path: StoragePath, header: PartHeader, lines: Sequence[bytes], total: int) -> str:
    """Store a part; return its digest.

    :param lines: its entries, as :func:`entry_line` gives them
    :param total: entries of the chain up to the end of this part
    """
    with SealedWriter(path) as file:
        file.write(encode_line({"format": FORMAT, "version": VERSION, **asdict(header)}))
        for start in range(0, len(lines), _LINES_AT_ONCE):
            file.write(b"".join(lines[start : start + _LINES_AT_ONCE]))
        return file.seal(_facts(len(lines), total))


def peek_header(path: StoragePath) -> PartHeader | None:
    """Return what the first line of a part says, unchecked; None if it says nothing of the kind."""
    with path.open("rb") as file:
        # Files of s3fs read no line of at most so many bytes.
        raw = decode_object(file.read(_HEADER_BYTES).partition(b"\n")[0])
    if raw is None or (raw.pop("format", None), raw.pop("version", None)) != (FORMAT, VERSION):
        return None
    try:
        return PartHeader(**raw)
    except TypeError:
        return None


def read_part(path: StoragePath, before: int) -> tuple[PartHeader, list[Entry], str]:
    """Read and check a part; return its header, its entries and its digest.

    :param before: entries in the parts before it
    :raises LedgerBroken: if it is not what was written, or not the one that belongs there
    """
    file = SealedReader(path)
    try:
        lines = list(file.lines())
        count = max(len(lines) - 1, 0)
        digest = file.check(_facts(count, before + count))
    except StorageDamaged as error:
        raise LedgerBroken(error.message) from None
    raw = decode_object(lines[0]) if lines else None
    if raw is None or (raw.pop("format", None), raw.pop("version", None)) != (FORMAT, VERSION):
        raise broken(path, f"it is no part of a ledger of version {VERSION}")
    try:
        header = PartHeader(**raw)
    except TypeError:
        raise broken(path, "its first line is not as it must be") from None
    try:
        entries = [Entry(**(decode_object(line) or {})) for line in lines[1:]]
    except TypeError:
        entries = []
    if len(entries) != count or any(entry.fate not in FATES for entry in entries):
        raise broken(path, "a line in it is no entry")
    return header, entries, digest


def broken(path: StoragePath, reason: str) -> LedgerBroken:
    """Return the error that names a part and says what is wrong with it."""
    return LedgerBroken(f"The ledger's part {name_of(path)} cannot be trusted: {reason}.")


class _EntryLine(msgspec.Struct, omit_defaults=True, gc=False):
    """An entry as a part holds it: without what it does not say, and without signatures (B20)."""

    sample_id: str
    fate: str
    rule: str
    after: msgspec.Raw
    before: msgspec.Raw | None = None
    origin: str | None = None
    code: str = ""
    message: str = ""
    read: bool = False


def _json(labels: list[dict[str, Any]] | None) -> Any:
    return None if labels is None else msgspec.Raw(encode_line(labels)[:-1])


def entry_line(
    row: SampleRow,
    fate: LedgerFate,
    rule: str,
    *,
    before: list[dict[str, Any]] | None = None,
    code: str = "",
    message: str = "",
    read: bool = False,
) -> bytes:
    """Return the line about a sample that was decided upon; parameters as of :class:`Entry`."""
    origin = without_queries(row.origin or "") or None
    line = _EntryLine(
        row.sample_id,
        fate,
        rule,
        labels_as_list(row),
        _json(before),
        origin,
        code,
        without_queries(message),
        read=read,
    )
    return encode_record(line)


def _facts(entries: int, total: int) -> dict[str, Any]:
    return {"entries": entries, "total": total}
