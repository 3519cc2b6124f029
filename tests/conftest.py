"""What holds for every test: the repository's root can be imported, and nothing may be left behind."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pytest_asyncio import is_async_test

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from tests.support import leaks  # noqa: E402 (after the path)

DESCRIPTOR_WATCH = "nothing_left_behind"
TASK_WATCH = "no_task_left_behind"
pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    """Markers of the test tools."""
    config.addinivalue_line("markers", "allow_leftovers(reason): this test may leave descriptors, threads or tasks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the task watch be the first async fixture of each async test, so that it looks when the others are gone.

    It comes right behind the watch on descriptors and threads, which looks last, when the test's loop is closed.
    """
    for item in items:
        if is_async_test(item) and TASK_WATCH not in item.fixturenames:
            item.fixturenames.insert(item.fixturenames.index(DESCRIPTOR_WATCH) + 1, TASK_WATCH)


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a socket, file, thread or child process behind."""
    before = leaks.Snapshot.take()
    yield
    if request.node.get_closest_marker("allow_leftovers") is None:
        leaks.report(before.left_since())


@pytest.fixture
async def no_task_left_behind(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Fail an async test that leaves a task behind."""
    before = asyncio.all_tasks()
    yield
    if request.node.get_closest_marker("allow_leftovers") is None:
        leaks.report(await leaks.left_tasks(before))
