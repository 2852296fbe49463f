"""Takes out of text what could name a person. For the words of libraries, which we do not choose; our own lines hold nothing of the kind (P17),
which the tests prove on what was said before this. Pure.
"""

import re
from typing import Final

_PATTERNS: Final = (
    (re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"), "[e-mail]"),
    (re.compile(r"(?:\w+:)?//[^\s/@'\"]*@"), "//[user]@"),
    (re.compile(r"(?<![\w.+-])\+?\d[\d ()/-]{6,}\d(?![\w.])"), "[number]"),
    (re.compile(r"(?<![\w.])(?!127\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"), "[address]"),
    (re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*(?:::|(?::[0-9A-Fa-f]{1,4}){3}))[0-9A-Fa-f:]{3,}(?!\w)"), "[address]"),
    (re.compile(r"(?<![\w-])[A-Za-z0-9_-]{22,}(?![\w-])"), "[token]"),
)


def redacted(text: str) -> str:
    """The text without e-mail addresses, numbers, IP addresses but loopback's, users in URLs, and long tokens."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
