"""Fixtures of the browser tests."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.service import Service, serve


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A service of its own for each test."""
    async with serve(tmp_path / "data") as running:
        yield running


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Where pictures go: ``$TEST_ARTIFACTS``, else the test's own folder."""
    folder = Path(os.environ.get("TEST_ARTIFACTS", tmp_path / "artifacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
