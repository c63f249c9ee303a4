"""A dataset of a few handwritten digits, of which twelve await confirmation: small enough to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_modelarts.emulator import Emulator

DIGITS = ("0", "1", "2")
EACH = 4
"""Pictures of each digit that await confirmation."""
TRAINING = 12


def twelve_digits(emulator: Emulator, folder: Path) -> str:
    """Make the dataset and let the machine label it; return its id.

    :param folder: for the pictures.
    """
    from airflow_provider_modelarts.client import ModelArtsClient, PasswordCredentials
    from airflow_provider_modelarts.emulator.data.images import Digits

    digits = Digits()
    for digit in DIGITS:
        found = [index for index, target in enumerate(digits.targets) if target == digit][: TRAINING + EACH]
        for number, index in enumerate(found):
            place = folder / (digit if number < TRAINING else "unlabeled")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"digit_{index:04d}.png").write_bytes(digits.png(index))
    dataset_id = emulator.load_folder(folder)
    credentials = PasswordCredentials(
        emulator.url, emulator.user, emulator.password, emulator.domain, project_name=emulator.region
    )
    with ModelArtsClient(emulator.url, credentials) as client:
        client.tasks.wait(dataset_id, client.tasks.start(dataset_id), timeout=600, poll_interval=0.2)
    return dataset_id
