"""Which request model writes which body of the contract, and where the models are."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from airflow_provider_modelarts.client.requests.base import RequestBody
from airflow_provider_modelarts.client.requests.datasets import CreateDatasetRequest, UpdateDatasetRequest
from airflow_provider_modelarts.client.requests.labels import LabelPropertyBody, LabelsRequest
from airflow_provider_modelarts.client.requests.sample_files import DeleteSamplesRequest, UploadSamplesRequest
from airflow_provider_modelarts.client.requests.search import SearchCondition
from airflow_provider_modelarts.client.requests.tasks import CreateTaskRequest
from airflow_provider_modelarts.client.requests.teams import (
    AcceptCommentRequest,
    BatchDeleteWorkersRequest,
    CreateWorkerRequest,
    CreateWorkforceRequest,
    CreateWorkforceTaskRequest,
    FinishAcceptanceRequest,
    NotifyRequest,
    ReviewRequest,
    StartAcceptanceRequest,
    StartWorkforceTaskRequest,
    UpdateWorkerRequest,
    UpdateWorkforceRequest,
    UpdateWorkforceTaskRequest,
)
from airflow_provider_modelarts.client.requests.transfers import ExportTaskRequest, ImportTaskRequest
from airflow_provider_modelarts.client.requests.versions import CreateVersionRequest
from tests.test_contract_examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

MODELS: dict[str, type[RequestBody]] = {
    "CreateTaskRequest": CreateTaskRequest,
    "SearchCondition": SearchCondition,
    "AcceptCommentRequest": AcceptCommentRequest,
    "BatchDeleteWorkersRequest": BatchDeleteWorkersRequest,
    "CreateWorkerRequest": CreateWorkerRequest,
    "CreateWorkforceRequest": CreateWorkforceRequest,
    "CreateWorkforceTaskRequest": CreateWorkforceTaskRequest,
    "FinishAcceptanceRequest": FinishAcceptanceRequest,
    "NotifyRequest": NotifyRequest,
    "ReviewRequest": ReviewRequest,
    "StartAcceptanceRequest": StartAcceptanceRequest,
    "StartWorkforceTaskRequest": StartWorkforceTaskRequest,
    "UpdateWorkerRequest": UpdateWorkerRequest,
    "UpdateWorkforceRequest": UpdateWorkforceRequest,
    "UpdateWorkforceTaskRequest": UpdateWorkforceTaskRequest,
    "CreateDatasetRequest": CreateDatasetRequest,
    "CreateVersionRequest": CreateVersionRequest,
    "DeleteSamplesRequest": DeleteSamplesRequest,
    "ExportTaskRequest": ExportTaskRequest,
    "ImportTaskRequest": ImportTaskRequest,
    "LabelPropertyInput": LabelPropertyBody,
    "LabelsRequest": LabelsRequest,
    "UpdateDatasetRequest": UpdateDatasetRequest,
    "UploadSamplesRequest": UploadSamplesRequest,
}
"""By the name of the schema in the contract."""

# IAM's bodies are made where tokens are fetched, from credentials and not from what a call is given. Samples go back
# with the labels that they came with, also if these are not as documented (B10): client.sample_updates checks them.
WITHOUT_MODEL = {"IamTokenRequest", "IamSecurityTokenRequest", "UpdateSamplesRequest"}
# What is still missing. This table may only shrink.
KNOWN_MISSING_MODELS: set[str] = set()

# Of schemas for which the contract has no example; and bodies that use every part of a model.
_MORE: dict[str, list[dict[str, Any]]] = {
    "CreateWorkforceTaskRequest": [
        {
            "task_name": "task-1",
            "description": "by night",
            "repetition": 2,
            "data_sync_type": 3,
            "sample_conditions": '[{"hard":"1"}]',
            "workforces_config": {"agency": "m@example.com"},
            "task_type": 0,
            "workspace_id": "0",
        }
    ],
    "UpdateWorkforceTaskRequest": [
        {"task_name": "task-2", "description": "by day", "dataset_id": "d", "task_id": "t"},
        {
            "workforces_config": {
                "workforces": [
                    {
                        "workforce_name": "team-1",
                        "workers": [{"worker_id": "w", "role": 0, "status": 1, "description": "x", "create_time": 1}],
                    }
                ]
            }
        },
    ],
    "FinishAcceptanceRequest": [{"action": 5, "overwrite_last_result": True, "locale": "zh-cn"}],
    "StartAcceptanceRequest": [{"sampling_num": 3}],
    "UpdateWorkforceRequest": [{"workforce_name": "team-1", "description": "my team"}],
    "ReviewRequest": [
        {"comments": [{"sample_id": "s", "worker_id": "w", "accept": False, "comment": "look again", "score": "D"}]}
    ],
    "SearchCondition": [
        {
            "hard": "0",
            "label_list": {
                "labels": [
                    {"name": "rose", "type": 0, "op": "OR", "property": {"@modelarts:shape": ["bndbox"], "mine": None}},
                    {"name": "daisy"},
                ],
                "op": "AND",
            },
            "metadata": {"op": "AND", "props": {"size": ["1", "2"]}},
            "sample_time": "20190901-20190915",
            "sample_dir": "/bucket/dir/",
            "frame_in_video": 3,
            "score": "0.5",
        }
    ],
    "CreateTaskRequest": [
        {
            "task_type": "auto-label",
            "collect_key_sample": False,
            "config": {
                "algorithm_type": "accurate",
                "stop_time": 15,
                "confidence_scope": "0.10-0.90",
                "flavor": {"code": "modelarts.p3.large"},
                "inf_config_list": [{"instance_count": 1, "weight": 100, "envs": {"A": "b"}, "model_id": "m"}],
                "parameters": [{"label": "learning_rate", "value": "0.1", "required": True}],
                "export_params": {
                    "sample_state": "",
                    "samples": ["s"],
                    "search_conditions": [{"hard": "1"}],
                    "ratio_sample_usage": True,
                    "train_sample_ratio": "0.8",
                },
                "samples": [
                    {
                        "sample_id": "s",
                        "sample_type": 0,
                        "sample_usage": "TRAIN",
                        "labels": [{"name": "a", "type": 1, "score": 0.5, "property": {"@modelarts:hard": "0"}}],
                        "metadata": {"@modelarts:hard": 0, "@modelarts:size": [10, 20, 3]},
                    }
                ],
            },
        }
    ],
}


def examples_of(schema: str) -> list[dict[str, Any]]:
    """Return bodies of the kind that ``schema`` describes: those of the contract, and some of our own."""
    shown = [copy.deepcopy(one.value) for one in examples() if one.schema == schema]
    for sample in (sample for body in shown if schema == "UploadSamplesRequest" for sample in body["samples"]):
        sample["data"] = "/9j/4AAQSkZJRgABAQAAAQABAAA="  # the contract's is cut off, and so is no base64
    return [*shown, *_MORE.get(schema, ())]


def models_below(package: ModuleType) -> Iterator[type[RequestBody]]:
    """Yield every request model that a module of the package defines."""
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for thing in vars(importlib.import_module(found.name)).values():
            is_model = isinstance(thing, type) and issubclass(thing, RequestBody) and thing is not RequestBody
            if is_model and thing.__module__ == found.name:
                yield thing
