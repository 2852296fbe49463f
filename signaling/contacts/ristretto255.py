"""libsodium's ristretto255 group (RFC 9496), which ``rbcl`` brings, loaded without a trace in the file system.

At each start rbcl writes its libsodium, 2.8 MB, into the temporary folder, loads it from there and leaves it behind. Folders fill up with that, and
where ``/tmp`` may hold no programs (``noexec``: containers, hardened servers) nothing starts. Here the library is written to memory.
"""

import os
import sys
import tempfile
from contextlib import suppress
from types import SimpleNamespace
from typing import Any


def _from_memory() -> Any:
    """Imports rbcl with a file in memory (``memfd_create(2)``) for its temporary one.

    Raises:
        OSError: this system has no such files, or they may hold no programs either (``vm.memfd_noexec``).
    """
    if not hasattr(os, "memfd_create"):
        raise OSError("no files in memory here")
    named = tempfile.NamedTemporaryFile
    descriptor = os.memfd_create("libsodium")
    tempfile.NamedTemporaryFile = lambda **_: SimpleNamespace(name=f"/proc/self/fd/{descriptor}")  # type: ignore[assignment]
    try:
        import rbcl
    finally:
        tempfile.NamedTemporaryFile = named
        os.close(descriptor)
    return rbcl


def _from_file() -> Any:
    """Imports rbcl as it comes, and removes what it wrote once that is loaded."""
    import rbcl

    with suppress(OSError):
        os.unlink(sys.modules["rbcl._sodium"].lib_path)
    return rbcl


def _load() -> Any:
    try:
        loaded = _from_memory()
    except OSError:
        loaded = _from_file()
    vars(sys.modules["rbcl._sodium"])["sodium_bs"] = b""  # the library once more, kept for nothing
    return loaded


_rbcl = _load()

is_valid_point = _rbcl.crypto_core_ristretto255_is_valid_point
"""``is_valid_point(bytes) -> bool``: the canonical encoding of an element, 32 bytes."""

from_hash = _rbcl.crypto_core_ristretto255_from_hash
"""``from_hash(bytes) -> bytes``: the element for 64 uniform bytes (RFC 9496, section 4.3.4)."""

scalarmult = _rbcl.crypto_scalarmult_ristretto255
"""``scalarmult(scalar, element) -> bytes``: 32 bytes each. Raises ``RuntimeError`` where the result is the identity."""
