"""Builds the relay's data plane (``media/_plane.c``) into the package when there is a C compiler; without one the package is pure Python and
does the same more slowly.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-pthread", "-fstack-protector-strong")
SHARED = ("-fPIC", "-shared", "-fvisibility=hidden")


def compile_plane(source: Path, target: Path, *flags: str) -> str | None:
    """Compile the data plane, as a shared library unless there are other ``flags``; None when it worked, else why not."""
    compiler = os.environ.get("CC") or next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    if compiler is None:
        return "there is no C compiler"
    new = target.with_name(target.name + ".new")
    done = subprocess.run(  # noqa: S603 - the compiler of this machine
        [*compiler.split(), *FLAGS, *(flags or SHARED), "-o", str(new), str(source)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"{compiler} failed: {done.stderr.strip().splitlines()[0] if done.stderr.strip() else done.returncode}"
    new.replace(target)  # a relay that runs keeps the one that it has
    return None


class DataPlaneHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's custom build hook; see ``pyproject.toml``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and have the wheel carry what was built."""
        media = Path(self.root) / "media"
        if self.target_name != "wheel":
            return
        why_not = compile_plane(media / "_plane.c", media / "_plane.so")
        if why_not is not None:
            (media / "_plane.so").unlink(missing_ok=True)
            self.app.display_warning(f"the relay's data plane is not built, and the one in Python is used: {why_not}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append("media/_plane.so")
