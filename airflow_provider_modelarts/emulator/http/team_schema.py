"""Shapes of what requests about teams and team labeling carry (contract 5.2, 5.3)."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_modelarts.emulator.http.schema import NUMBER, OPEN, Form, Table
from airflow_provider_modelarts.emulator.state.team import ACTIONS, CANCEL, GRADES, LIST_CONFLICTS

LONGEST_TEXT = 256
LONGEST_NAME = 1024

_NAME = re.compile(r"[A-Za-z0-9_\-\u4e00-\u9fa5]{1,64}")


def _text_without(forbidden: str) -> Form:
    return Form(
        str,
        lambda text: len(text) <= LONGEST_TEXT and not set(forbidden) & set(text),
        f"at most {LONGEST_TEXT} characters, none of them {forbidden}",
    )


NAME = Form(str, lambda text: bool(_NAME.fullmatch(text)), "1 to 64 letters, digits, underscores or hyphens")
DESCRIPTION = _text_without("^!<>=&\"'")
COMMENT = _text_without("!<>=&\"'")
POSITIVE = Form(int, lambda number: number >= 1, "at least 1")
ADDRESS = Form(str, lambda text: bool(re.fullmatch(r"[^@\s]+@[^@\s]+", text)), "an e-mail address")

WORKER = {
    **dict.fromkeys(("worker_id", "workforce_id", "email"), str),
    **dict.fromkeys(("role", "status"), frozenset(range(4))),
    **dict.fromkeys(("create_time", "update_time"), int),
    "description": DESCRIPTION,
}
WORKFORCE = {
    "workforce_id": str,
    "workforce_name": Form(str, lambda text: len(text) <= LONGEST_NAME, f"at most {LONGEST_NAME} characters"),
    "workers": [Table(WORKER)],
}
WORKFORCES_CONFIG = Table({"agency": str, "workforces": [Table(WORKFORCE)]})

CREATE_TEAM_TASK = Table(
    {
        "task_name": NAME,
        "workforces_config": WORKFORCES_CONFIG,
        "repetition": POSITIVE,
        "data_sync_type": frozenset(range(4)),
        "sample_conditions": str,
        **dict.fromkeys(("synchronize_data", "synchronize_auto_labeling_data", "auto_sync_dataset"), bool),
        "description": Form(str, lambda text: len(text) <= LONGEST_TEXT, f"at most {LONGEST_TEXT} characters"),
        # Only in an example of 2021, without effect here.
        "workspace_id": str,
        "version_id": str,
        "task_type": int,
        "labels": [OPEN],
    }
)
_IDS = {"dataset_id": str, "task_id": str}
START_TEAM_TASK = Table({**_IDS, "workforces_config": WORKFORCES_CONFIG}, required=("workforces_config",))
UPDATE_TEAM_TASK = Table(
    {**_IDS, "task_name": NAME, "description": DESCRIPTION, "workforces_config": WORKFORCES_CONFIG}
)

_SAMPLE_COMMENT = {
    "sample_id": str,
    "worker_id": str,
    "accept": bool,
    "comment": COMMENT,
    "score": frozenset(GRADES),
}
COMMENTS = Table({"comments": [Table(_SAMPLE_COMMENT, required=("accept", "sample_id"))]}, required=("comments",))
START_ACCEPTANCE: Any = Form(
    Table(
        {
            "sampling_num": POSITIVE,
            "sampling_rate": Form(NUMBER, lambda rate: 0 < rate <= 1, "above 0 and at most 1"),
        }
    ),
    lambda body: ("sampling_num" in body) != ("sampling_rate" in body),
    "either sampling_num or sampling_rate",
)
FINISH_ACCEPTANCE = Table(
    {
        "action": frozenset({*ACTIONS, CANCEL, LIST_CONFLICTS}),
        "overwrite_last_result": bool,
        "locale": frozenset({"en-us", "zh-cn"}),
    },
    required=("action",),
)
NOTIFY = Table({"emails": Form([ADDRESS], bool, "a list with at least one address")}, required=("emails",))

CREATE_WORKFORCE = Table({"workforce_name": NAME, "description": DESCRIPTION}, required=("workforce_name",))
UPDATE_WORKFORCE = Table({"workforce_name": NAME, "description": DESCRIPTION})
# Quirk 40: `emails` is one address, and the role may be text.
CREATE_WORKER = Table(
    {"emails": ADDRESS, "role": frozenset({0, 1, 2, "0", "1", "2"}), "description": DESCRIPTION},
    required=("emails", "role"),
)
UPDATE_WORKER = Table({"role": frozenset(range(4)), "description": DESCRIPTION})
DELETE_WORKERS = Table({"workers": [str]}, required=("workers",))
