"""Framing: LF ends a line, CR and blanks are nothing, and no peer makes us hold more than the limit."""

import pytest

from shedload.stratum.lines import LineOverrun, LineReader, clean_text
from tests.support.property import assert_split_invariant


def read(chunks, limit=100):
    reader, lines = LineReader(limit), []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while (line := reader.next_line()) is not None:
                lines.append(line)
    except LineOverrun as error:
        lines.append(str(error))
    return lines


def test_crlf_blank_lines_and_half_lines():
    assert assert_split_invariant(read, b'{"a":1}\r\n\n\r\n  \n{"b":2}\n{"half') == [b'{"a":1}', b'{"b":2}']


def test_a_line_of_the_limit_passes_and_one_byte_more_does_not():
    assert assert_split_invariant(read, b"x" * 100 + b"\n") == [b"x" * 100]
    assert assert_split_invariant(read, b"ok\n" + b"x" * 101 + b"\nlost\n") == [b"ok", "line longer than 100 bytes"]


def test_overrun_is_found_before_the_line_ends():
    reader = LineReader(10)
    reader.feed(b"x" * 11)
    with pytest.raises(LineOverrun):
        reader.next_line()


def test_the_limit_may_grow_between_two_lines():
    reader = LineReader(4)
    reader.feed(b"abcd\n" + b"y" * 20 + b"\n")
    assert reader.next_line() == b"abcd"
    reader.limit = 20
    assert reader.next_line() == b"y" * 20


def test_clean_text_is_one_printable_bounded_line():
    assert clean_text("a\nb\x1b[31m\ud800", 7) == "a?b?[31"
    assert clean_text(["x"]) == "['x']"
    assert len(clean_text("y" * 1000)) == 120
