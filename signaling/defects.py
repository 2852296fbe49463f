"""How defects are logged: by what and where, never with the text of an exception, which could repeat what a user sent."""

from types import TracebackType


def frames_only(error: BaseException) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """``exc_info`` for the log: type and frames of an exception without its text."""
    return type(error), Exception("text withheld"), error.__traceback__
