"""Base class of the operators whose work lineage, asset events and metrics tell of."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias

from airflow_provider_modelarts.client.clock import system_clock
from airflow_provider_modelarts.client.errors import ModelArtsError
from airflow_provider_modelarts.operators._templates import TemplatedOperator
from airflow_provider_modelarts.utils.lineage import operator_lineage
from airflow_provider_modelarts.utils.metrics import emit_metrics, newly_throttled
from airflow_provider_modelarts.utils.observation import Observation, dataset_uris
from airflow_provider_modelarts.utils.outlet_events import fill_outlet_events

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_modelarts.assets import DatasetUri
    from airflow_provider_modelarts.hooks.modelarts import ModelArtsHook
    from airflow_provider_modelarts.utils.observation import Operation


class ObservedOperator(TemplatedOperator):
    """An operator that tells lineage, asset events and metrics what a try has done."""

    _observation: Observation | None = None

    def observe(
        self,
        context: Context,
        hook: ModelArtsHook,
        operation: Operation,
        dataset_ids: Sequence[str],
        values: Mapping[str, Any],
        *,
        places: Mapping[str, Sequence[str | None]] | None = None,
        preview: bool = False,
        is_complete: bool = True,
        waited: bool = False,
    ) -> None:
        """Remember what this try has done, fill the events of its outlets, and send its metrics.

        Nothing that fails here fails the task: its labels are written already.

        :param dataset_ids: what it worked on
        :param values: its result
        :param places: URIs by role, see :class:`Observation`; None is left out
        :param waited: its duration is the time since the try began; else it is the result's ``seconds``
        """
        seconds = values.get("seconds") or None
        if waited and context["ti"].start_date is not None:
            seconds = system_clock.now() - context["ti"].start_date.timestamp()
        try:
            self._observation = seen = Observation(
                operation,
                dataset_ids,
                self._uris(hook, dataset_ids),
                values,
                places={role: [uri for uri in uris if uri] for role, uris in (places or {}).items()},
                preview=preview,
                is_complete=is_complete,
                seconds=seconds,
                throttled=newly_throttled(hook.client),
            )
        except Exception as error:  # noqa: BLE001 - see above
            self.log.warning("Lineage, asset events and metrics know nothing of this task: %s", error)
            return
        tells = {
            "asset events": partial(fill_outlet_events, self, context),
            "metrics": partial(emit_metrics, context["ti"]),
        }
        for name, tell in tells.items():
            try:
                tell(seen)
            except Exception as error:  # noqa: BLE001 - see above
                self.log.warning("The %s of this task are incomplete: %s", name, error)

    def _uris(self, hook: ModelArtsHook, dataset_ids: Sequence[str]) -> Sequence[DatasetUri]:
        """Return the datasets as lineage names them. OpenLineage asks in a fork, which can look up no connection."""
        is_asked_for = find_spec("openlineage") is not None or any(isinstance(one, AssetAlias) for one in self.outlets)
        try:
            return dataset_uris(hook, dataset_ids, may_ask=is_asked_for)
        except (ModelArtsError, ValueError) as error:
            self.log.warning("Lineage and asset events do not name the dataset: %s", error)
            return ()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - as OpenLineage calls it
        """Return what this try read and wrote, as OpenLineage's Airflow provider takes it.

        It is called for failed tries too: what they have written counts as well.

        :param task_instance: not used
        :return: an ``OperatorLineage``, empty if the try has done nothing
        """
        return operator_lineage(self._observation)
