"""What can go wrong when talking to ModelArts and IAM: the exception tree, and the table from codes to exceptions.

Codes decide, never texts: those change and are localized (contract 7.1). The same number may mean different things
at different HTTP statuses, so rows are keyed on both.
"""

# ruff: noqa: N818 - the public names are words of the service, not all of them end in Error

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from airflow_provider_modelarts.client.redaction import storable

# 408 is no refusal: whoever answers so has waited in vain for the service, which may well have got the request
_GIVEN_UP = 408

_DETAILS = ("status", "code", "request_id", "method", "path", "retry_after", "sent")


class ModelArtsError(Exception):
    """Something between us and the service went wrong; ``str()`` is one line with all that is known.

    :param message: what happened, to what, and what to do next; white space is folded into one line
    :param status: HTTP status of the answer; None if there was no answer
    :param code: the service's own code, for example ``ModelArts.4352``
    :param request_id: id under which the service's support finds the request
    :param method: HTTP method of the request
    :param path: path of the request, without query
    :param retry_after: seconds the service asked to wait
    :param sent: False if the request certainly never reached the service
    """

    permanent: ClassVar[bool] = True
    """True if repeating the same request cannot help."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        method: str | None = None,
        path: str | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        self.message = storable(" ".join(message.split()))
        super().__init__(self.message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.method = method
        self.path = path
        self.retry_after = retry_after
        self.sent = sent

    def __str__(self) -> str:
        facts = [
            self.code,
            f"HTTP {self.status}" if self.status else None,
            f"request id {self.request_id}" if self.request_id else None,
            f"{self.method} {self.path}" if self.method and self.path else None,
        ]
        known = ", ".join(fact for fact in facts if fact)
        return " ".join((f"{self.message} ({known})" if known else self.message).split())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details())

    def details(self) -> dict[str, Any]:
        """Return everything but the message as keyword arguments of the constructor; JSON primitives only."""
        return {name: getattr(self, name) for name in _DETAILS}

    def add(self, sentence: str) -> None:
        """Say one thing more in the message.

        :param sentence: what became known after the error was raised
        """
        self.message = " ".join(f"{self.message} {sentence}".split())
        self.args = (self.message,)

    @property
    def certainly_not_executed(self) -> bool:
        """Whether the service certainly did not carry the request out.

        True without a connection, for throttled calls, and for refusals, local ones included, whatever their status
        (a quota is refused with 500); false as soon as the request may have been carried out although its
        answer was bad or lost (contract 7.4).
        """
        if not self.sent or isinstance(self, _REFUSALS):
            return True
        if not isinstance(self, ForeignAnswer) or self.status is None or self.status == _GIVEN_UP:
            return False
        return 400 <= self.status < 500


def _rebuild(cls: type[ModelArtsError], message: str, details: dict[str, Any]) -> ModelArtsError:
    return cls(message, **details)


class AuthenticationError(ModelArtsError):
    """User, password, key or token were refused; the same credential is not sent again."""


class PermissionDenied(ModelArtsError):
    """The credential is good, but may not do this."""


class NotFound(ModelArtsError):
    """The service does not know the dataset, labeling task, sample, label or team named."""


class InvalidRequest(ModelArtsError):
    """The request is wrong in itself; without ``status`` it was refused before anything was sent."""


class TaskAlreadyRunning(ModelArtsError):
    """A labeling task of this kind is already active on the dataset."""

    permanent = False


class PreconditionFailed(ModelArtsError):
    """The dataset is not in a shape that allows the call, for example too few labeled images (contract 8.1)."""


class DatasetBusy(ModelArtsError):
    """The dataset is being published, imported, synchronized or switched; later the same call will do."""

    permanent = False


class Throttled(ModelArtsError):
    """Too many requests; this one was not carried out."""

    permanent = False


class ServiceUnavailable(ModelArtsError):
    """No connection, no answer in time, or an answer that says that the service is down."""

    permanent = False


class UnexpectedResponse(ModelArtsError):
    """An answer that is not what the contract promises: a proxy's page, cut-off JSON, a redirect."""

    permanent = False


