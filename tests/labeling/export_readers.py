"""Readers of exported files, written from the formats' own documents; they share nothing with what writes the files.

Each returns what was exported as ``{source of the image: labels}``, a label being its name, its shape and its numbers.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Label = tuple[str, str | None, tuple[float, ...]]
Labels = dict[str, "Counter[Label]"]

ORDERED = {"bndbox": ("xmin", "ymin", "xmax", "ymax"), "circle": ("cx", "cy", "r"), "point": ("x", "y")}


def label(name: str, shape: str | None = None, numbers: Iterable[float] = ()) -> Label:
    """Return a label; what was divided and multiplied again is the same to a millionth of a pixel."""
    return name, shape, tuple(round(float(number), 6) for number in numbers)


def truth(name: str, properties: dict[str, Any] | None) -> Label:
    """Return a label as the service has it."""
    found = properties or {}
    feature = found.get("@modelarts:feature") or []
    return label(name, found.get("@modelarts:shape"), [number for point in feature for number in point])


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines; a line ends with a line feed, and with nothing else."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def sources(root: Path) -> dict[str, str]:
    """Return the source of each image by its name in the export."""
    found = [(one["file_name"], one["source"]) for one in lines(root / "samples.jsonl")]
    assert len(dict(found)) == len(found), "each image has a name of its own"
    return dict(found)


def stem(name: str) -> str:
    head, dot, _ = name.rpartition(".")
    return head if dot and head else name


def of_json_lines(root: Path) -> Labels:
    return {
        one["source"]: Counter(truth(raw["name"], raw.get("property")) for raw in one["labels"])
        for one in lines(root / "samples.jsonl")
    }


def of_coco(root: Path) -> Labels:
    document = json.loads((root / "annotations.json").read_bytes())
    names = {one["id"]: one["name"] for one in document["categories"]}
    images = {one["id"]: one["source"] for one in document["images"]}
    assert len({one["file_name"] for one in document["images"]}) == len(images)
    found: Labels = {source: Counter() for source in images.values()}
    for one in document["annotations"]:
        x, y, width, height = one["bbox"]
        (outline,) = one["segmentation"] or [None]
        corners = (x, y, x + width, y + height)
        made = label(names[one["category_id"]], "polygon" if outline else "bndbox", outline or corners)
        if outline:
            assert corners == (min(outline[::2]), min(outline[1::2]), max(outline[::2]), max(outline[1::2]))
        found[images[one["image_id"]]][made] += 1
    return found


def _yolo(root: Path, read: Callable[[list[float], int, int], tuple[str, list[float]]]) -> Labels:
    classes = yaml.safe_load((root / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert list(classes) == list(range(len(classes)))
    sizes = {one["file_name"]: one["size"] for one in lines(root / "samples.jsonl")}
    found: Labels = {}
    for name, source in sources(root).items():
        width, height, _ = sizes[name]
        labels: Counter[Label] = Counter()
        for row in (root / "labels" / f"{stem(name)}.txt").read_text(encoding="ascii").splitlines():
            number, *rest = row.split(" ")
            values = [float(one) for one in rest]
            assert all(0 <= value <= 1 for value in values)
            labels[label(classes[int(number)], *read(values, width, height))] += 1
        found[source] = labels
    assert len(list((root / "labels").iterdir())) == len(found)
    return found


def of_yolo(root: Path) -> Labels:
    def read(values: list[float], width: int, height: int) -> tuple[str, list[float]]:
        x, y, w, h = values
        return "bndbox", [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]

    return _yolo(root, read)


def of_yolo_segment(root: Path) -> Labels:
    def read(values: list[float], width: int, height: int) -> tuple[str, list[float]]:
        points = [value * size for value, size in zip(values, (width, height) * (len(values) // 2), strict=True)]
        xs, ys = points[::2], points[1::2]
        if xs == [xs[0], xs[1], xs[1], xs[0]] and ys == [ys[0], ys[0], ys[2], ys[2]]:
            return "bndbox", [xs[0], ys[0], xs[1], ys[2]]
        return "polygon", points

    return _yolo(root, read)


def _text(element: ET.Element, path: str) -> str:
    found = element.find(path)
    assert found is not None
    return found.text or ""


def of_xml(path: Path) -> tuple[str, Counter[Label]]:
    """Return image and labels of a VOC file: the element of a place has the name of its shape."""
    top = ET.parse(path).getroot()
    assert top.tag == "annotation"
    found: Counter[Label] = Counter()
    for one in top.iterfind("object"):
        (place,) = (child for child in one if child.tag in (*ORDERED, "polygon", "polyline", "line", "dashed"))
        numbers = {child.tag: float(child.text or "") for child in place}
        keys = ORDERED.get(place.tag) or [f"{axis}{n}" for n in range(1, len(numbers) // 2 + 1) for axis in "xy"]
        assert sorted(keys) == sorted(numbers)
        found[label(_text(one, "name"), place.tag, [numbers[key] for key in keys])] += 1
    return _text(top, "path"), found


def of_pascal_voc(root: Path) -> Labels:
    files = list((root / "Annotations").iterdir())
    found = dict(map(of_xml, files))
    assert len(found) == len(files)
    return found


def of_manifest(root: Path) -> Labels:
    found: Labels = {}
    for line in lines(root / "labels.manifest"):
        labels: Counter[Label] = Counter()
        for one in line["annotation"]:
            kind = one["type"].removeprefix("modelarts/")
            if kind in ("object_detection", "image_segmentation"):
                assert one["annotation-format"] == "PASCAL VOC"
                source, marked = of_xml(root / "annotations" / one["annotation-loc"].rpartition("/annotations/")[2])
                assert source == line["source"]
                labels += marked
            else:
                assert kind == "image_classification"
                labels[label(one["name"])] += 1
        assert line["source"] not in found
        found[line["source"]] = labels
    return found


def of_imagefolder(root: Path) -> Labels:
    found: Labels = {}
    columns = set()
    for row in lines(root / "metadata.jsonl"):
        columns.add(tuple(row))
        objects = row["objects"]
        marked = zip(objects["categories"], objects["shape"], objects["points"], objects["radius"], strict=True)
        found[row["source"]] = Counter(map(label, row["labels"]))
        for name, shape, points, radius in marked:
            numbers = [number for point in points for number in point] + ([] if radius is None else [radius])
            found[row["source"]][label(name, shape, numbers)] += 1
    assert len(columns) == 1, "a table has the same columns in each row"
    return found


def of_regions(result: list[dict[str, Any]]) -> Counter[Label]:
    """Return the labels of Label Studio's regions: percents of the image, choices for the image as a whole."""
    found: Counter[Label] = Counter()
    for region in result:
        value, kind = region["value"], region["type"]
        if kind == "choices":
            found.update(label(name) for name in value["choices"])
            continue
        width, height = region["original_width"] / 100, region["original_height"] / 100
        (name,) = value[kind]
        if kind == "polygonlabels":
            found[label(name, "polygon", [n for x, y in value["points"] for n in (x * width, y * height)])] += 1
            continue
        x, y = value["x"] * width, value["y"] * height
        if kind == "rectanglelabels":
            made = label(name, "bndbox", [x, y, x + value["width"] * width, y + value["height"] * height])
        elif kind == "ellipselabels":
            assert round(value["radiusX"] * width, 6) == round(value["radiusY"] * height, 6), "a circle"
            made = label(name, "circle", [x, y, value["radiusX"] * width])
        else:
            assert kind == "keypointlabels"
            made = label(name, "point", [x, y])
        found[made] += 1
    return found


def of_label_studio(root: Path, part: str = "annotations") -> Labels:
    return {
        task["data"]["image"]: of_regions(task[part][0]["result"])
        for task in json.loads((root / "tasks.json").read_bytes())
        if task.get(part)
    }


READERS: dict[str, Callable[[Path], Labels]] = {
    "modelarts-manifest": of_manifest,
    "coco": of_coco,
    "yolo": of_yolo,
    "yolo-segment": of_yolo_segment,
    "pascal-voc": of_pascal_voc,
    "label-studio": of_label_studio,
    "imagefolder": of_imagefolder,
    "jsonl": of_json_lines,
}
