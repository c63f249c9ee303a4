"""Typed values of the query (contract 0 and 0.1); anything else is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_modelarts.emulator.http.errors import refuse

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.http.messages import Call

LOCALES = ("en-us", "zh-cn")


def integer(call: Call, name: str) -> int | None:
    """Return an integer of the query; None: it is not given.

    :raises Refusal: 400 ModelArts.0104 when it is no integer.
    """
    text = call.query.get(name)
    try:
        return int(text) if text else None
    except ValueError:
        raise refuse("ModelArts.0104", f"{name}={text}") from None


def boolean(call: Call, name: str) -> bool:
    """Return a boolean of the query, false by default (contract 0, row "Booleans in queries").

    :raises Refusal: 400 ModelArts.0104 for anything but true and false.
    """
    text = call.query.get(name, "false")
    if text not in ("true", "false"):
        raise refuse("ModelArts.0104", f"{name}={text}")
    return text == "true"


def choice(call: Call, name: str, allowed: tuple[str, ...], default: str) -> str:
    """Return one of several words of the query.

    :raises Refusal: 400 ModelArts.0104 for any other word.
    """
    text = call.query.get(name) or default
    if text not in allowed:
        raise refuse("ModelArts.0104", f"{name}={text}")
    return text


def check_locale(call: Call) -> None:
    """Check `locale`; the emulator speaks one language.

    :raises Refusal: 400 ModelArts.0104 for an unknown one.
    """
    choice(call, "locale", LOCALES, LOCALES[0])


def moment(call: Call, name: str) -> int:
    """Return a time of the query that must be given, epoch milliseconds.

    :raises Refusal: 400 ModelArts.0104 when it is missing, negative or no integer.
    """
    found = integer(call, name)
    if found is None or found < 0:
        raise refuse("ModelArts.0104", f"{name}={call.query.get(name, '')}")
    return found
