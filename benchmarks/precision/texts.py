"""Held-out text of another domain than the calibration texts: what Debian's packages say of themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from export.evaluation.data import built_in

_FIELD = re.compile(r"^(Package|Section|Description(?:-en)?|Description-md5): ?(.*(?:\n .*)*)", re.MULTILINE)
#: Sections with enough packages to learn from, of contents that a text tells.
SECTIONS = (
    "games", "science", "sound", "video", "graphics", "text", "net", "web", "database", "editors", "math", "mail",
    "fonts", "python", "java", "perl",
)  # fmt: skip
_SHORTEST = 40


@dataclass(frozen=True)
class PackageText:
    """What one package says of itself.

    Args:
        name: the package.
        section: its section.
        text: its description: the short one, and the first paragraph of the long one where it is there.
    """

    name: str
    section: str
    text: str


def package_texts() -> list[PackageText]:
    """Every package that is described, by name, one for each description; none that calibration saw.

    Raises:
        SystemExit: this is no Debian, or its package lists were never fetched.
    """
    if shutil.which("apt-cache") is None:
        raise SystemExit("apt-cache is not here: this benchmark reads Debian's package descriptions.")
    found = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    seen = set(built_in("calibration").texts)
    texts: dict[str, PackageText] = {}
    for record in found.split("\n\n"):
        fields = dict(_FIELD.findall(record))
        text = _description(fields.get("Description") or fields.get("Description-en") or "")
        name, section = fields.get("Package", ""), fields.get("Section", "").rpartition("/")[2]
        if len(text) >= _SHORTEST and text not in seen:
            texts.setdefault(text, PackageText(name, section, text))
    if len(texts) < 1000:
        raise SystemExit("apt-cache knows too few packages; run `apt-get update` once.")
    return sorted(texts.values(), key=lambda one: one.name)


def _description(field: str) -> str:
    """The short description, and the first paragraph of the long one."""
    head, _, rest = field.partition("\n")
    paragraph = re.split(r"^ \.$", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return " ".join(f"{head}. {paragraph}".split()).strip(". ")
