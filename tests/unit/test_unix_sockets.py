"""Sockets of a folder whose path is too long for one."""

import shutil
import socket

import pytest

from signaling.storage.unix_sockets import make_room, socket_path


def bind(path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def test_a_socket_is_where_it_belongs_if_it_can(tmp_path):
    path = tmp_path / "s"
    assert socket_path(path) == make_room(path) == path
    bind(path)
    assert not make_room(path).exists(), "what was left there is gone"


def test_a_long_path_has_a_folder_of_its_own_that_nobody_else_can_enter(tmp_path):
    paths = [tmp_path / letter / ("x" * 100) / "s" for letter in "ab"]
    bound = [make_room(path) for path in paths]
    try:
        assert bound == [socket_path(path) for path in paths]
        assert bound[0] != bound[1]
        for path in bound:
            assert path.parent.stat().st_mode & 0o777 == 0o700
            bind(path)
        bound[0].parent.chmod(0o755)
        with pytest.raises(PermissionError):
            make_room(paths[0])
    finally:
        for path in bound:
            shutil.rmtree(path.parent)