class ForeignAnswer(UnexpectedResponse):
    """An answer that does not come from the service at all: a redirect, or a page for people."""


class StartUnknown(ModelArtsError):
    """The reply to a start was lost: a labeling task may or may not have been started. It is never sent twice."""

    permanent = False


class LabelTaskFailed(ModelArtsError):
    """The labeling task ended as failed."""

    permanent = False


class LabelTaskStopped(ModelArtsError):
    """The labeling task was stopped by somebody."""

    permanent = False


class LabelTaskTimeout(ModelArtsError):
    """The labeling task was not over at the deadline."""

    permanent = False


class ConfirmationError(ModelArtsError):
    """Not every label that was to be confirmed is confirmed."""

    permanent = False


_REFUSALS = (
    AuthenticationError,
    PermissionDenied,
    NotFound,
    InvalidRequest,
    TaskAlreadyRunning,
    PreconditionFailed,
    DatasetBusy,
    Throttled,
)


class ErrorRule(NamedTuple):
    """A row of the code table: which exception, and what the user can do."""

    error: type[ModelArtsError]
    advice: str = ""


_CHECK_DATASET = "Check dataset_id, and that project_id and region are those of the dataset."
_CHECK_TASK = "Check the labeling task's id; tasks of other datasets are not found either."
_BUSY = "Try again when the dataset's status is normal."
_QUOTA = "Free or raise the quota."
_AGENCY = "Renew the ModelArts agency and its OBS permission in the console."
_REGION_PROJECT = "Check that project_id and region are those of the credential."
_RUNNING = "Wait for the running labeling task, adopt it, or stop it."

