"""Where secrets come from: files named in the configuration, never its text if it can be helped.

    configuration (a path) --> read_secret() --> str, held by whoever opens the connection

A secret is read when it is needed and never kept in a setting, so it cannot show in a repr, an error or a dump.
"""

import os
import stat
from pathlib import Path

from shedload.errors import ConfigError

MAX_SECRET_BYTES = 4096
"""Long enough for any token or passphrase; a larger file is the wrong file."""

WORLD = stat.S_IRWXO
"""Permission bits that a secret may not have. Group bits stay allowed: systemd hands credentials out as 0440."""


def read_secret(path: Path) -> str:
    """First line of a secret file without its line end. Raises ConfigError that never quotes the content."""
    content = _read(path)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(str(path), "is not UTF-8 text", "write the secret alone in a plain text file") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ConfigError(str(path), "is empty", "write the secret into it")
    if any(ord(sign) < 0x20 or ord(sign) == 0x7F for sign in secret):
        raise ConfigError(
            str(path), "has more than one line or control characters", "write the secret alone on one line"
        )
    return secret


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", "create it with mode 0600") from None
    try:
        _check(path, os.fstat(descriptor))
        return os.read(descriptor, MAX_SECRET_BYTES)
    finally:
        os.close(descriptor)


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(str(path), "is not a regular file", "name a file that holds the secret")
    if status.st_mode & WORLD:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(str(path), f"is open to every user (mode {mode:04o})", f"run: chmod 600 {path}")
    if status.st_size > MAX_SECRET_BYTES:
        raise ConfigError(str(path), f"has {status.st_size} bytes", f"a secret has at most {MAX_SECRET_BYTES}")
