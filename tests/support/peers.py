"""Independent peers that some tests talk to: Mosquitto, Prometheus, Chromium and friends.

Without the peer a test skips on a developer's machine and fails in CI, which sets SHEDLOAD_REQUIRE_PEERS=1.
"""

import importlib
import os
import shutil
from types import ModuleType
from typing import NoReturn

import pytest

REQUIRE_PEERS = "SHEDLOAD_REQUIRE_PEERS"
SYSTEM_PATHS = ("/usr/sbin", "/usr/local/sbin", "/sbin")
"""Where Debian puts daemons; a user's PATH often leaves them out."""


def require_tool(name: str, *, package: str | None = None) -> str:
    """The path of an executable; skips the test without it, or fails it under SHEDLOAD_REQUIRE_PEERS=1."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_PATHS))
    path = shutil.which(name, path=search)
    return path or missing(f"{name} is not installed (Debian package {package or name})")


def require_module(name: str) -> ModuleType:
    """An importable module; skips the test without it, or fails it under SHEDLOAD_REQUIRE_PEERS=1."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        return missing(f"{name} cannot be imported: {error}")


def missing(what: str) -> NoReturn:
    """Skip the running test because of `what`, or fail it under SHEDLOAD_REQUIRE_PEERS=1."""
    if os.environ.get(REQUIRE_PEERS) == "1":
        pytest.fail(f"{what}, and {REQUIRE_PEERS}=1 says it must be there", pytrace=False)
    pytest.skip(what)
