"""Lists of the service as pages and as iterators of models; which keys a list uses is data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_modelarts.client.errors import UnexpectedResponse
from airflow_provider_modelarts.client.models import Record, View, failure_of, read_all, to_integer, to_objects
from airflow_provider_modelarts.client.paging import Slice, key_of, walk
from airflow_provider_modelarts.client.validation import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_modelarts.client.transport.transport import Transport

Model = TypeVar("Model", bound=Record | View)
Query = dict[str, str | None]


@dataclass(frozen=True)
class ListEndpoint(Generic[Model]):
    """One list of the service.

    :param what: what reading it is called in errors
    :param segments: its path below the project
    :param model: what it holds
    :param items: key of the items in an answer
    :param total: key of the total (contract 0.1)
    :param keys: keys of an item's id, the main one first; none if items have no id
    :param query: filters
    :param context: what the request knows and items may leave out
    """

    what: str
    segments: tuple[str, ...]
    model: type[Model]
    items: str
    total: str
    keys: tuple[str, ...]
    query: Mapping[str, str | None] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)

    def slice(
        self, transport: Transport, offset: int, limit: int | None = MAX_PAGE, *, retry: bool = True
    ) -> Slice[Model]:
        """Read one answer.

        :param transport: reads
        :param offset: as the service counts it
        :param limit: items wanted; None leaves it to the service
        :param retry: False: one attempt
        :raises UnexpectedResponse: if the answer is no list
        """
        query = {**self.query, "offset": str(offset), "limit": None if limit is None else str(limit)}
        answer = transport.get(self.what, *self.segments, query=query, retry=retry)
        if not isinstance(answer, dict) or (answer.get(self.items) is None and answer.get(self.total) is None):
            raise UnexpectedResponse(
                f"Cannot {self.what}: the answer has neither {self.items} nor {self.total}. "
                "Check that endpoint is a ModelArts v2 API."
            )
        given = answer.get(self.items)
        if given is not None and not isinstance(given, list):
            raise UnexpectedResponse(f"Cannot {self.what}: {self.items} is no list in the answer. Try again.")
        rows = given or []
        # An empty list would pass for "there is nothing to do".
        if not rows and (said := failure_of(answer)):
            raise UnexpectedResponse(f"Cannot {self.what}: the answer lists nothing and says: {said}. Try again.")
        objects = to_objects(rows)
        if issubclass(self.model, View):
            # A sample that is no object is a sample nevertheless, if one without anything in it.
            objects = [row if isinstance(row, dict) else {} for row in rows]
        models = read_all(self.model, objects, self.what, **self.context)
        return Slice(models, to_integer(answer.get(self.total)), len(rows) - len(models))

    def walk(self, transport: Transport, limit: int | None = MAX_PAGE, *, retry: bool = True) -> Iterator[Model]:
        """Yield everything once; see :func:`~airflow_provider_modelarts.client.paging.walk`.

        :param transport: reads
        :param limit: items per answer; None leaves it to the service
        :param retry: False: one attempt for each answer
        """
        return walk(
            lambda offset, wanted: self.slice(transport, offset, limit and wanted, retry=retry),
            lambda item: key_of(item.raw, self.keys),
            self.what,
            limit or MAX_PAGE,
        )
