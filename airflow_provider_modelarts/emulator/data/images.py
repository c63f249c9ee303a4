"""Where images come from: the digits that scikit-learn carries, or a folder of one's own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_modelarts.emulator.data.libraries import DIGITS, Image, np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMATS = frozenset({".jpg", ".jpeg", ".png", ".bmp"})  # contract 8.1: formats
UNLABELED = "unlabeled"
THUMBNAIL = 16  # pixels per side that the classifier sees of a folder's image
DIGIT_SIDE, DIGIT_SCALE, DIGIT_MAXIMUM = 8, 8, 16


class ImageSource(Protocol):
    """Images by index."""

    def features(self) -> NDArray[np.float64]:
        """Return one row of numbers in 0..1 per image."""

    def png(self, index: int) -> bytes:
        """Return an image as PNG."""

    def side(self) -> tuple[int, int]:
        """Return height and width of the feature grid."""


class Digits:
    """The 1,797 handwritten digits of scikit-learn, 8x8 pixels, shown at 64x64."""

    size = (DIGIT_SIDE * DIGIT_SCALE, DIGIT_SIDE * DIGIT_SCALE, 3)

    def __init__(self) -> None:
        self.targets = [str(digit) for digit in DIGITS.target]

    def features(self) -> NDArray[np.float64]:
        """Return the pixels, scaled to 0..1."""
        scaled: NDArray[np.float64] = DIGITS.data / DIGIT_MAXIMUM
        return scaled

    def side(self) -> tuple[int, int]:
        """Return height and width of the pixel grid."""
        return DIGIT_SIDE, DIGIT_SIDE

    def png(self, index: int) -> bytes:
        """Return a digit as a PNG of 64x64 pixels."""
        grid = (255 - DIGITS.data[index].reshape(DIGIT_SIDE, DIGIT_SIDE) * (255 / DIGIT_MAXIMUM)).astype("uint8")
        scaled = np.kron(grid, np.ones((DIGIT_SCALE, DIGIT_SCALE), dtype="uint8"))
        return _encode(Image.fromarray(scaled).convert("RGB"))


@dataclass(frozen=True)
class ImageFile:
    """One file of a folder.

    :param label: name of its sub-folder; None: unlabeled.
    :param size: width, height and channels; 4 channels mean RGBA, which auto labeling refuses (contract 8.1).
    """

    path: Path
    label: str | None
    size: tuple[int, int, int]


class Folder:
    """Images in sub-folders named after labels, and in `unlabeled/` or the folder itself.

    :param path: the folder.
    :raises ValueError: the folder holds no image.
    """

    def __init__(self, path: Path) -> None:
        self.files: list[ImageFile] = []
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() not in FORMATS:
                continue
            folders = file.relative_to(path).parts[:-1]
            label = None if not folders or folders[0] == UNLABELED else folders[0]
            with Image.open(file) as image:
                self.files.append(ImageFile(file, label, (*image.size, len(image.getbands()))))
        if not self.files:
            raise ValueError(f"{path} holds no image ({', '.join(sorted(FORMATS))})")

    def features(self) -> NDArray[np.float64]:
        """Return each image as a small colour thumbnail."""
        return np.stack([_thumbnail(file.path) for file in self.files]) / 255

    def side(self) -> tuple[int, int]:
        """Return height and width of the thumbnails; each pixel has three numbers."""
        return THUMBNAIL, THUMBNAIL

    def png(self, index: int) -> bytes:
        """Return an image as PNG."""
        with Image.open(self.files[index].path) as image:
            return _encode(image)


class Uploads:
    """Images that came in over the API, as they arrived."""

    def __init__(self) -> None:
        self._contents: list[bytes] = []

    def __len__(self) -> int:
        return len(self._contents)

    def __bool__(self) -> bool:
        return True

    def add(self, content: bytes) -> tuple[int, int, int] | None:
        """Add an image; return its width, height and channels, None for what is no image and is not added."""
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                size = (*image.size, len(image.getbands()))
        except OSError:
            return None
        self._contents.append(content)
        return size

    def features(self) -> NDArray[np.float64]:
        """Return each image as a small colour thumbnail."""
        return np.stack([_thumbnail(io.BytesIO(content)) for content in self._contents]) / 255

    def side(self) -> tuple[int, int]:
        """Return height and width of the thumbnails; each pixel has three numbers."""
        return THUMBNAIL, THUMBNAIL

    def png(self, index: int) -> bytes:
        """Return an image as PNG."""
        with Image.open(io.BytesIO(self._contents[index])) as image:
            return _encode(image)


def _thumbnail(source: Path | io.BytesIO) -> Any:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGB").resize((THUMBNAIL, THUMBNAIL)), dtype="float64").ravel()


def _encode(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
