"""Python runs this in every child of the tests (``tests/log_scanner.py``): what it says on standard error is kept in a file, too."""

import os
import sys

_folder = os.environ.get("KT_STDERR_COPIES")


class _Tee:
    def __init__(self, stream, path):
        self._stream = stream
        self._path = path
        self._file = None

    def write(self, text):
        if self._file is None:  # most children say nothing
            self._file = open(self._path, "a", buffering=1, encoding="utf-8", errors="replace")  # noqa: SIM115 - as long as the process
        self._file.write(text)
        return self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


if _folder and sys.stderr is not None:
    sys.stderr = _Tee(sys.stderr, os.path.join(_folder, str(os.getpid())))
