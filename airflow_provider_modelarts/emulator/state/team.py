"""Team labeling: teams, team labeling tasks and the members' copies of samples (contract 5)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


# Status of a team task (contract 5.1).
STARTING, RUNNING, IN_ACCEPTANCE, PASSED, REJECTED, SYNCHRONIZING, CREATED, SAMPLING = range(8)
LABELING = (RUNNING, PASSED, REJECTED)
"""People work on copies, and an acceptance may begin."""
ACCEPTING = (SAMPLING, IN_ACCEPTANCE, SYNCHRONIZING)
# Roles of members (contract 5.2, Worker).
LABELER, REVIEWER, MANAGER = range(3)
# Status of members, and of mails to them.
NOT_INVITED, INVITED = 0, 1
MAIL_NOT_SENT, MAIL_SENT = 0, 3

# What each action does to a judged copy that awaits acceptance (contract 5.2): by the verdict, True for accepted, False
# for rejected, None for none.
ACTIONS: dict[int, dict[bool | None, bool]] = {
    0: {True: True, None: True, False: True},
    1: {True: False, None: False, False: False},
    4: {True: True, None: True, False: False},
    5: {True: True, None: False, False: False},
}
CANCEL, LIST_CONFLICTS = 2, 3
# Flags of a team task and what they are unless asked for otherwise (contract 5.2).
OPTIONS = {"synchronize_data": False, "synchronize_auto_labeling_data": False, "auto_sync_dataset": True}
GRADES = {"A": 4, "B": 3, "C": 2, "D": 1}


@dataclass(eq=False)
class Worker:
    """A member of a team. Somebody who is in several teams has one id in all of them, as in the examples."""

    worker_id: str
    workforce_id: str
    email: str
    role: int
    created: float
    description: str = ""
    status: int = NOT_INVITED
    updated: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return the member as it is served."""
        return {
            "email": self.email,
            "worker_id": self.worker_id,
            "workforce_id": self.workforce_id,
            "status": self.status,
            "role": self.role,
            "description": self.description,
            "create_time": int(self.created * 1000),
            "update_time": int((self.updated or self.created) * 1000),
        }