# (HTTP status or None for any, code without its variable prefix) -> what it means; contract 7.2, 7.3.
CODES: dict[tuple[int | None, str], ErrorRule] = {
    # unknown objects, reported as 400
    (400, "ModelArts.0102"): ErrorRule(NotFound, "Check the workspace."),
    (400, "ModelArts.4301"): ErrorRule(NotFound, _CHECK_TASK),
    (400, "ModelArts.4338"): ErrorRule(NotFound, _CHECK_DATASET),
    (400, "ModelArts.4352"): ErrorRule(NotFound, _CHECK_DATASET),
    (400, "ModelArts.4353"): ErrorRule(NotFound, "Check the version."),
    (400, "ModelArts.4359"): ErrorRule(NotFound, "Check the export task's id."),
    (400, "ModelArts.4410"): ErrorRule(NotFound, "Add the label to the dataset first, or correct its name."),
    (400, "ModelArts.4420"): ErrorRule(NotFound, "The sample may have been deleted: list the samples again."),
    (400, "ModelArts.4601"): ErrorRule(NotFound, "Check the team."),
    (400, "ModelArts.4604"): ErrorRule(NotFound, "Check the team member's e-mail address and worker_id."),
    (400, "ModelArts.4612"): ErrorRule(NotFound, _CHECK_TASK),
    (400, "ModelArts.4619"): ErrorRule(NotFound, "Check workforce_task_id."),
    (400, "ModelArts.4631"): ErrorRule(NotFound, "Check workforce_task_id."),
    (400, "ModelArts.4636"): ErrorRule(NotFound, "Check workforce_task_id."),
    (400, "ModelArts.4700"): ErrorRule(NotFound, _CHECK_TASK),
    (400, "ModelArts.4801"): ErrorRule(NotFound, _CHECK_TASK),
    (400, "ModelArts.7005"): ErrorRule(NotFound, "Check the workspace."),
    # a labeling task is there already; 501 here means "conflict"
    (501, "ModelArts.4385"): ErrorRule(TaskAlreadyRunning, _RUNNING),
    (501, "ModelArts.4386"): ErrorRule(TaskAlreadyRunning, _RUNNING),
    (501, "ModelArts.4387"): ErrorRule(TaskAlreadyRunning, _RUNNING),
    (400, "ModelArts.4409"): ErrorRule(TaskAlreadyRunning, _RUNNING),
    (None, "ModelArts.4964"): ErrorRule(TaskAlreadyRunning, _RUNNING),
    # the dataset does not meet the conditions of contract 8.1
    (501, "ModelArts.4383"): ErrorRule(PreconditionFailed, "Use an image classification or object detection dataset."),
    (400, "ModelArts.4399"): ErrorRule(PreconditionFailed, "Choose a model that fits the dataset's type."),
    (400, "ModelArts.4405"): ErrorRule(
        PreconditionFailed, "Label images first: at least two labels, five images each."
    ),
    (400, "ModelArts.4406"): ErrorRule(PreconditionFailed, "Label at least five images for each label."),
    (400, "ModelArts.4407"): ErrorRule(PreconditionFailed, "Add unlabeled images: there is nothing left to label."),
    (400, "ModelArts.4408"): ErrorRule(PreconditionFailed, "Use rectangles (bndbox) only."),
    (400, "ModelArts.4365"): ErrorRule(PreconditionFailed, "Add labels to the dataset first."),
    (400, "ModelArts.4344"): ErrorRule(PreconditionFailed, "The dataset is being deleted."),
    (400, "ModelArts.4622"): ErrorRule(PreconditionFailed, "Choose n_clusters below the number of samples."),
    (400, "ModelArts.4820"): ErrorRule(PreconditionFailed),
    (401, "ModelArts.4826"): ErrorRule(PreconditionFailed, "Move the data to a bucket without KMS encryption."),
    (500, "ModelArts.4614"): ErrorRule(PreconditionFailed, "The labeling task failed and has no result."),
    # quota: a retry does not help
    (None, "ModelArts.0116"): ErrorRule(PreconditionFailed, _QUOTA),
    (None, "ModelArts.0118"): ErrorRule(PreconditionFailed, _QUOTA),
    (None, "ModelArts.4354"): ErrorRule(PreconditionFailed, _QUOTA),
    (None, "ModelArts.4714"): ErrorRule(PreconditionFailed, _QUOTA),
    # busy: the same call will do later
    (400, "ModelArts.4343"): ErrorRule(DatasetBusy, _BUSY),
    (400, "ModelArts.4349"): ErrorRule(DatasetBusy, _BUSY),
    (400, "ModelArts.4355"): ErrorRule(DatasetBusy, _BUSY),
    (400, "ModelArts.4356"): ErrorRule(DatasetBusy, _BUSY),
    (400, "ModelArts.4370"): ErrorRule(DatasetBusy, "One version a minute: try again in a minute."),
    (400, "ModelArts.4381"): ErrorRule(DatasetBusy, _BUSY),
    (501, "ModelArts.4394"): ErrorRule(DatasetBusy, _BUSY),
    (403, "ModelArts.4613"): ErrorRule(DatasetBusy, "Wait until the labeling task has finished."),
    (400, "ModelArts.4615"): ErrorRule(DatasetBusy, _BUSY),
    (400, "ModelArts.4616"): ErrorRule(DatasetBusy, _BUSY),
    (400, "ModelArts.4623"): ErrorRule(DatasetBusy, "Wait until the running acceptance has finished."),
    (400, "ModelArts.4712"): ErrorRule(DatasetBusy, _BUSY),
    (403, "ModelArts.4821"): ErrorRule(DatasetBusy, _BUSY),
    (500, "ModelArts.7008"): ErrorRule(DatasetBusy, "The workspace is read-only for now: try again later."),
    # storage behind the service
    (400, "ModelArts.1002"): ErrorRule(ServiceUnavailable, "OBS did not answer ModelArts: try again later."),
    (400, "ModelArts.4314"): ErrorRule(ServiceUnavailable, "OBS did not answer ModelArts: try again later."),
    (400, "ModelArts.1003"): ErrorRule(PermissionDenied, _AGENCY),
    (403, "ModelArts.4310"): ErrorRule(PermissionDenied, _AGENCY),
    (403, "ModelArts.4335"): ErrorRule(PermissionDenied, _AGENCY),
    # who one is, and what one may
    (400, "ModelArts.0204"): ErrorRule(AuthenticationError, "Use a token scoped to the project."),
    (401, "ModelArts.0212"): ErrorRule(AuthenticationError, "Use a token scoped to the project."),
    (400, "ModelArts.0210"): ErrorRule(PermissionDenied, _REGION_PROJECT),
    (403, "ModelArts.0210"): ErrorRule(PermissionDenied, _REGION_PROJECT),
    (None, "ModelArts.0112"): ErrorRule(PermissionDenied, "Ask for a policy that allows the call."),
    (400, "ModelArts.4106"): ErrorRule(PermissionDenied, "The account is restricted."),
    (403, "ModelArts.4116"): ErrorRule(PermissionDenied, "The account is in arrears: pay its bill."),
    (403, "ModelArts.4118"): ErrorRule(PermissionDenied, "The account is suspended."),
    (403, "ModelArts.4600"): ErrorRule(PermissionDenied, "The team member's role does not allow this."),
    (401, "ModelArts.4901"): ErrorRule(PermissionDenied, _AGENCY),
    (401, "ModelArts.4961"): ErrorRule(PermissionDenied, _AGENCY),
    (401, "ModelArts.4626"): ErrorRule(PermissionDenied),
    (401, "ModelArts.4629"): ErrorRule(PermissionDenied),
    (401, "ModelArts.4630"): ErrorRule(PermissionDenied),
    (401, "ModelArts.4632"): ErrorRule(PermissionDenied),
    (401, "ModelArts.4804"): ErrorRule(PermissionDenied),
    (401, "IAM.0061"): ErrorRule(AuthenticationError, "The user is locked: wait or ask the account's administrator."),
    (403, "IAM.0082"): ErrorRule(PermissionDenied, "The user is disabled."),
    (403, "IAM.0081"): ErrorRule(PermissionDenied, "Allow programmatic access for the user."),
    # the gateway; its prefix is APIGW or APIG
    (404, "APIGW.0101"): ErrorRule(InvalidRequest, "Check endpoint and region: no such API there."),
    (None, "APIGW.0103"): ErrorRule(InvalidRequest, "Check endpoint and region: no such API there."),
    (401, "APIGW.0307"): ErrorRule(AuthenticationError, "Check that the region of the endpoint is the project's."),
    (401, "APIGW.0301"): ErrorRule(
        AuthenticationError, "Check the credential, and that this machine's clock is right to 15 minutes."
    ),
    (403, "APIGW.0310"): ErrorRule(PermissionDenied, _REGION_PROJECT),
    (405, "APIGW.0501"): ErrorRule(PermissionDenied, _QUOTA),
    (405, "APIGW.0502"): ErrorRule(PermissionDenied),
    (None, "APIGW.0308"): ErrorRule(Throttled),
    (None, "ModelArts.4206"): ErrorRule(Throttled),
    (None, "ModelArts.4395"): ErrorRule(Throttled),
    (400, "ModelArts.4627"): ErrorRule(Throttled, "Mails were requested too often."),
}

