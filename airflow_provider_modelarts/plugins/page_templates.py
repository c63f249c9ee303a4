"""The files of the page: its templates, its script and its style, and the header field that lets nothing else run."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent / "templates"


class PageTemplates:
    """The templates, read once.

    :ivar content_policy: value of the header field ``Content-Security-Policy``
    """

    def __init__(self) -> None:
        script, style = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("review.js", "review.css"))
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(script=Markup(script), style=Markup(style))  # noqa: S704 - files of this package
        self.content_policy = "; ".join(
            (
                "default-src 'none'",
                "img-src 'self'",
                "connect-src 'self'",
                "form-action 'self'",
                "frame-ancestors 'self'",
                "base-uri 'none'",
                f"script-src '{_hash(script)}'",
                f"style-src '{_hash(style)}'",
            )
        )

    def render(self, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page; half a surrogate pair, which no page can hold, becomes a question mark."""
        text = self._environment.get_template(name).render(**values)
        return HTMLResponse(text.encode("utf-8", "replace"), status)


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
