"""Names of images in an export: like those of the images themselves, none twice, none that leaves the folder. Pure."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from urllib.parse import unquote, urlsplit

_LONGEST = 150
"""Bytes of a name; file systems take 255, and the name of a temporary file is longer."""
# Separators of any system, what addresses and shells give a meaning, and what cannot be seen.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\/:*?\"<>|#%\ud800-\udfff]")
# Names of devices in Windows, whatever follows the dot; a dot or a blank at the end is lost there.
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE)
_END = re.compile(r"[. ]+$")
_HASH = 8


def own_name(source: str) -> str:
    """Return the name of an image without its folders.

    :param source: where the image lies, such as ``s3://bucket/folder/rose.jpg``
    """
    if source.startswith(("http://", "https://")):
        return unquote(urlsplit(source).path.rstrip("/").rpartition("/")[2])
    return source.rstrip("/").rpartition("/")[2]


def safe_name(own: str) -> str:
    """Return a name that any storage and any disk takes, like the image's own."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", own))
    visible = name.lstrip(".")  # a leading dot hides a file, and two lead out of the folder
    plain = _END.sub("_", "_" * (len(name) - len(visible)) + visible)
    return _shortened(("_" if _DEVICE.match(plain) else "") + plain or "image")


def stem_of(name: str) -> str:
    """Return a name without its extension."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def collision_key(name: str) -> str:
    """Return what two names have in common that some disk takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def distinguished(name: str, sample_id: str) -> str:
    """Return a name with a mark of the sample in it."""
    stem = stem_of(name)
    mark = sha256(sample_id.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    return f"{stem}-{mark}{name[len(stem) :]}"


def _shortened(name: str) -> str:
    whole = name.encode()
    if len(whole) <= _LONGEST:
        return name
    stem = stem_of(name)
    extension = name[len(stem) :].encode()[:20].decode(errors="ignore")
    kept = stem.encode()[: _LONGEST - 40].decode(errors="ignore")
    return f"{kept}-{sha256(whole).hexdigest()[:_HASH]}{extension}"
