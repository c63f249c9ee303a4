"""The refusals that the emulator knows, as a table: code, HTTP status, text."""

from __future__ import annotations

from airflow_provider_modelarts.emulator.http.messages import Refusal

# Status of each code: contract 7.2 and 7.3 and the code list of modelarts-openapi.yaml.
CODES: dict[str, tuple[int, str]] = {
    # of the service
    "ModelArts.0104": (400, "Parameter error."),
    "ModelArts.0108": (403, "No permission."),
    "ModelArts.0118": (400, "The quota is not sufficient."),
    "ModelArts.0210": (403, "The project in the URL differs from the project of the token."),
    "ModelArts.0212": (401, "The token carries no project."),
    "ModelArts.4104": (413, "The request body is too large."),
    "ModelArts.4301": (400, "The labeling job does not exist or was stopped."),
    "ModelArts.4312": (400, "The OBS path does not exist."),
    "ModelArts.4315": (400, "The OBS path contains a double slash."),
    "ModelArts.4340": (400, "The import path has no usable file."),
    "ModelArts.4342": (400, "The labeled samples cannot be split into training and validation."),
    "ModelArts.4343": (400, "The dataset is being published."),
    "ModelArts.4349": (400, "The version of the dataset is being switched."),
    "ModelArts.4350": (400, "The work path is too long."),
    "ModelArts.4351": (400, "The dataset name is already used."),
    "ModelArts.4352": (400, "The dataset does not exist."),
    "ModelArts.4353": (400, "The dataset version does not exist."),
    "ModelArts.4354": (500, "The quota of datasets is used up."),
    "ModelArts.4355": (400, "A synchronization is running."),
    "ModelArts.4356": (400, "An import is running."),
    "ModelArts.4358": (400, "The export path is not right."),
    "ModelArts.4359": (400, "The export task does not exist."),
    "ModelArts.4370": (400, "At most one version can be published within a minute."),
    "ModelArts.4371": (400, "The version name is already used."),
    "ModelArts.4374": (400, "The OBS path is not right."),
    "ModelArts.4381": (400, "The dataset is being published and cannot be labeled."),
    "ModelArts.4383": (501, "The operation is not available for this type of dataset."),
    "ModelArts.4384": (400, "An export parameter is not right."),
    "ModelArts.4386": (501, "An auto-label task is already running."),
    "ModelArts.4387": (501, "A pre-label task is already running."),
    "ModelArts.4396": (400, "An import parameter is not right."),
    "ModelArts.4399": (400, "The model does not fit the type of the dataset."),
    "ModelArts.4405": (400, "Auto labeling needs labeled samples of at least two labels."),
    "ModelArts.4406": (400, "Auto labeling needs at least five samples of each label."),
    "ModelArts.4407": (400, "Auto labeling needs unlabeled samples."),
    "ModelArts.4408": (400, "Auto labeling supports only labels of the shape bndbox."),
    "ModelArts.4409": (400, "Too many running tasks."),
    "ModelArts.4410": (400, "Label not found."),
    "ModelArts.4411": (400, "The label name is already used."),
    "ModelArts.4412": (400, "The shortcut is already used by another label."),
    "ModelArts.4413": (400, "The label breaks the rules of its type."),
    "ModelArts.4414": (400, "The label of a triplet names an unknown label of entities."),
    "ModelArts.4415": (400, "The label of entities is used by the label of a triplet."),
    "ModelArts.4420": (400, "Sample not found."),
    "ModelArts.4421": (400, "The sample cannot be uploaded."),
    "ModelArts.4422": (400, "The sample exists already."),
    "ModelArts.4423": (400, "The size of the image is not known."),
    "ModelArts.4424": (500, "Samples cannot be deleted while an import or a synchronization is running."),
    "ModelArts.4428": (400, "The name of the label attribute is already used."),
    "ModelArts.4429": (400, "The value of the label attribute is already used."),
    "ModelArts.4600": (403, "The role of the member does not allow the action."),
    "ModelArts.4601": (400, "The team does not exist."),
    "ModelArts.4602": (400, "The team name is already used."),
    "ModelArts.4603": (400, "The team cannot be deleted."),
    "ModelArts.4604": (400, "The member does not exist."),
    "ModelArts.4605": (400, "The e-mail address is already used by a member."),
    "ModelArts.4606": (200, "The sample has been reviewed already."),
    "ModelArts.4612": (400, "The task does not exist."),
    "ModelArts.4613": (403, "The task has not finished and has no result yet."),
    "ModelArts.4617": (400, "A team has exactly one manager."),
    "ModelArts.4618": (400, "You cannot remove yourself."),
    "ModelArts.4619": (400, "The team labeling task does not exist."),
    "ModelArts.4620": (400, "The name of the team labeling task is already used."),
    "ModelArts.4621": (400, "The team labeling task cannot be started."),
    "ModelArts.4622": (400, "The number of clusters must be below the number of samples."),
    "ModelArts.4623": (400, "Another acceptance is running."),
    "ModelArts.4624": (400, "The task of the member has not been accepted yet."),
    "ModelArts.4625": (400, "There is nothing to accept."),
    "ModelArts.4627": (400, "Mails are requested too often."),
    "ModelArts.4628": (400, "The member has unfinished work."),
    "ModelArts.4630": (401, "No permission."),
    "ModelArts.4631": (400, "The acceptance task does not exist."),
    "ModelArts.4651": (400, "The sample cannot be read from OBS."),
    "ModelArts.4656": (400, "The sample is larger than 12582912 bytes."),
    "ModelArts.4714": (400, "The quota of versions is used up."),
    "ModelArts.4803": (403, "The dataset cannot be deleted: a labeling task is not finished."),
    "ModelArts.4804": (401, "A member cannot create labeling tasks."),
    "ModelArts.4821": (403, "The labeling task is being published; auto labeling cannot start."),
    "ModelArts.4822": (400, "The team needs more labelers."),
    "ModelArts.4824": (400, "The state of the version is not normal."),
    "ModelArts.4825": (400, "The version has no sample."),
    "ModelArts.4826": (401, "Data in a bucket encrypted by KMS is not supported."),
    "ModelArts.4828": (400, "The version cannot be deleted in its present state."),
    # of the gateway before it
    "APIGW.0101": (404, "The API does not exist or has not been published in the environment."),
    "APIGW.0201": (400, "Bad request."),
    "APIGW.0301": (401, "Incorrect IAM authentication information."),
    "APIGW.0307": (401, "The token must be updated."),
    "APIGW.0308": (429, "The throttling threshold has been reached."),
}


def refuse(
    code: str, detail: object = None, *, status: int | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> Refusal:
    """Return a refusal of :data:`CODES`.

    :param detail: offending value; shown in brackets after the text (contract 7.1, "Message pattern observed").
    :param status: another HTTP status than the table's.
    """
    usual, text = CODES[code]
    return Refusal(status or usual, code, text if detail is None else f"{text} [{detail}]", headers)
