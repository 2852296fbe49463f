"""Where the unix sockets of a service lie whose folder may have a long path: a socket's has 108 bytes (unix(7)), a checkout's may have more."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

_LONGEST: Final = 100
"""Bytes; some are left for what a server puts behind a path."""


def socket_path(path: Path) -> Path:
    """Where a socket that belongs at ``path`` is bound and found: there, or in a folder of this user's below the temporary one."""
    if len(os.fsencode(path)) <= _LONGEST:
        return path
    belongs = hashlib.sha256(os.fsencode(path.parent)).hexdigest()[:16]
    return Path("/tmp") / f"kloudtalk-{os.getuid()}-{belongs}" / path.name  # noqa: S108 - `make_room` lets nobody else in


def make_room(path: Path) -> Path:
    """Make the folder of a socket that belongs at ``path``, and remove one that was left there. Returns ``socket_path``.

    Raises ``OSError`` when somebody else has made a folder of that name in the temporary one.
    """
    bound = socket_path(path)
    bound.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if bound != path:
        made = bound.parent.lstat()
        if not stat.S_ISDIR(made.st_mode) or made.st_uid != os.getuid() or made.st_mode & 0o077:
            raise PermissionError(f"{bound.parent} is not this user's own folder")
    bound.unlink(missing_ok=True)
    return bound
