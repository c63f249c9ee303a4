"""What a forked child must do first. Where no process forks, as on Windows, there is nothing to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def in_each_child(forget: Callable[[], None]) -> None:
    """Have a function called in each process that is forked off this one, before anything else.

    :param forget: drops what the child got of its parent
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
