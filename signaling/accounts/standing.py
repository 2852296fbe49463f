"""Whether an account takes part: not when its owner froze it (P23), nor when an operator blocked it. To others both are as if it had left."""

from typing import Any

from sqlalchemy import ColumnElement, and_

from signaling.storage.tables import accounts


def takes_part() -> ColumnElement[bool]:
    """The condition in SQL."""
    return and_(accounts.c.restricted_at.is_(None), accounts.c.blocked_at.is_(None))


def is_out(row: Any) -> bool:
    """Of a row with both columns: whether it is frozen or blocked."""
    return row.restricted_at is not None or row.blocked_at is not None
