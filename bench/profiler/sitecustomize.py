"""A sampling profiler for the hub process, loaded by Python itself (site) when ``bench.signaling --profile`` puts this folder on the path.

At every tick of CPU time of all threads (``ITIMER_PROF``, setitimer(2); 4 ms where the kernel has 250 a second) the stack of the main thread
is counted. Python takes the signal when C code has returned, so what C code does counts for the Python function that runs next. At the end of the process the counts are written as JSON: functions by their own time and by all time
below them.
"""

import atexit
import collections
import json
import os
import signal
import sys
from types import FrameType
from typing import Final

_INTERVAL: Final = 0.001
"""Seconds asked for; the kernel rounds up to its tick."""

_where = os.environ.get("BENCH_PROFILE")
if _where and "hub" in sys.orig_argv:
    _own: collections.Counter[str] = collections.Counter()
    _all: collections.Counter[str] = collections.Counter()
    _pid = os.getpid()

    def _name(frame: FrameType) -> str:
        code = frame.f_code
        return f"{'/'.join(code.co_filename.split('/')[-2:])}:{code.co_qualname}"

    def _sample(_number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        _own[_name(frame)] += 1
        seen: set[str] = set()
        while frame is not None:
            seen.add(_name(frame))
            frame = frame.f_back
        _all.update(seen)

    def _start(_number: int, _frame: FrameType | None) -> None:
        """SIGUSR2: begin, so that starting and warming up do not count."""
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)

    def _write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if os.getpid() == _pid:
            with open(_where or "", "w") as output:
                json.dump({"own": _own.most_common(60), "all": _all.most_common(120), "samples": sum(_own.values())}, output)

    signal.signal(signal.SIGPROF, _sample)
    signal.signal(signal.SIGUSR2, _start)
    atexit.register(_write)
