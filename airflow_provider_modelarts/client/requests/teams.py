"""Teams and team labeling: contract 5.2, 5.3."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from airflow_provider_modelarts.client.requests.base import (
    FROM_JSON,
    WHOLE,
    Flag,
    Id,
    Integer,
    Number,
    RequestBody,
    matching,
)

ResourceName = Annotated[
    str,
    matching(r"[A-Za-z0-9_\-\u4e00-\u9fa5]{1,64}", "1 to 64 letters, digits, underscores or hyphens"),
]
Description = Annotated[
    str, matching(r"[^\^!<>=&\"']{0,256}", "at most 256 characters, none of them ^ ! < > = & \" or '")
]
CommentText = Annotated[str, matching(r"[^!<>=&\"']{0,256}", "at most 256 characters, none of them ! < > = & \" or '")]
EmailAddress = Annotated[str, matching(r"[^@\s]+@[^@\s]+", "one e-mail address")]
RoleNumber = Annotated[Literal[0, 1, 2, 3], WHOLE]


class WorkerInput(RequestBody):
    """A member of a team; the address or the id is enough."""

    email: EmailAddress | None = Field(default=None, description="E-mail address.")
    worker_id: Id | None = Field(default=None, description="Id of the member.")
    workforce_id: Id | None = Field(default=None, description="Id of the team.")
    role: RoleNumber | None = Field(default=None, description="0 labeler, 1 reviewer, 2 manager, 3 dataset owner.")
    status: Annotated[Literal[0, 1, 2, 3], WHOLE] | None = Field(
        default=None, description="0 not invited, 1 invited, 2 has logged in, 3 deleted."
    )
    description: Description | None = Field(default=None, description="What to say of the member.")
    create_time: Integer | None = Field(default=None, description="Epoch milliseconds.")
    update_time: Integer | None = Field(default=None, description="Epoch milliseconds.")


class WorkforceInput(RequestBody):
    """A team that takes part in a team task."""

    workforce_id: Id | None = Field(default=None, description="Id of the team.")
    workforce_name: str | None = Field(default=None, max_length=1024, description="Its name.")
    workers: Annotated[list[WorkerInput], FROM_JSON] | None = Field(
        default=None, description="Those of its members who take part."
    )


class WorkforcesConfigInput(RequestBody):
    """Who works on a team task: a manager who gives the work out later, or teams, with which it starts at once."""

    agency: str | None = Field(default=None, description="The team manager who gives the work out.")
    workforces: Annotated[list[WorkforceInput], FROM_JSON] | None = Field(default=None, description="The teams.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.agency is not None and self.workforces is not None:
            raise ValueError("must hold either agency or workforces, not both")
        return self


class CreateWorkforceTaskRequest(RequestBody):
    """Creates a team task."""

    task_name: ResourceName = Field(description="Its name, which no other team task of the dataset has.")
    description: str | None = Field(default=None, max_length=256, description="What to say of it.")
    workforces_config: WorkforcesConfigInput | None = Field(default=None, description="Who works on it.")
    repetition: Integer | None = Field(default=None, ge=1, description="How many labelers label each sample.")
    data_sync_type: Annotated[Literal[0, 1, 2, 3], WHOLE] | None = Field(
        default=None, description="What follows the dataset: 0 nothing, 1 data, 2 labels, 3 both."
    )
    sample_conditions: str | None = Field(
        default=None, description="JSON text of search conditions: which samples belong to it."
    )
    synchronize_data: Flag | None = Field(default=None, description="Give out samples that come later.")
    synchronize_auto_labeling_data: Flag | None = Field(
        default=None, description="Show the machine's proposals to labelers; the service's default: false."
    )
    auto_sync_dataset: Flag | None = Field(
        default=None, description="Write accepted labels into the dataset; the service's default: true."
    )
    task_type: Annotated[Literal[0, 1, 3, 100, 101, 102, 200, 201, 202, 400, 600, 900], WHOLE] | None = Field(
        default=None, description="What is labeled, see DatasetType; only in the edition of 2021."
    )
    version_id: Id | None = Field(default=None, description="Version of the dataset; only in the edition of 2021.")
    labels: Annotated[list[dict[str, Any]], FROM_JSON] | None = Field(
        default=None, description="Labels of the team task; only in the edition of 2021."
    )
    workspace_id: Id | None = Field(default=None, description="Id of the workspace; only in the edition of 2021.")


class StartWorkforceTaskRequest(RequestBody):
    """Gives a team task out, and starts it."""

    dataset_id: Id | None = Field(default=None, description="The dataset; also in the address.")
    task_id: Id | None = Field(default=None, description="The team task; also in the address.")
    workforces_config: WorkforcesConfigInput = Field(description="The teams.")


class UpdateWorkforceTaskRequest(RequestBody):
    """Changes a team task."""

    dataset_id: Id | None = Field(default=None, description="The dataset; also in the address.")
    task_id: Id | None = Field(default=None, description="The team task; also in the address.")
    task_name: ResourceName | None = Field(default=None, description="A new name.")
    description: Description | None = Field(default=None, description="A new description; empty: none.")
    workforces_config: WorkforcesConfigInput | None = Field(default=None, description="Who works on it from now on.")


class SampleComment(RequestBody):
    """What a reviewer, or the owner in an acceptance, says of a member's copy of a sample."""

    sample_id: Id | None = Field(default=None, description="The sample.")
    worker_id: Id | None = Field(default=None, description="Whose copy.")
    accept: Flag = Field(description="Whether its labels are right.")
    comment: CommentText | None = Field(default=None, description="What to say to it.")
    score: Literal["A", "B", "C", "D"] | None = Field(default=None, description="A grade, A is the best.")


