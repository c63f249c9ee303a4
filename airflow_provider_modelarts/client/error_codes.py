"""Which exception a code of the service or of IAM stands for, and what the user can do (contract 7).

Codes decide, never texts: those change and are localized. The same number may mean different things at different HTTP
statuses, so rows are keyed on both.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_provider_modelarts.client.errors import (
    AuthenticationError,
    DatasetBusy,
    InvalidRequest,
    ModelArtsError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ServiceUnavailable,
    TaskAlreadyRunning,
    Throttled,
    UnexpectedResponse,
)


class ErrorRule(NamedTuple):
    """What an answer means: which exception, and what the user can do."""

    error: type[ModelArtsError]
    advice: str = ""


_CHECK_DATASET = "Check dataset_id, and that project_id and region are those of the dataset."
_CHECK_TASK = "Check the labeling task's id; tasks of other datasets are not found either."
_CHECK_CLOCK = "Check the credential, and that this machine's clock is right to 15 minutes."
_WRONG_TYPE = (
    "This type of dataset does not allow it. Labeling by machine takes image classification or object detection."
)
_RUNNING = "Wait for the running labeling task, adopt it, or stop it."
_BUSY = "Try again when the dataset's status is normal."
_QUOTA = "Free or raise the quota."
_AGENCY = "Renew the ModelArts agency and its OBS permission in the console."
_REGION_PROJECT = "Check that project_id and region are those of the credential."

# HTTP status (None for any), codes, exception, advice; contract 7.2, 7.3.
_ROWS: tuple[tuple[int | None, str, type[ModelArtsError], str], ...] = (
    # unknown objects, reported as 400
    (400, "ModelArts.0102 ModelArts.7005", NotFound, "Check the workspace."),
    (400, "ModelArts.4301 ModelArts.4612 ModelArts.4700 ModelArts.4801", NotFound, _CHECK_TASK),
    (400, "ModelArts.4338 ModelArts.4352", NotFound, _CHECK_DATASET),
    (400, "ModelArts.4353", NotFound, "Check the version."),
    (400, "ModelArts.4359", NotFound, "Check the export task's id."),
    (400, "ModelArts.4410", NotFound, "Add the label to the dataset first, or correct its name."),
    (400, "ModelArts.4420", NotFound, "The sample may have been deleted: list the samples again."),
    (400, "ModelArts.4601", NotFound, "Check the team."),
    (400, "ModelArts.4604", NotFound, "Check the team member's e-mail address and worker_id."),
    (400, "ModelArts.4619 ModelArts.4631 ModelArts.4636", NotFound, "Check workforce_task_id."),
    # names that are taken
    (400, "ModelArts.4602", InvalidRequest, "Choose another name for the team."),
    (400, "ModelArts.4605", InvalidRequest, "The address belongs to a member already: list the members."),
    (400, "ModelArts.4620", InvalidRequest, "Choose another name for the team task."),
    # a labeling task is there already; 501 here means "conflict"
    (501, "ModelArts.4385 ModelArts.4386 ModelArts.4387", TaskAlreadyRunning, _RUNNING),
    (400, "ModelArts.4409", TaskAlreadyRunning, _RUNNING),
    (None, "ModelArts.4964", TaskAlreadyRunning, _RUNNING),
    # the dataset does not meet the conditions of contract 8.1
    (501, "ModelArts.4383", PreconditionFailed, _WRONG_TYPE),
    (400, "ModelArts.4399", PreconditionFailed, "Choose a model that fits the dataset's type."),
    (400, "ModelArts.4405", PreconditionFailed, "Label images first: at least two labels, five images each."),
    (400, "ModelArts.4406", PreconditionFailed, "Label at least five images for each label."),
    (400, "ModelArts.4407", PreconditionFailed, "Add unlabeled images: there is nothing left to label."),
    (400, "ModelArts.4408", PreconditionFailed, "Use rectangles (bndbox) only."),
    (400, "ModelArts.4365", PreconditionFailed, "Add labels to the dataset first."),
    (403, "ModelArts.4803", PreconditionFailed, "Stop the labeling tasks of the dataset, or wait for their end."),
    (400, "ModelArts.4344", PreconditionFailed, "The dataset is being deleted."),
    (400, "ModelArts.4622", PreconditionFailed, "Choose n_clusters below the number of samples."),
    (400, "ModelArts.4820", PreconditionFailed, ""),
    (401, "ModelArts.4826", PreconditionFailed, "Move the data to a bucket without KMS encryption."),
    (400, "ModelArts.4603", PreconditionFailed, "End or delete the team tasks that the team works on first."),
    (400, "ModelArts.4617", PreconditionFailed, "Give the present manager another role first."),
    (400, "ModelArts.4618", PreconditionFailed, "Another member, or the owner, can do so."),
    (400, "ModelArts.4621", PreconditionFailed, "Check its status, and that its teams have labelers."),
    (400, "ModelArts.4624", PreconditionFailed, "Begin an acceptance first."),
    (400, "ModelArts.4625", PreconditionFailed, "Wait until members have labeled, and reviewers have reviewed."),
    (400, "ModelArts.4628", PreconditionFailed, "Wait until the member's work has been done and accepted."),
    (400, "ModelArts.4822", PreconditionFailed, "Add labelers, or let fewer label each sample."),
    (500, "ModelArts.4614", PreconditionFailed, "The labeling task failed and has no result."),
    # quota: a retry does not help
    (None, "ModelArts.0116 ModelArts.0118 ModelArts.4354 ModelArts.4714", PreconditionFailed, _QUOTA),
    # busy: the same call will do later
    (400, "ModelArts.4343 ModelArts.4349 ModelArts.4355 ModelArts.4356", DatasetBusy, _BUSY),
    (400, "ModelArts.4381 ModelArts.4615 ModelArts.4616 ModelArts.4712", DatasetBusy, _BUSY),
    (400, "ModelArts.4370", DatasetBusy, "One version a minute: try again in a minute."),
    (501, "ModelArts.4394", DatasetBusy, _BUSY),
    (403, "ModelArts.4613", DatasetBusy, "Wait until the labeling task has finished."),
    (400, "ModelArts.4623", DatasetBusy, "Wait until the running acceptance has finished."),
    (403, "ModelArts.4821", DatasetBusy, _BUSY),
    (500, "ModelArts.7008", DatasetBusy, "The workspace is read-only for now: try again later."),
    # storage behind the service
    (400, "ModelArts.1002 ModelArts.4314", ServiceUnavailable, "OBS did not answer ModelArts: try again later."),
    (400, "ModelArts.1003", PermissionDenied, _AGENCY),
    (403, "ModelArts.4310 ModelArts.4335", PermissionDenied, _AGENCY),
    # who one is, and what one may
    (400, "ModelArts.0204", AuthenticationError, "Use a token scoped to the project."),
    (401, "ModelArts.0212", AuthenticationError, "Use a token scoped to the project."),
    (400, "ModelArts.0210", PermissionDenied, _REGION_PROJECT),
    (403, "ModelArts.0210", PermissionDenied, _REGION_PROJECT),
    (None, "ModelArts.0112", PermissionDenied, "Ask for a policy that allows the call."),
    (400, "ModelArts.4106", PermissionDenied, "The account is restricted."),
    (403, "ModelArts.4116", PermissionDenied, "The account is in arrears: pay its bill."),
    (403, "ModelArts.4118", PermissionDenied, "The account is suspended."),
    (403, "ModelArts.4600", PermissionDenied, "The team member's role does not allow this."),
    (401, "ModelArts.4901 ModelArts.4961", PermissionDenied, _AGENCY),
    (401, "ModelArts.4626 ModelArts.4629 ModelArts.4630 ModelArts.4632 ModelArts.4804", PermissionDenied, ""),
    (401, "IAM.0061", AuthenticationError, "The user is locked: wait or ask the account's administrator."),
    (403, "IAM.0082", PermissionDenied, "The user is disabled."),
    (403, "IAM.0081", PermissionDenied, "Allow programmatic access for the user."),
    # the gateway; its prefix is APIGW or APIG
    (404, "APIGW.0101", InvalidRequest, "Check endpoint and region: no such API there."),
    (None, "APIGW.0103", InvalidRequest, "Check endpoint and region: no such API there."),
    (401, "APIGW.0307", AuthenticationError, "Check that the region of the endpoint is the project's."),
    (401, "APIGW.0301", AuthenticationError, _CHECK_CLOCK),
    (403, "APIGW.0310", PermissionDenied, _REGION_PROJECT),
    (405, "APIGW.0501", PermissionDenied, _QUOTA),
    (405, "APIGW.0502", PermissionDenied, ""),
    (None, "APIGW.0308 ModelArts.4206 ModelArts.4395", Throttled, ""),
    (400, "ModelArts.4627", Throttled, "Mails were requested too often."),
)
CODES = {(status, code): ErrorRule(error, advice) for status, codes, error, advice in _ROWS for code in codes.split()}

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
    503: ErrorRule(ServiceUnavailable),  # as all from 500 on that are not listed; they are repeated, see transport.py
}

# Codes that one sample of a request causes (contract 7.3); the others may be carried out without it.
SAMPLE_FAULTS = frozenset({"4105", "0104", "4420", "4423"})

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
            "4427 4428 4429 4430 4637 4651 4656 4710 4711 4800 "
            "4823 4824 4825 4827 4828 4907 4909 4911 4913 4915 4917 4921 4927 4929 4934 4951 4953 4963 4991 "
            "4992 4999"
        ),
    ),
    (401, "ModelArts", "0201 0202 0203 0205 0207 0208 4117 4119 4127 4201 4504"),
    (403, "ModelArts", "0108 0206 4102 4336 4419"),
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
