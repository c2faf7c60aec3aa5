"""Memory that the process no longer needs goes back to the system: the C library keeps it otherwise.

Loading a large document reads its journal whole and keeps half of that; the rest stays with the process for good, as
holes between what lives on. It knows nothing of documents.
"""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return freed memory to the system where the C library has a way to (glibc); elsewhere do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