@dataclass(eq=False)
class Workforce:
    """A team.

    :param workers: its members by id.
    """

    workforce_id: str
    name: str
    created: float
    description: str = ""
    updated: float = 0.0
    workers: dict[str, Worker] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the team as it is served."""
        return {
            "workforce_id": self.workforce_id,
            "workforce_name": self.name,
            "description": self.description,
            "worker_count": len(self.workers),
            "create_time": int(self.created * 1000),
            "update_time": int((self.updated or self.created) * 1000),
        }

    def add(self, seed: int, email: str, role: int, now: float, description: str = "") -> Worker:
        """Add a member and return it."""
        worker_id = ids.hex_id(seed, "worker", email)
        self.workers[worker_id] = Worker(worker_id, self.workforce_id, email, role, now, description)
        return self.workers[worker_id]


@dataclass(frozen=True)
class Verdict:
    """What a reviewer, or the owner in an acceptance, says of a copy.

    :param score: "A" to "D", "" for none.
    """

    accept: bool
    comment: str = ""
    score: str = ""

    def document(self, kind: str) -> dict[str, Any]:
        """Return it as a sample shows it.

        :param kind: "review" or "check".
        """
        return {f"{kind}_accept": self.accept, f"{kind}_comment": self.comment, f"{kind}_score": self.score}


@dataclass(eq=False)
class Copy:
    """One member's copy of a sample.

    :param accepted: its labels were accepted; the member cannot edit it any more.
    :param rejected: it was sent back, to be labeled again.
    :param is_sampled: it was drawn for the acceptance that runs, or for the last one.
    :param review: the reviewer's word.
    :param check: the owner's word in the acceptance.
    """

    sample_id: str
    worker_id: str
    labels: list[dict[str, Any]] = field(default_factory=list)
    accepted: bool = False
    author: str = ""
    metadata: dict[str, Any] | None = None
    usage: str | None = None
    rejected: bool = False
    is_sampled: bool = False
    review: Verdict | None = None
    check: Verdict | None = None

    def set_labels(self, labels: list[dict[str, Any]], author: str) -> None:
        """Replace the labels; what was said of the old ones does not count any more."""
        self.labels, self.author = labels, author if labels else ""
        if not self.accepted:
            self.rejected, self.review, self.check = False, None, None


@dataclass(eq=False)
class Acceptance:
    """One acceptance of a team task: a part of the results is judged, then all of them are passed or sent back.

    :param wanted: how many copies are drawn, given how many await acceptance.
    :param rate: which share of them was asked for; None: a number was.
    :param candidates: keys of the copies that awaited acceptance when the draw was made.
    :param action: how it was finished; None: not yet.
    :param counts: what was judged, and how; kept for the report, since copies are labeled and drawn again.
    """

    task_id: str
    wanted: Callable[[int], int]
    rate: float | None
    candidates: list[tuple[str, str]] = field(default_factory=list)
    action: int | None = None
    overwrite: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def stats(self) -> dict[str, Any]:
        """Return CheckTaskStats (contract 5.2)."""
        asked = {} if self.rate is None else {"sampling_rate": self.rate}
        return {"task_id": self.task_id, **check_stats(self.counts), **asked}


@dataclass(eq=False)
class TeamTask:
    """One team labeling task.

    :param workers: e-mail address of each labeler by worker id: those who have copies.
    :param copies: by sample id and worker id.
    :param reviewers: e-mail address of each reviewer by worker id.
    :param agency: e-mail address of the manager who starts it, and `manager_id` the id.
    :param teams: names and members of its teams by id, as `workforces_config` shows them.
    :param options: flags of the request that created it, as they are served.
    :param conditions: the search conditions of its samples, as they are served.
    :param wants: whether a sample belongs to it; None: all do.
    :param proposed: proposed labels that members see, by sample id (contract 5.1, "auto-label").
    :param left: like `workers`, those who are not in it any more.
    :param deleted: how many copies went with samples that were deleted.
    :param due: epoch seconds at which a passing status ends; None: it does not pass.
    :param mailed: epoch seconds of the last mail by address.
    """

    task_id: str
    name: str
    created: float
    workers: dict[str, str]
    copies: dict[tuple[str, str], Copy]
    reviewers: dict[str, str] = field(default_factory=dict)
    agency: str = ""
    manager_id: str = ""
    teams: dict[str, tuple[str, list[dict[str, Any]]]] = field(default_factory=dict)
    description: str = ""
    repetition: int = 1
    options: dict[str, bool] = field(default_factory=OPTIONS.copy)
    conditions: list[dict[str, Any]] = field(default_factory=list)
    wants: Callable[[str], bool] | None = None
    proposed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    status: int = RUNNING
    due: float | None = None
    updated: float = 0.0
    acceptances: list[Acceptance] = field(default_factory=list)
    mailed: dict[str, float] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    deleted: int = 0

    @property
    def is_judged(self) -> bool:
        """Whether an acceptance has begun, or the owner has accepted a copy."""
        return bool(self.acceptances) or any(copy.accepted for copy in self.copies.values())

    def email_of(self, worker_id: str) -> str:
        """Return the address of a labeler, also of one who left the task."""
        return self.workers.get(worker_id) or self.left.get(worker_id, "")

    def roles_of(self, email: str) -> list[tuple[int, str]]:
        """Return role and worker id of somebody in this task, for each role."""
        people = ((LABELER, self.workers), (REVIEWER, self.reviewers))
        found = [(role, one) for role, group in people for one, address in group.items() if address == email]
        return [*found, *([(MANAGER, self.manager_id)] if email and email == self.agency else [])]

    def pass_through(self, status: int, now: float, seconds: float) -> None:
        """Enter a status that passes by itself."""
        self.status, self.due, self.updated = status, now + seconds, now

    def total_stats(self) -> dict[str, Any]:
        """Return CheckTaskStats of all acceptances together."""
        return check_stats(sum((one.counts for one in self.acceptances), Counter()))

    def of(self, worker_id: str | None) -> list[Copy]:
        """Return the copies of one member, or all."""
        return [copy for copy in self.copies.values() if worker_id in (None, copy.worker_id)]

    def phase(self, copy: Copy) -> str:
        """Return how far a copy is, by the words of the statistics (contract 5.2)."""
        if copy.accepted:
            return "accepted"
        if copy.rejected:
            return "rejected"
        if not copy.labels:
            return "auto_annotation" if copy.sample_id in self.proposed else "un_annotation"
        if self.reviewers and copy.review is None:
            return "unreviewed"
        return "uncheck"

    def is_in_state(self, copy: Copy, state: str) -> bool:
        """Whether a copy is in a state of contract 6.4.

        :param state: in lower case; empty: any.
        """
        return STATES[state](self, copy)

    def counts(self, copies: Iterable[Copy]) -> Counter[str]:
        """Return how many copies are how far, "sampled" beside it."""
        chosen = list(copies)
        found = Counter(map(self.phase, chosen))
        found["sampled"] = sum(copy.is_sampled for copy in chosen)
        found["total"] = len(chosen)
        return found

    def distribute(self, sample_ids: Iterable[str]) -> None:
        """Give each sample to `repetition` labelers, in turns."""
        labelers = list(self.workers)
        share = min(self.repetition, len(labelers))
        place = len(self.copies)
        for sample_id in sample_ids:
            for worker_id in (labelers[(place + number) % len(labelers)] for number in range(share)):
                self.copies[sample_id, worker_id] = Copy(sample_id, worker_id)
            place += share

    def hand_on(self, proposals: Iterable[dict[str, Any]], since: float) -> None:
        """Show proposals to the members (contract 5.1, "auto-label").

        :param since: when the labeling task that made them was started; the team task must be there by then.
        """
        if self.options["synchronize_auto_labeling_data"] and self.created <= since:
            self.proposed |= {document["sample_id"]: document["labels"] for document in proposals}

    def judge(self, copy: Copy, verdict: Verdict) -> None:
        """Note what the owner says of a sampled copy in the acceptance that runs."""
        copy.check = verdict
        self._count()

    def cancel(self) -> None:
        """End the acceptance that runs without any effect; people go on as before."""
        for copy in self.copies.values():
            copy.is_sampled, copy.check = False, None
        self.status = RUNNING

    def _count(self) -> None:
        sampled = [copy for copy in self.copies.values() if copy.is_sampled]
        checks = [copy.check for copy in sampled if copy.check is not None]
        self.acceptances[-1].counts = Counter(
            total=len(self.acceptances[-1].candidates),
            sampled=len(sampled),
            checked=len(checks),
            unchecked=len(sampled) - len(checks),
            accepted=sum(check.accept for check in checks),
            rejected=sum(not check.accept for check in checks),
            graded=sum(bool(check.score) for check in checks),
            points=sum(GRADES.get(check.score, 0) for check in checks),
        )

    def draw(self, seed: int) -> None:
        """Draw copies that await acceptance, by the seed."""
        acceptance = self.acceptances[-1]
        waiting = [key for key, copy in self.copies.items() if self.phase(copy) == "uncheck"]
        acceptance.candidates = waiting
        drawn = sorted(waiting, key=lambda key: ids.hex_id(seed, "draw", acceptance.task_id, *key))
        for copy in self.copies.values():
            copy.is_sampled, copy.check = False, None
        for key in drawn[: acceptance.wanted(len(waiting))]:
            self.copies[key].is_sampled = True
        self._count()


def check_stats(counts: Counter[str]) -> dict[str, Any]:
    """Return CheckTaskStats (contract 5.2) of counted verdicts.

    The score is the mean of the grades that were given, or E, as in the example, while there are none.
    """
    words = ("total", "sampled", "unchecked", "checked", "accepted", "rejected")
    grades = {points: grade for grade, points in GRADES.items()}
    return {
        "sampling_rate": counts["sampled"] / counts["total"] if counts["total"] else 0.0,
        "sampling_num": counts["sampled"],
        "pass_rate": counts["accepted"] / counts["checked"] if counts["checked"] else 0.0,
        "score": grades[round(counts["points"] / counts["graded"])] if counts["graded"] else "E",
        "total_score": counts["points"],
        **{f"{word}_sample_count": counts[word] for word in words},
    }


def _is_checked(copy: Copy, accept: bool | None) -> bool:
    return copy.is_sampled and (copy.check.accept if copy.check else None) is accept


# Contract 6.4, in lower case.
STATES: dict[str, Callable[[TeamTask, Copy], bool]] = {
    "": lambda _, __: True,
    "__all__": lambda _, copy: bool(copy.labels),
    "__none__": lambda task, copy: task.phase(copy) == "un_annotation",
    "__auto_annotation__": lambda task, copy: task.phase(copy) == "auto_annotation",
    "__unreviewed__": lambda task, copy: task.phase(copy) == "unreviewed",
    "__reviewed__": lambda _, copy: copy.review is not None and copy.review.accept,
    "__uncheck__": lambda task, copy: task.phase(copy) == "uncheck",
    "__accepted__": lambda _, copy: copy.accepted,
    "__rejected__": lambda _, copy: copy.rejected,
    "__workforce_sampled__": lambda _, copy: copy.is_sampled,
    "__workforce_sampled_uncheck__": lambda _, copy: _is_checked(copy, None),
    "__workforce_sampled_checked__": lambda _, copy: copy.is_sampled and copy.check is not None,
    "__workforce_sampled_accepted__": lambda _, copy: _is_checked(copy, True),
    "__workforce_sampled_rejected__": lambda _, copy: _is_checked(copy, False),
}