Comments = Annotated[list[SampleComment], FROM_JSON, Field(min_length=1)]


class ReviewRequest(RequestBody):
    """Reviews copies."""

    comments: Comments = Field(description="One for each copy.")


class AcceptCommentRequest(RequestBody):
    """Judges copies that were drawn for an acceptance."""

    comments: Comments = Field(description="One for each copy.")


class StartAcceptanceRequest(RequestBody):
    """Begins an acceptance; either a number or a share of the results is drawn."""

    sampling_num: Integer | None = Field(default=None, ge=1, description="How many copies.")
    sampling_rate: Number | None = Field(default=None, gt=0, le=1, description="Which share of them, above 0, to 1.")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.sampling_num is None) == (self.sampling_rate is None):
            raise ValueError("must say either sampling_num or sampling_rate")
        return self


class FinishAcceptanceRequest(RequestBody):
    """Ends an acceptance."""

    action: Annotated[Literal[0, 1, 2, 3, 4, 5], WHOLE] = Field(description="See AcceptanceAction.")
    overwrite_last_result: Flag | None = Field(
        default=None, description="Replace labels that samples have in the dataset; the service's default: false."
    )
    locale: Literal["en-us", "zh-cn"] | None = Field(default=None, description="Only in the edition of 2021.")


class NotifyRequest(RequestBody):
    """Mails members of a team task."""

    emails: Annotated[list[EmailAddress], FROM_JSON] = Field(min_length=1, description="Their addresses.")


class CreateWorkforceRequest(RequestBody):
    """Creates a team."""

    workforce_name: ResourceName = Field(description="Its name, which no other team has.")
    description: Description | None = Field(default=None, description="What to say of it.")


class UpdateWorkforceRequest(RequestBody):
    """Changes a team."""

    workforce_name: ResourceName | None = Field(default=None, description="A new name.")
    description: Description | None = Field(default=None, description="A new description; empty: none.")


class CreateWorkerRequest(RequestBody):
    """Adds a member to a team."""

    emails: EmailAddress = Field(description="One address, although the service's name is a plural.")
    role: Annotated[Literal[0, 1, 2], WHOLE] = Field(description="0 labeler, 1 reviewer, 2 manager: one in a team.")
    description: Description | None = Field(default=None, description="What to say of the member.")


class UpdateWorkerRequest(RequestBody):
    """Changes a member of a team."""

    role: RoleNumber | None = Field(default=None, description="0 labeler, 1 reviewer, 2 manager, 3 dataset owner.")
    description: Description | None = Field(default=None, description="A new description; empty: none.")


class BatchDeleteWorkersRequest(RequestBody):
    """Removes members from a team."""

    workers: Annotated[list[Id], FROM_JSON] = Field(min_length=1, description="Their ids.")
