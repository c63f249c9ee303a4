"""Base classes of the operators that make a few calls about a dataset or a team task, without a job to wait for."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_modelarts.hooks.errors import permanent_errors_fail_at_once
from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
from airflow_provider_modelarts.links import ModelArtsDatasetLink, link_dataset
from airflow_provider_modelarts.operators import _parameters as parameters
from airflow_provider_modelarts.operators._templates import TemplatedOperator
from airflow_provider_modelarts.utils.task_record import TaskIntent, TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_modelarts.client import ModelArtsClient
    from airflow_provider_modelarts.labeling.team_copies import Tries
    from airflow_provider_modelarts.labeling.team_results import CommentsResult
    from airflow_provider_modelarts.operators._templates import Readers

OF_DATASET: Readers = {"dataset_id": parameters.identifier, **parameters.CONNECTION}
OF_TEAM_TASK: Readers = {"workforce_task_id": parameters.identifier, **OF_DATASET}
_COMMENTS: Readers = {"comments": parameters.comments, **OF_TEAM_TASK}


class DatasetCallOperator(TemplatedOperator):
    """An operator that makes a few calls about one dataset, and returns what came of them.

    A subclass gives ``readers`` and :meth:`carry_out`. Its constructor sets its own parameters and ends with
    ``check_parameters``.

    :param dataset_id: the dataset
    :param modelarts_conn_id: the Airflow connection
    :param project_id: used instead of the connection's own project
    """

    readers: Readers
    """By template field the function that reads it; those of the connection included."""

    operator_extra_links = (ModelArtsDatasetLink(),)

    def __init__(
        self,
        *,
        dataset_id: str,
        modelarts_conn_id: str = ModelArtsHook.default_conn_name,
        project_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.modelarts_conn_id = modelarts_conn_id
        self.project_id = project_id

    def execute(self, context: Context) -> Any:
        """Make the calls; see the class."""
        with permanent_errors_fail_at_once():
            self.check_rendered(context)
            given = self.read_parameters(self.readers)
            hook = parameters.hook(self)
            link_dataset(context, hook, given["dataset_id"])
            return self.carry_out(hook.look_afresh().client, given, context)

    @abstractmethod
    def carry_out(self, client: ModelArtsClient, given: Mapping[str, Any], context: Context) -> Any:
        """Make the calls; return what goes into XCom.

        :param given: the parameters, rendered and read
        """


class TeamTaskOperator(DatasetCallOperator):
    """An operator that makes a few calls about one team task.

    :param workforce_task_id: the team task
    """

    def __init__(self, *, workforce_task_id: str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workforce_task_id = workforce_task_id


class TeamCommentsOperator(TeamTaskOperator):
    """An operator that comments on members' copies.

    :param comments: a comment for each copy
    """

    readers = _COMMENTS
    template_fields: Sequence[str] = tuple(readers)
    template_fields_renderers: ClassVar[dict[str, str]] = {"comments": "json"}

    def __init__(self, *, comments: Sequence[dict[str, Any]] | str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.comments = comments
        self.check_parameters(self.readers)

    def comment(
        self,
        function: Callable[..., CommentsResult],
        client: ModelArtsClient,
        given: Mapping[str, Any],
        context: Context,
    ) -> dict[str, int]:
        """Comment by a function of ``labeling.copy_comments``; return the counts."""
        task_id = given["workforce_task_id"]
        result = function(client, given["dataset_id"], task_id, given["comments"], tries=tries_of(context))
        self.log.info("Team task %s: %s", task_id, result.to_xcom())
        if result.warning:
            self.log.warning("%s", result.warning)
        return result.to_xcom()


def tries_of(context: Context) -> Tries:
    """Return which try this is. Airflow before 3.3 keeps nothing between tries."""
    # Here, because a DAG file need not load what only a running task uses.
    from airflow_provider_modelarts.labeling.team_copies import Tries

    store = TaskStore(context)
    return Tries(
        is_first=context["ti"].try_number == 1,
        intent=TaskIntent.of(context).marker,
        notes=store if store.outlives_tries else None,
    )
