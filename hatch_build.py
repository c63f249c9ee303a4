"""Build hook: the README as the description of the package, which is also read where the repository is not at hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = r"\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)"


def description(readme: str) -> str:
    """Return the README without pictures of the repository, and with paths in the place of relative links."""
    text = re.sub(rf"!{_RELATIVE}\n+", "", readme)
    return re.sub(_RELATIVE, lambda link: link[1] if link[1] == link[2] else f"{link[1]} (`{link[2]}`)", text)


class CustomMetadataHook(MetadataHookInterface):
    """Fills in the field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description."""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": description(readme)}
