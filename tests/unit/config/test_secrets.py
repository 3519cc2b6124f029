"""Secret files: what is read, what is refused, and that nothing is quoted."""

import os

import pytest

from controller.secrets import MAX_SECRET_BYTES, read_secret
from shedload.errors import ConfigError


def write(path, content: bytes, mode: int = 0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "secret"), [(b"pass word", "pass word"), (b"p\n", "p"), (b"p\r\n", "p"), ("п".encode(), "п")]
)
def test_read(tmp_path, content, secret):
    assert read_secret(write(tmp_path / "s", content)) == secret


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o660])
def test_modes_that_pass(tmp_path, mode):
    assert read_secret(write(tmp_path / "s", b"x", mode)) == "x"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666, 0o601])
def test_modes_that_do_not(tmp_path, mode):
    with pytest.raises(ConfigError, match="open to every user"):
        read_secret(write(tmp_path / "s", b"canary", mode))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"canary\ncanary\n", "more than one line"),
        (b"can\x00ary", "control characters"),
        (b"canary\xff", "not UTF-8"),
        (b"canary" * MAX_SECRET_BYTES, "bytes"),
    ],
)
def test_contents_that_do_not(tmp_path, content, said):
    with pytest.raises(ConfigError, match=said) as caught:
        read_secret(write(tmp_path / "s", content))
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_no_file_folder_or_pipe(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_secret(tmp_path / "none")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_secret(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):  # and does not wait for a writer
        read_secret(tmp_path / "pipe")
