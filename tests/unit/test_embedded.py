"""A child of ``serve`` does not outlive it, not even when ``serve`` dies while the child is being made."""

import subprocess
import sys

_CODE = """
import os, sys
from signaling.storage.embedded import dying_with_parent
before_exec = dying_with_parent()
child = os.fork()
if child == 0:
    if sys.argv[1] == "orphan":
        grandchild = os.fork()  # its parent is not the one that asked: as if that had died before prctl
        if grandchild:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    before_exec()
    os._exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_goes_on_while_its_parent_lives():
    assert subprocess.run([sys.executable, "-c", _CODE, "child"], check=False).returncode == 7


def test_a_child_whose_parent_died_before_it_could_be_told_ends_itself():
    assert subprocess.run([sys.executable, "-c", _CODE, "orphan"], check=False).returncode == 1
