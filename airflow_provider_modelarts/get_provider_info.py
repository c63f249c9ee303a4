"""What Airflow reads to learn about this provider. Standard library only: Airflow reads it in every process."""

from __future__ import annotations

from typing import Any

from airflow_provider_modelarts import __version__
from airflow_provider_modelarts.hooks.connection_form import CONNECTION_FORM, INTEGRATION


def _modules(*names: str) -> list[dict[str, Any]]:
    return [
        {
            "integration-name": INTEGRATION,
            "python-modules": [f"airflow_provider_modelarts.{name}" for name in names],
        }
    ]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in Airflow's provider-info form.

    :return: valid against both schemas that Airflow ships, ``provider.yaml.schema.json`` (strict) and
        ``provider_info.schema.json``
    """
    return {
        "package-name": "airflow-provider-modelarts",
        "name": INTEGRATION,
        "description": "Machine labeling of image datasets in Huawei Cloud ModelArts.",
        "state": "ready",
        "source-date-epoch": 1795132800,
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://support.huaweicloud.com/intl/en-us/modelarts/index.html",
                "tags": ["ai", "machine-learning", "service"],
            }
        ],
        "hooks": _modules("hooks.modelarts"),
        "operators": _modules(
            "operators.approval",
            "operators.label_task",
            "operators.datasets",
            "operators.export_labels",
            "operators.labels",
            "operators.samples",
            "operators.teams",
            "operators.quality",
            "operators.team_tasks",
            "operators.audit",
        ),
        "sensors": _modules("sensors.label_task", "sensors.team_task"),
        "triggers": _modules("triggers.label_task", "triggers.service_job", "triggers.event"),
        "filesystems": ["airflow_provider_modelarts.fs.obs"],
        "extra-links": [
            "airflow_provider_modelarts.links.ModelArtsDatasetLink",
            "airflow_provider_modelarts.links.ModelArtsQualityReportLink",
        ],
        "plugins": [
            {
                "name": "modelarts_review",
                "plugin-class": "airflow_provider_modelarts.plugins.review.ModelArtsReviewPlugin",
            }
        ],
        "asset-uris": [
            {
                "schemes": ["modelarts"],
                "handler": "airflow_provider_modelarts.assets.sanitize_uri",
                "factory": "airflow_provider_modelarts.assets.create_asset",
                "to_openlineage_converter": "airflow_provider_modelarts.assets.convert_asset_to_openlineage",
            }
        ],
        "connection-types": [CONNECTION_FORM],
    }
