"""How values are written as JSON."""

from __future__ import annotations

import json
from typing import Any


def dump_json(value: Any) -> bytes:
    """Return compact UTF-8 JSON; numbers keep the form they have in Python (1 stays 1, 1.0 stays 1.0)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
