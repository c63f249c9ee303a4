"""What can go wrong when talking to ModelArts and IAM: the exception tree. ``error_codes.py`` maps codes to it."""

# ruff: noqa: N818 - the public names are words of the service, not all of them end in Error

from __future__ import annotations

from typing import Any, ClassVar

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

    @property
    def is_word_of_service(self) -> bool:
        """Whether ModelArts itself said so, by a code of its own (contract 7.2).

        Its gateway, or a proxy on the way, answers 404 for anything: that says nothing of the object.
        """
        return (self.code or "").startswith("ModelArts.")


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


ERRORS: dict[str, type[ModelArtsError]] = {
    name: one for name, one in list(globals().items()) if isinstance(one, type) and issubclass(one, ModelArtsError)
}
"""Every class of the tree by its name."""