# What a status means when its code is in no row.
STATUSES: dict[int, ErrorRule] = {
    400: ErrorRule(InvalidRequest),
    401: ErrorRule(AuthenticationError, "Check the credential: user, password and account, or key, or token."),
    403: ErrorRule(PermissionDenied, "Check the permissions of the user and its project."),
    404: ErrorRule(NotFound, "Check the ids, and that endpoint and region are right."),
    407: ErrorRule(InvalidRequest, "The proxy wants credentials: put them into the proxy's address."),
    408: ErrorRule(ServiceUnavailable),
    413: ErrorRule(InvalidRequest, "Send less at once: a body may have 12 MB."),
    414: ErrorRule(InvalidRequest, "Shorten the search conditions: an address may have 32 KB."),
    429: ErrorRule(Throttled, "Send fewer requests at once."),
    501: ErrorRule(PreconditionFailed),
}

# Codes after which a new token may help, once; contract 7.3 "token". IAM's own two are those of 1.1.
TOKEN_CODES = frozenset(
    {
        *(f"ModelArts.{number}" for number in ("0202", "0203", "0207", "4127", "4504")),
        *("APIGW.0301", "APIGW.0307", "IAM.0066", "IAM.0067"),
    }
)


# Statuses at which the documents list codes that are in no row above: contract 7.2, 7.3, 1.1. A code that comes with
# HTTP 200 says by this what it means. 4205 is left out: it stands for a bad request and for a slow backend.
_LISTED: tuple[tuple[int, str, str], ...] = (
    (
        400,
        "ModelArts",
        (
            "0101 0104 0107 4105 4111 4200 4202 4311 4312 4313 4315 4316 4340 4342 4350 4351 4357 4358 4361 4362 "
            "4364 4371 4374 4384 4391 4392 4393 4396 4398 4411 4412 4413 4414 4415 4416 4417 4421 4422 4423 4426 "
            "4427 4428 4429 4430 4602 4603 4605 4617 4618 4620 4621 4624 4625 4628 4637 4651 4656 4710 4711 4800 "
            "4822 4823 4824 4825 4827 4828 4907 4909 4911 4913 4915 4917 4921 4927 4929 4934 4951 4953 4963 4991 "
            "4992 4999"
        ),
    ),
    (401, "ModelArts", "0201 0202 0203 0205 0207 0208 4117 4119 4127 4201 4504"),
    (403, "ModelArts", "0108 0206 4102 4336 4419 4803"),
    (404, "ModelArts", "0015"),
    (413, "ModelArts", "4104"),
    (500, "ModelArts", "0010 4302 4360 4367 4424 4503 4505"),
    (200, "ModelArts", "4606 4900 4902 4904 4910 4912 4914 4916 4918 4920 4926 4950 4952 4960 4962 4996"),
    (400, "APIGW", "0106 0602"),
    (401, "APIGW", "0303 0305"),
    (403, "APIGW", "0302 0304 0306 0401 0402 0404 0802"),
    (500, "APIGW", "0201 0601 0610 0613"),
    (400, "IAM", "0011"),
    (401, "IAM", "0001 0062 0066 0067 1105 1107 1108"),
    (403, "IAM", "0002 0003"),
    (404, "IAM", "0004"),
    (429, "IAM", "0012"),
    (500, "IAM", "0006"),
)
_STATUS_OF: dict[str, int] = {f"{prefix}.{number}": at for at, prefix, all_ in _LISTED for number in all_.split()} | {
    code: at for at, code in CODES if at is not None
}


