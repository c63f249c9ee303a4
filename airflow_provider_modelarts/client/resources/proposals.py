"""Proposals: labels that the machine suggests and nobody has confirmed. Contract 3.1, 3.2."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client import sample_rows
from airflow_provider_modelarts.client.models import checked_answer, parse_json, read
from airflow_provider_modelarts.client.paging import OffsetMode
from airflow_provider_modelarts.client.resources.samples import Page, Sample, filters, sample_listing
from airflow_provider_modelarts.client.sample_updates import OWN, refuse_twins, send_of
from airflow_provider_modelarts.client.validation import MAX_PAGE, validate_id, validate_list, validate_whole, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_modelarts.client.paging import ListEndpoint, OnMove
    from airflow_provider_modelarts.client.sample_rows import SampleRow
    from airflow_provider_modelarts.client.sample_updates import SampleOutcome
    from airflow_provider_modelarts.client.states import Order
    from airflow_provider_modelarts.client.transport.transport import Transport


class Proposals:
    """Calls about samples awaiting confirmation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        dataset_id: str,
        *,
        label_name: str | None = None,
        label_type: int | None = None,
        low_score: float | str | None = None,
        high_score: float | str | None = None,
        order: Order | str | None = None,
        search_conditions: Any = None,
        process_parameter: str | None = None,
        on_move: OnMove | None = None,
    ) -> Iterator[Sample]:
        """Yield all proposals, newest first unless ordered otherwise.

        Confirming moves what is behind, so do not write while reading this: use :meth:`page` from the last page down.

        :param dataset_id: the dataset
        :param label_name: only proposals of this label
        :param label_type: only labels of this type
        :param low_score: only from this confidence on, 0 to 1
        :param high_score: only up to this confidence, 0 to 1
        :param order: ``asc`` or ``desc``
        :param search_conditions: conditions of contract 3.1, one or a list, all of which must hold
        :param process_parameter: image processing for the addresses in the answer
        :param on_move: called with a line for people if the list changed while it was read; None: a warning is logged
        :raises UnexpectedResponse: if fewer come than the service counts
        """
        query = filters(label_name, label_type, low_score, high_score, order, search_conditions, process_parameter)
        return _listing(dataset_id, query).walk(self._transport, on_move=on_move)

    def page(
        self,
        dataset_id: str,
        number: int,
        *,
        limit: int = MAX_PAGE,
        label_name: str | None = None,
        label_type: int | None = None,
        low_score: float | str | None = None,
        high_score: float | str | None = None,
        order: Order | str | None = None,
        search_conditions: Any = None,
        process_parameter: str | None = None,
        offset_mode: OffsetMode = OffsetMode.PAGES,
        retry: bool = True,
    ) -> Page[Sample]:
        """Return one page of proposals; filters as in :meth:`list`.

        :param dataset_id: the dataset
        :param number: number of the page, from 0
        :param limit: proposals per page, 1 to 100
        :param offset_mode: what ``offset`` counts on this service
        :param retry: False: one attempt
        """
        query = filters(label_name, label_type, low_score, high_score, order, search_conditions, process_parameter)
        listing, wanted = _listing(dataset_id, query), validate_whole("limit", limit, 1, MAX_PAGE)
        read_at = self._transport.clock.now()
        offset = offset_mode.offset(validate_whole("number", number, 0), wanted)
        part = listing.slice(self._transport, offset, wanted, retry=retry)
        return Page(part.items, part.total, number, read_at)

    def page_of_rows(
        self,
        dataset_id: str,
        offset: int,
        limit: int,
        *,
        label_name: str | None = None,
        label_type: int | None = None,
        low_score: float | str | None = None,
        high_score: float | str | None = None,
        search_conditions: Any = None,
        retry: bool = True,
    ) -> Page[SampleRow]:
        """Return a piece of the list as rows whose labels stay bytes, oldest first; filters as in :meth:`list`.

        :param dataset_id: the dataset
        :param offset: sent as it is
        :param limit: proposals at most
        :param retry: False: one attempt
        """
        query = filters(label_name, label_type, low_score, high_score, "asc", search_conditions, None)
        read_at = self._transport.clock.now()
        rows, total = _listing(dataset_id, query).read(
            self._transport, offset, limit, retry=retry, parse=sample_rows.parse_page
        )
        return Page(rows, total, 0, read_at)

    def get_row(self, dataset_id: str, sample_id: str) -> tuple[Sample, SampleRow]:
        """Return the proposal for a sample as a model, and as a row whose labels stay bytes; see :meth:`get`."""
        rows = []

        def parse(body: bytes) -> Any:
            answer = parse_json(body)
            rows.append(sample_rows.parse_row(body))
            return answer

        sample = self._read(dataset_id, sample_id, retry=True, parse=parse)
        return sample, rows[-1]

    def confirm(
        self, dataset_id: str, rows: Sequence[SampleRow], *, before_sending: Callable[[], None] | None = None
    ) -> Sequence[SampleOutcome]:
        """Make labels final just as they came, in one request that is sent once; else as ``samples.update``.

        :param dataset_id: the dataset
        :param rows: of its samples
        :param before_sending: as of ``samples.update``
        :raises InvalidRequest: for no rows, what are none, or a sample that comes twice, before anything is sent
        """
        for row in validate_list("rows", rows, " of rows") or [None]:
            if not isinstance(row, sample_rows.SampleRow):
                raise wrong("rows", "a list of at least one row, as page_of_rows returns them", rows)
        ids = [row.sample_id for row in rows]
        refuse_twins([(row.sample_id, row.worker_id) for row in rows])
        body = sample_rows.body_of(rows)
        what = f"write labels of {len(ids)} samples of dataset {validate_id('dataset_id', dataset_id)}"
        path = ("datasets", dataset_id, "data-annotations", "samples")
        write = partial(self._transport.write, "PUT", what, *path, body=body, retry=False, own=OWN)
        return send_of(ids, partial(write, before_sending=before_sending))

    def get(self, dataset_id: str, sample_id: str, *, retry: bool = True) -> Sample:
        """Return the proposal for a sample (contract 3.2).

        :param dataset_id: the dataset
        :param sample_id: the sample
        :param retry: False: one attempt
        :raises NotFound: if there is no proposal for it
        :raises UnexpectedResponse: if the answer is about something else
        """
        return self._read(dataset_id, sample_id, retry=retry)

    def _read(
        self, dataset_id: str, sample_id: str, *, retry: bool, parse: Callable[[bytes], Any] = parse_json
    ) -> Sample:
        what = (
            f"read the proposal for sample {validate_id('sample_id', sample_id)} "
            f"of dataset {validate_id('dataset_id', dataset_id)}"
        )
        path = ("datasets", dataset_id, "auto-annotations", "samples", sample_id)
        answer = self._transport.get(what, *path, retry=retry, parse=parse)
        return read(Sample, checked_answer(answer, what, sample_id=sample_id), what)


def _listing(dataset_id: str, query: dict[str, str | None]) -> ListEndpoint[Sample]:
    what = f"list proposals of dataset {validate_id('dataset_id', dataset_id)}"
    return sample_listing(what, ("datasets", dataset_id, "auto-annotations", "samples"), query)
