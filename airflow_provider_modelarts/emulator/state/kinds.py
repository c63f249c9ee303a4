"""What the types of datasets hold: samples, files and labels (contract 3.3, 6.1)."""

from __future__ import annotations

from dataclasses import dataclass

# Contract 3.3, `sample_type`.
IMAGE, TEXT, SOUND, TABLE, VIDEO, FREE = 0, 1, 2, 4, 6, 9
SAMPLE_TYPES = frozenset({IMAGE, TEXT, SOUND, TABLE, VIDEO, FREE})

# Contract 6.1, `dataset_type`; the labels have the same numbers, but for those of triplets.
CLASSIFICATION, DETECTION, SEGMENTATION = 0, 1, 3
TEXT_CLASSIFICATION, NAMED_ENTITIES, TRIPLETS = 100, 101, 102
SOUND_CLASSIFICATION, SPEECH_CONTENT, SPEECH_SEGMENTS = 200, 201, 202
TABLES, VIDEOS, FREE_FORMAT = 400, 600, 900
RELATION, ENTITY = 102, 103
"""The types of the two kinds of labels that triplets have."""

NAMELESS = frozenset({SPEECH_CONTENT, SPEECH_SEGMENTS})
"""The labels of these types carry what was said, and need no name."""


@dataclass(frozen=True)
class Kind:
    """What datasets of one type hold.

    :param sample_type: number of contract 3.3.
    :param label_types: types that labels of its samples may have; none: its samples have no labels.
    :param suffixes: how the names of its files end; none: any file is a sample.
    """

    sample_type: int
    label_types: frozenset[int]
    suffixes: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Whether a file in the input folder is a sample."""
        return not self.suffixes or name.lower().endswith(self.suffixes)


_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")  # contract 8.1: formats
# The documents name no formats but those of images.
_TEXTS, _SOUNDS, _TABLES, _VIDEOS = (".txt",), (".wav",), (".csv",), (".mp4",)
KINDS: dict[int, Kind] = {
    CLASSIFICATION: Kind(IMAGE, frozenset({CLASSIFICATION}), _PICTURES),
    DETECTION: Kind(IMAGE, frozenset({DETECTION}), _PICTURES),
    SEGMENTATION: Kind(IMAGE, frozenset({SEGMENTATION}), _PICTURES),
    TEXT_CLASSIFICATION: Kind(TEXT, frozenset({TEXT_CLASSIFICATION}), _TEXTS),
    NAMED_ENTITIES: Kind(TEXT, frozenset({NAMED_ENTITIES}), _TEXTS),
    TRIPLETS: Kind(TEXT, frozenset({RELATION, ENTITY}), _TEXTS),
    SOUND_CLASSIFICATION: Kind(SOUND, frozenset({SOUND_CLASSIFICATION}), _SOUNDS),
    SPEECH_CONTENT: Kind(SOUND, frozenset({SPEECH_CONTENT}), _SOUNDS),
    SPEECH_SEGMENTS: Kind(SOUND, frozenset({SPEECH_SEGMENTS}), _SOUNDS),
    TABLES: Kind(TABLE, frozenset(), _TABLES),
    VIDEOS: Kind(VIDEO, frozenset({VIDEOS}), _VIDEOS),
    FREE_FORMAT: Kind(FREE, frozenset()),
}
CONTENT_TYPES = {TEXT: "text/plain; charset=UTF-8", SOUND: "audio/wav", TABLE: "text/csv; charset=UTF-8"}
"""How a file behind a presigned address is served, by the type of its sample; others as bytes."""
