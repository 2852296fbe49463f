"""Becomes one service of a compose file: mounts its files, drops rights, and turns into its program. Run by ``containers.py`` within network
and mount namespaces of its own, so that all of it is gone when the program ends. Standard library only.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _target(root: Path, path: str, *, folder: bool) -> str:
    """A place to mount on."""
    target = root / path.lstrip("/")
    if folder:
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    return str(target)


def main(plan: dict[str, Any]) -> None:
    """Never returns."""
    base = Path(plan["base"])
    base.mkdir()
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(base))
    for name in ("upper", "work", "root"):
        (base / name).mkdir()
    root = base / "root"
    _mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={base}/upper,workdir={base}/work", str(root))
    user, group = (int(part) for part in plan["user"].split(":"))
    for kind, source, path in plan["mounts"]:
        if kind == "tmpfs":
            # as an engine mounts them
            _mount("-t", "tmpfs", "-o", "mode=1777,noexec,nosuid,nodev", "tmpfs", _target(root, path, folder=True))
            continue
        target = _target(root, path, folder=Path(source).is_dir())
        _mount("--bind", source, target)
        if kind == "bind-ro":
            _mount("-o", "remount,bind,ro", target)
    for path in ("proc", "dev"):
        _mount("--rbind", f"/{path}", str(root / path))
    for needed in map(Path, plan["readable"]):  # a checkout below a folder that is the service's own now
        if any(kind == "tmpfs" and needed.is_relative_to(path) for kind, _, path in plan["mounts"]):
            _mount("--bind", str(needed), _target(root, str(needed), folder=needed.is_dir()))
    for readable in plan["readable"]:  # another user may read the checkout and Python, wherever they are; in this view of them only
        for folder in Path(readable).parents:
            inside = root / str(folder).lstrip("/")
            inside.chmod(inside.stat().st_mode | 0o011)
    (root / "etc" / "hosts").write_text(plan["hosts"])
    if plan["read_only"]:
        _mount("-o", "remount,ro", str(root))
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    os.execvpe(plan["command"][0], plan["command"], plan["environment"])


main(json.loads(sys.argv[1]))