def normalized_code(code: str | None) -> str | None:
    """Return a code with the one prefix that the tables use, so that ``APIG.0301`` equals ``APIGW.0301``."""
    if code and code.startswith("APIG."):
        return "APIGW." + code.removeprefix("APIG.")
    return code


def rule_for(status: int, code: str | None) -> ErrorRule:
    """Return the row for an answer.

    :param status: HTTP status; for a success the one at which the documents list the code stands in
    :param code: the service's code; None if it sent none
    :return: the row of the pair, else of the code at any status, else of the status
    """
    known = normalized_code(code) or ""
    if 200 <= status < 300:
        status = _STATUS_OF.get(known, status)
    for key in ((status, known), (None, known)):
        if key in CODES:
            return CODES[key]
    if status in STATUSES:
        return STATUSES[status]
    return ErrorRule(ServiceUnavailable if status >= 500 else InvalidRequest if status >= 400 else UnexpectedResponse)


def is_progress(code: str | None) -> bool:
    """Whether a code says how far something is, and that nothing is wrong (contract 7.3, "progress")."""
    return _STATUS_OF.get(code or "") == 200


def is_token_error(status: int | None, code: str | None) -> bool:
    """Whether a new token may help: a token code, or a 401 that carries no code at all (contract 7.3)."""
    if status == 401 and not code:
        return True
    is_possible = status is not None and (status in (401, 403) or 200 <= status < 300)
    return is_possible and normalized_code(code) in TOKEN_CODES


ERRORS: dict[str, type[ModelArtsError]] = {
    cls.__name__: cls
    for cls in (
        ModelArtsError,
        AuthenticationError,
        PermissionDenied,
        NotFound,
        InvalidRequest,
        TaskAlreadyRunning,
        PreconditionFailed,
        DatasetBusy,
        Throttled,
        ServiceUnavailable,
        UnexpectedResponse,
        ForeignAnswer,
        StartUnknown,
        LabelTaskFailed,
        LabelTaskStopped,
        LabelTaskTimeout,
        ConfirmationError,
    )
}
