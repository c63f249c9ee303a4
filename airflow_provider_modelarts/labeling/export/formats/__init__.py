"""The formats of an export, by the names that users write."""

from airflow_provider_modelarts.labeling.export.formats.coco import COCO
from airflow_provider_modelarts.labeling.export.formats.imagefolder import IMAGEFOLDER
from airflow_provider_modelarts.labeling.export.formats.json_lines import JSON_LINES
from airflow_provider_modelarts.labeling.export.formats.label_studio import LABEL_STUDIO
from airflow_provider_modelarts.labeling.export.formats.manifest import MODELARTS_MANIFEST
from airflow_provider_modelarts.labeling.export.formats.pascal_voc import PASCAL_VOC
from airflow_provider_modelarts.labeling.export.formats.yolo import YOLO, YOLO_SEGMENT

FORMATS = {
    one.name: one
    for one in (MODELARTS_MANIFEST, COCO, YOLO, YOLO_SEGMENT, PASCAL_VOC, LABEL_STUDIO, IMAGEFOLDER, JSON_LINES)
}

__all__ = ["FORMATS"]
