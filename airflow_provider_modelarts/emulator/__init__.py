"""A local ModelArts and IAM, for demos, for tests of DAGs and for this package's own tests.

Needs the extra `emulator` (Starlette, uvicorn, scikit-learn, Pillow). What it enforces comes from docs/contract/;
what is assumed rather than documented is listed in docs/emulator-assumptions.md.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
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
# The extra `emulator`: name to import, and name to install.
LIBRARIES = {"starlette": "starlette", "uvicorn": "uvicorn", "sklearn": "scikit-learn", "PIL": "pillow"}


def require_extra() -> None:
    """Do nothing if the extra `emulator` is installed.

    :raises ModuleNotFoundError: it is not; the text says what to install, in one line.
    """
    missing = [wanted for name, wanted in LIBRARIES.items() if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"the emulator needs {', '.join(missing)}: install this package with its extra `emulator`, in a clone of "
            f"the repository by pip install '.[emulator]', or pip install {' '.join(missing)}"
        )


def __getattr__(name: str) -> Any:
    # Importing the package must not import a web server: Airflow may look at it while it parses DAGs.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_extra()
    return getattr(import_module(f"{__name__}.{home}"), name)
