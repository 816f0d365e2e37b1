"""Types of the manifest's fields that say more than `int`, `float` and `str`; the decoder checks them."""

from __future__ import annotations

import sys
from typing import Annotated

from msgspec import Meta

_LARGEST_INT = 2**63 - 1
_LARGEST_FLOAT = sys.float_info.max

#: A whole number; one of at least 0; one of at least 1.
Whole = Annotated[int, Meta(ge=-_LARGEST_INT, le=_LARGEST_INT)]
Count = Annotated[int, Meta(ge=0, le=_LARGEST_INT)]
Positive = Annotated[int, Meta(ge=1, le=_LARGEST_INT)]
#: A finite number, and one of at least 0: JSON's 1e999 is infinite.
Number = Annotated[float, Meta(ge=-_LARGEST_FLOAT, le=_LARGEST_FLOAT)]
Distance = Annotated[float, Meta(ge=0, le=_LARGEST_FLOAT)]
#: A sha256 in lower-case hexadecimal digits.
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
