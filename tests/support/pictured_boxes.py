"""An object detection dataset whose pictures show something in each proposed box: to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator import Emulator

DIGITS = {"zero": "0", "one": "1", "two": "2"}


class PicturesOfBoxes:
    """Pictures with a handwritten digit in each box, of the box's name.

    :param size: width and height of the pictures.
    :param labels: of each picture.
    """

    def __init__(self, size: tuple[int, int], labels: list[list[dict[str, Any]]]) -> None:
        self.size = size
        self.labels = labels

    def png(self, index: int) -> bytes:
        """Return a picture as PNG."""
        import io

        from PIL import Image

        from airflow_provider_modelarts.emulator.data.images import Digits

        digits = Digits()
        picture = Image.linear_gradient("L").resize(self.size).point(lambda light: 90 + light // 3).convert("RGB")
        for number, label in enumerate(self.labels[index]):
            (left, top), (right, bottom) = label["property"]["@modelarts:feature"]
            found = [place for place, target in enumerate(digits.targets) if target == DIGITS[label["name"]]]
            with Image.open(io.BytesIO(digits.png(found[7 * index + number]))) as digit:
                picture.paste(digit.resize((int(right) - left, int(bottom) - top)), (left, top))
        content = io.BytesIO()
        picture.save(content, "PNG")
        return content.getvalue()


def pictured_boxes(emulator: Emulator, count: int, size: tuple[int, int] = (640, 640)) -> str:
    """Make the dataset, with one to four proposed boxes for each picture; return its id.

    :param size: width and height of the pictures, whatever the service says about them.
    """
    dataset_id = emulator.load_proposals(count, kind="detection", labels=list(DIGITS))
    dataset = emulator._store.datasets[dataset_id]
    samples = list(dataset.samples.values())
    proposals = emulator.dataset(dataset_id).proposals
    dataset.images = PicturesOfBoxes(size, [proposals[one.sample_id]["labels"] for one in samples])  # type: ignore[assignment]
    for index, sample in enumerate(samples):
        sample.image = index
    return dataset_id
