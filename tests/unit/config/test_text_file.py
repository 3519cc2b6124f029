"""What an operator may name by mistake instead of a file."""

import os

import pytest

from controller.text_file import read_text
from shedload.errors import ConfigError

LIMIT = 100


def read(path):
    return read_text(path, limit=LIMIT, missing="name it", too_large="split it")


def test_text_with_and_without_a_byte_order_mark(tmp_path):
    (tmp_path / "plain").write_text("grüezi")
    (tmp_path / "marked").write_text("grüezi", encoding="utf-8-sig")
    assert read(tmp_path / "plain") == read(tmp_path / "marked") == "grüezi"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"x" * (LIMIT + 1), "is larger than 100 bytes; split it"), (b"a\nb\xff", ":2: is not UTF-8 text")],
)
def test_content_that_is_none(tmp_path, content, problem):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "file")
    assert problem in str(caught.value)


def test_a_fifo_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError, match="is not a regular file; name it"):
        read(tmp_path / "fifo")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="is not a regular file; name it"):
        read(tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file; name it"):
        read(tmp_path / "none")
