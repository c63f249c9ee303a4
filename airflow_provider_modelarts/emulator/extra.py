"""What the emulator needs beside the package's own dependencies: the extra `emulator`."""

from __future__ import annotations

from importlib.util import find_spec

# Name to import, and name to install.
LIBRARIES = {"starlette": "starlette", "uvicorn": "uvicorn", "sklearn": "scikit-learn", "PIL": "pillow"}


def require_extra() -> None:
    """Do nothing if everything is installed.

    :raises ModuleNotFoundError: something is not; the text says what to install, in one line.
    """
    missing = [wanted for name, wanted in LIBRARIES.items() if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"the emulator needs {', '.join(missing)}: install this package with its extra `emulator`, in a clone of "
            f"the repository by pip install '.[emulator]', or pip install {' '.join(missing)}"
        )
