"""Waiting for something outside this process, with an end."""

import time
from collections.abc import Callable

PATIENCE = 20.0


def until(true: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Return as soon as `true()` is; fails when it does not become so."""
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain until {what}")
        time.sleep(0.05)
