"""Made-up texts, sounds and tables, each the same for the same number, with labels that fit them."""

from __future__ import annotations

import io
import math
import struct
import wave
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.state import kinds

if TYPE_CHECKING:
    from collections.abc import Callable

PEOPLE = ("Alice", "Bob", "Carol", "Daniel")
COMPANIES = ("Acme", "Globex", "Initech")
MOODS = ("happy", "sad")
SOUNDS = ("high", "low")
RATE, SECONDS, LOUDNESS = 8000, 2, 8000
Labels = list[dict[str, Any]]


def _names(index: int) -> tuple[str, str]:
    return PEOPLE[index % len(PEOPLE)], COMPANIES[index % len(COMPANIES)]


def _text(index: int) -> bytes:
    person, company = _names(index)
    return f"{person} is {MOODS[index % 2]} at {company}, day {index}.".encode()


def _sound(index: int) -> bytes:
    """Return a tone as a WAV file."""
    pitch = (880 if index % 2 == 0 else 220) + index % 100
    tone = (int(LOUDNESS * math.sin(2 * math.pi * pitch * place / RATE)) for place in range(RATE * SECONDS))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(b"".join(struct.pack("<h", value) for value in tone))
    return buffer.getvalue()


def _table(index: int) -> bytes:
    person, company = _names(index)
    return f"person,company,day\n{person},{company},{index}\n{person},{company},{index + 1}\n".encode()


FILES: dict[int, tuple[str, Callable[[int], bytes]]] = {
    kinds.TEXT: ("text_{:06d}.txt", _text),
    kinds.SOUND: ("sound_{:06d}.wav", _sound),
    kinds.TABLE: ("table_{:06d}.csv", _table),
}
"""Name and content of a file, by the type of its sample."""
COLUMNS: list[dict[str, Any]] = [
    {"schema_id": 1, "name": "person", "type": "STRING"},
    {"schema_id": 2, "name": "company", "type": "STRING"},
    {"schema_id": 3, "name": "day", "type": "INT"},
]


def _spans(index: int, kind: int) -> Labels:
    """Return the two entities of a text."""
    text = _text(index).decode()
    found: Labels = []
    for number, (name, word) in enumerate(zip(("person", "company"), _names(index), strict=True), 1):
        start = text.index(word)
        span = {"@modelarts:start_index": start, "@modelarts:end_index": start + len(word)}
        found.append({"name": name, "type": kind, "id": str(number), "property": span})
    return found


def _triplet(index: int) -> Labels:
    ends = {"@modelarts:from": "1", "@modelarts:to": "2"}
    return [*_spans(index, kinds.ENTITY), {"name": "works_at", "type": kinds.RELATION, "property": ends}]


def _said(index: int) -> dict[str, Any]:
    return {"@modelarts:content": f"This is tone {index}.", "@modelarts:source": PEOPLE[index % len(PEOPLE)]}


def _segments(index: int) -> Labels:
    times = (("00:00:00.000", "00:00:01.000"), ("00:00:01.000", "00:00:02.000"))
    return [{"type": kinds.SPEECH_SEGMENTS, "property": {**_said(index), **_span(begin, end)}} for begin, end in times]


def _span(begin: str, end: str) -> dict[str, str]:
    return {"@modelarts:start_time": begin, "@modelarts:end_time": end}


LABELS: dict[int, Callable[[int], Labels]] = {
    kinds.TEXT_CLASSIFICATION: lambda index: [{"name": MOODS[index % 2], "type": kinds.TEXT_CLASSIFICATION}],
    kinds.NAMED_ENTITIES: lambda index: _spans(index, kinds.NAMED_ENTITIES),
    kinds.TRIPLETS: _triplet,
    kinds.SOUND_CLASSIFICATION: lambda index: [{"name": SOUNDS[index % 2], "type": kinds.SOUND_CLASSIFICATION}],
    kinds.SPEECH_CONTENT: lambda index: [{"type": kinds.SPEECH_CONTENT, "property": _said(index)}],
    kinds.SPEECH_SEGMENTS: _segments,
    kinds.TABLES: lambda _: [],
}
"""The right labels of a made-up sample, by the type of its dataset."""
_JOINS = {"@modelarts:from_type": "person", "@modelarts:to_type": "company"}
LABEL_SETS: dict[int, list[dict[str, Any]]] = {
    kinds.TEXT_CLASSIFICATION: [{"name": name} for name in MOODS],
    kinds.NAMED_ENTITIES: [{"name": "person"}, {"name": "company"}],
    kinds.TRIPLETS: [
        {"name": "person", "type": kinds.ENTITY},
        {"name": "company", "type": kinds.ENTITY},
        {"name": "works_at", "type": kinds.RELATION, "property": _JOINS},
    ],
    kinds.SOUND_CLASSIFICATION: [{"name": name} for name in SOUNDS],
}
"""The label set of a dataset, by its type; speech and tables have none."""
