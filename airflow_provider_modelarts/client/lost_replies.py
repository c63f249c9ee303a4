"""Replies to writes, and lost ones: what was created is looked for, changes are read, nothing is sent twice."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.errors import ModelArtsError, NotFound, UnexpectedResponse
from airflow_provider_modelarts.client.models import failure_of, to_object, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_modelarts.client.models import Model


def with_one_of(answer: object, what: str, *names: str) -> dict[str, Any]:
    """Return an answer that holds what was asked for.

    :param answer: the parsed body
    :param what: what was asked for, for the error
    :param names: keys of which at least one must be there
    :raises UnexpectedResponse: if none is
    """
    if not isinstance(answer, dict) or not any(name in answer for name in names):
        raise UnexpectedResponse(
            f"Cannot {what}: the answer has none of {', '.join(names)}. Check that endpoint is a ModelArts v2 API."
        )
    return answer


def check_success(answer: object, what: str) -> None:
    """Check the answer to a write that returns nothing; most of them are an empty object.

    :param answer: the parsed body, None for none
    :param what: what was asked for, for the error
    :raises UnexpectedResponse: if it says that it is no success
    """
    said = failure_of(to_object(answer))
    if said:
        raise UnexpectedResponse(f"Cannot {what}: {said.rstrip('. ')}. Read it before you try again.")


@contextmanager
def advice_after_loss(advice: str) -> Iterator[None]:
    """Add advice to an error after which a write may have been carried out.

    :param advice: what to do next, as a sentence
    """
    try:
        yield
    except ModelArtsError as error:
        if not error.certainly_not_executed:
            error.add(advice)
        raise


def id_of(answer: object, key: str, what: str, advice: str) -> str:
    """Return the id of what was created.

    :param answer: the parsed body
    :param key: where the id stands
    :param what: what was asked for, for the error
    :param advice: what to do next, as a sentence
    :raises UnexpectedResponse: if there is none: it may have been created all the same
    """
    found = to_text(to_object(answer).get(key))
    if not found:
        raise UnexpectedResponse(f"Cannot {what}: the answer names no {key}. {advice}")
    return found


def change(write: Callable[[], object], is_done: Callable[[], bool]) -> None:
    """Send a change; after a lost reply, read whether it was carried out.

    :param write: sends the change once
    :param is_done: reads whether what was asked for is the case
    :raises ModelArtsError: of the write, unless it was carried out; it says what was found out
    """
    try:
        write()
    except ModelArtsError as error:
        if error.certainly_not_executed:
            raise
        try:
            done = is_done()
        except ModelArtsError as unread:
            error.add(f"Whether it was carried out could not be read: {unread.message}")
            raise error from None
        if not done:
            error.add("It was read afterwards and had not been carried out.")
            raise


def holds(model: Model, wanted: Mapping[str, Any]) -> bool:
    """Whether the fields of a model have the values that a change asked for; an empty text may be shown as none."""
    shown = {name: getattr(model, name, model.raw.get(name)) for name in wanted}
    return all(shown[name] == value or (value == "" and shown[name] is None) for name, value in wanted.items())


def delete(exists: Callable[[], object], send: Callable[[], object]) -> None:
    """Delete something that is there; a repetition that does not find it any more has deleted it.

    :param exists: reads it
    :param send: sends the deletion, which may repeat it
    :raises NotFound: if it is not there from the beginning
    """
    exists()
    try:
        send()
    except NotFound as error:
        if not error.is_word_of_service:
            raise
        # It was there a moment ago: the reply to an earlier attempt was lost, or somebody else has deleted it.
        return
