"""A real classifier: what it guesses, how sure it is, and what it finds hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.emulator.data.libraries import LogisticRegression, np, threadpool_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Hard-example reasons that are really computed here (contract 7.5).
LOW_CONFIDENCE, FAR_FROM_CLASS, NEIGHBORS_DIFFER, TRANSLATION = 1, 3, 4, 24

# Chosen so that scores mean something: of the digits scored 0.9 or more, about 99 of 100 are right.
INVERSE_REGULARIZATION = 5.0
ITERATIONS = 300
SELF_TRAINING_ROUNDS = 3
SELF_TRAINING_CONFIDENCE = 0.95
NEIGHBORS = 5
FAR_QUANTILE = 0.99
DIGITS_KEPT = 6


@dataclass(frozen=True, slots=True)
class Guess:
    """What the classifier says about one image.

    :param score: probability of the label, rounded to six digits.
    :param reasons: why it is hard, ids of contract 7.5; an easy image has none.
    """

    label: str
    score: float
    reasons: tuple[int, ...]

    @property
    def coefficient(self) -> float:
        """How hard the image is, 0..1: what its score leaves open, and at least a half if there is a reason."""
        return round(max(1.0 - self.score, 0.5), DIGITS_KEPT) if self.reasons else 0.0


def guess_labels(
    known: NDArray[np.float64],
    labels: list[str],
    unknown: NDArray[np.float64],
    *,
    accurate: bool,
    find_hard: bool,
    side: tuple[int, int],
) -> list[Guess]:
    """Train on the labeled images and guess the others.

    :param known: one row per labeled image.
    :param labels: their labels, of at least two kinds.
    :param unknown: one row per image to guess.
    :param accurate: also learn from the own surest guesses (contract 8.2, `accurate`: semi-supervised).
    :param find_hard: also look for hard examples (contract 2.1, `collect_key_sample`).
    :param side: height and width of the pixel grid that a row holds.
    """
    # One BLAS thread: small matrices are slower on several, and sums must not depend on the number of cores.
    with threadpool_limits(limits=1):
        model = _train(known, labels)
        for _ in range(SELF_TRAINING_ROUNDS if accurate else 0):
            probabilities = model.predict_proba(unknown)
            sure = probabilities.max(axis=1) >= SELF_TRAINING_CONFIDENCE
            adopted = model.classes_[probabilities[sure].argmax(axis=1)]
            model = _train(np.vstack([known, unknown[sure]]), [*labels, *map(str, adopted)])
        probabilities = model.predict_proba(unknown)
        scores = probabilities.max(axis=1)
        names = model.classes_[probabilities.argmax(axis=1)].astype(str)
        found: dict[int, Any] = {}
        if find_hard:
            found = {
                LOW_CONFIDENCE: scores < 0.5,
                FAR_FROM_CLASS: _far_from_class(known, np.array(labels), unknown, names),
                NEIGHBORS_DIFFER: _neighbors_differ(unknown, names),
                TRANSLATION: _changes_when_moved(model, unknown, names, side),
            }
    return [
        Guess(str(name), round(float(score), DIGITS_KEPT), tuple(reason for reason in found if found[reason][index]))
        for index, (name, score) in enumerate(zip(names, scores, strict=True))
    ]


def _train(rows: NDArray[np.float64], labels: list[str]) -> Any:
    return LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=ITERATIONS).fit(rows, labels)


def _distances(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2 * left @ right.T
    clipped: NDArray[np.float64] = squares.clip(min=0)
    return clipped


def _far_from_class(known: Any, labels: Any, unknown: Any, guessed: Any) -> Any:
    """Reason 3: farther from every training image of its class than nearly all others of that class."""
    nearest = np.empty(len(unknown))
    for name in set(guessed):
        members = guessed == name
        nearest[members] = _distances(unknown[members], known[labels == name]).min(axis=1)
    return nearest > np.quantile(nearest, FAR_QUANTILE)


def _neighbors_differ(unknown: Any, guessed: Any) -> Any:
    """Reason 4: most of the nearest images are guessed differently."""
    count = min(NEIGHBORS, len(unknown) - 1)
    if count < 1:
        return np.zeros(len(unknown), dtype=bool)
    distances = _distances(unknown, unknown)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return (guessed[nearest] != guessed[:, None]).sum(axis=1) * 2 > count


def _changes_when_moved(model: Any, unknown: Any, guessed: Any, side: tuple[int, int]) -> Any:
    """Reason 24: moved by half a pixel in either direction, it is guessed differently both times."""
    grid = unknown.reshape(len(unknown), *side, -1)
    changed = np.ones(len(unknown), dtype=bool)
    for shift in (-1, 1):
        moved = (grid + np.roll(grid, shift, axis=2)) / 2
        changed &= model.predict(moved.reshape(len(unknown), -1)).astype(str) != guessed
    return changed
