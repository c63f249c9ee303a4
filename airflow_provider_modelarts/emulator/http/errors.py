"""The refusals that the emulator knows, as a table: code, HTTP status, text."""

from __future__ import annotations

from airflow_provider_modelarts.emulator.http.messages import Refusal

# Status of each code: contract 7.2 and 7.3 and the code list of modelarts-openapi.yaml.
SERVICE: dict[str, tuple[int, str]] = {
    "0104": (400, "Parameter error."),
    "0108": (403, "No permission."),
    "0210": (403, "The project in the URL differs from the project of the token."),
    "0212": (401, "The token carries no project."),
    "4104": (413, "The request body is too large."),
    "4301": (400, "The labeling job does not exist or was stopped."),
    "4352": (400, "The dataset does not exist."),
    "4353": (400, "The dataset version does not exist."),
    "4381": (400, "The dataset is being published and cannot be labeled."),
    "4383": (501, "The operation is not available for this type of dataset."),
    "4386": (501, "An auto-label task is already running."),
    "4387": (501, "A pre-label task is already running."),
    "4399": (400, "The model does not fit the type of the dataset."),
    "4405": (400, "Auto labeling needs labeled samples of at least two labels."),
    "4406": (400, "Auto labeling needs at least five samples of each label."),
    "4407": (400, "Auto labeling needs unlabeled samples."),
    "4408": (400, "Auto labeling supports only labels of the shape bndbox."),
    "4409": (400, "Too many running tasks."),
    "4410": (400, "Label not found."),
    "4411": (400, "The label name is already used."),
    "4420": (400, "Sample not found."),
    "4423": (400, "The size of the image is not known."),
    "4600": (403, "The role of the member does not allow the action."),
    "4604": (400, "The member does not exist."),
    "4612": (400, "The task does not exist."),
    "4619": (400, "The team labeling task does not exist."),
    "4622": (400, "The number of clusters must be below the number of samples."),
    "4821": (403, "The labeling task is being published; auto labeling cannot start."),
    "4826": (401, "Data in a bucket encrypted by KMS is not supported."),
}
GATEWAY: dict[str, tuple[int, str]] = {
    "0101": (404, "The API does not exist or has not been published in the environment."),
    "0201": (400, "Bad request."),
    "0301": (401, "Incorrect IAM authentication information."),
    "0307": (401, "The token must be updated."),
    "0308": (429, "The throttling threshold has been reached."),
}


def refuse(suffix: str, detail: object = None, *, status: int | None = None) -> Refusal:
    """Return a refusal of the service.

    :param suffix: the code's number, such as "4352".
    :param detail: offending value; shown in brackets after the text (contract 7.1, "Message pattern observed").
    :param status: another HTTP status than the table's.
    """
    usual, text = SERVICE[suffix]
    return Refusal(status or usual, f"ModelArts.{suffix}", text if detail is None else f"{text} [{detail}]")


def refuse_at_gateway(
    suffix: str, detail: object = None, *, headers: tuple[tuple[str, str], ...] = (), prefix: str = "APIGW."
) -> Refusal:
    """Return a refusal of the gateway, whose body carries the request id (contract 7.1 and 7.2)."""
    status, text = GATEWAY[suffix]
    message = text if detail is None else f"{text} [{detail}]"
    return Refusal(status, f"{prefix}{suffix}", message, shape="gateway", headers=headers)
