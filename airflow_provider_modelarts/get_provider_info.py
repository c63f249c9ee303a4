"""What Airflow reads to learn about this provider. Standard library only."""

from __future__ import annotations


def get_provider_info() -> dict[str, object]:
    """Return the provider's description in Airflow's provider-info form."""
    return {"package-name": "airflow-provider-modelarts", "name": "Huawei Cloud ModelArts", "description": ""}
