"""Reads a file that an operator wrote, or says what is wrong with it: the one way from a path to text."""

import os
import stat
from pathlib import Path

from shedload.errors import ConfigError


def read_text(path: Path, *, limit: int, missing: str, too_large: str) -> str:
    """The whole file as text. Raises ConfigError; `missing` and `too_large` are what would do in these cases."""
    content = _read(path, limit, missing)
    if len(content) > limit:
        raise ConfigError(str(path), f"is larger than {limit} bytes", too_large)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}", "is not UTF-8 text", "save the file as UTF-8") from None


def _read(path: Path, limit: int, missing: str) -> bytes:
    try:
        # Without O_NONBLOCK a FIFO would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no such file", missing) from None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", "check its owner and mode") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(str(path), "is not a regular file", missing)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit + 1)
