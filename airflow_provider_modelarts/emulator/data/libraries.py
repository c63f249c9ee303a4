"""Everything that the emulator takes from NumPy, Pillow, scikit-learn and threadpoolctl.

It is the one place where these libraries are imported: of several threads that come at once one imports them, and the
others wait for this module as a whole. Threads that import parts of scikit-learn side by side can meet half-made
modules. The import takes a second, which emulators without images need not pay: import `images` and `classifier`, which
use this module, inside functions only.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # ships no types
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # ships no types
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

__all__ = ["DIGITS", "Image", "LogisticRegression", "np", "threadpool_limits"]

# Both import further modules when they are first called.
Image.preinit()
DIGITS = load_digits()
