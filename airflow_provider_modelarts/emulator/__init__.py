"""A local ModelArts and IAM, for demos, for tests of DAGs and for this package's own tests.

Needs the extra `emulator` (Starlette, uvicorn, scikit-learn, Pillow). What it enforces comes from docs/contract/;
what is assumed rather than documented is listed in docs/emulator-assumptions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_modelarts.emulator.clock import EmulatorClock
    from airflow_provider_modelarts.emulator.emulator import Emulator
    from airflow_provider_modelarts.emulator.http.faults import Faults, Rule
    from airflow_provider_modelarts.emulator.http.journal import Journal, Record
    from airflow_provider_modelarts.emulator.variants import Variants

__all__ = ["Emulator", "EmulatorClock", "Faults", "Journal", "Record", "Rule", "Variants"]

_HOMES = {
    "Emulator": "emulator",
    "EmulatorClock": "clock",
    "Faults": "http.faults",
    "Journal": "http.journal",
    "Record": "http.journal",
    "Rule": "http.faults",
    "Variants": "variants",
}


def __getattr__(name: str) -> Any:
    # Importing the package must not import a web server: Airflow may look at it while it parses DAGs.
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(f"{__name__}.extra").require_extra()
    return getattr(import_module(f"{__name__}.{home}"), name)
