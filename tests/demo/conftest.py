"""What the demo's tests share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def reachable() -> Iterator[Path]:
    """An empty folder that PostgreSQL's account can reach, which pytest's own are not for root."""
    path = Path(tempfile.mkdtemp(prefix="scrip-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
