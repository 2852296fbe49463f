"""How many files and sockets this process may have open: each client takes one."""

import logging
import resource
from typing import Final

log = logging.getLogger(__name__)

RESERVED: Final = 256
"""Descriptors that are kept for stores, files and connections that are just being refused."""
_ENOUGH: Final = 8_192
"""Below that many, the operator is told."""


def raise_limit() -> int:
    """Have as many descriptors as the system lets us. Returns for how many clients they are enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:
            log.warning("the limit of open files stays at %d (%s)", soft, error)
    if soft == resource.RLIM_INFINITY:
        soft = 1_048_576
    clients = max(RESERVED, soft - RESERVED)
    if soft < _ENOUGH:
        log.warning(
            "this process may open %d files: enough for %d clients, more are refused. Raise the hard limit (LimitNOFILE= in systemd, `ulimit -Hn`)",
            soft, clients,
        )  # fmt: skip
    return clients
