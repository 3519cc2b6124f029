"""The HTTP reader of simulated rigs: the same requests however the bytes are cut."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.web_wire import MAX_HEAD, BadRequest, RequestReader, render
from tests.support.property import assert_split_invariant

TWO = (
    b"POST /cgi-bin/blink.cgi HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n"
    b'{"blink":true}GET / HTTP/1.1\r\nConnection: close\r\n\r\n'
)


def read(chunks):
    reader = RequestReader()
    return [request for chunk in chunks for request in reader.feed(chunk)]


def test_two_requests_however_they_are_cut():
    first, second = assert_split_invariant(read, TWO)
    assert (first.method, first.path, first.body, first.keep) == ("POST", "/cgi-bin/blink.cgi", b'{"blink":true}', True)
    assert first.headers == {"host": "x", "content-length": "14"}
    assert (second.method, second.path, second.body, second.keep) == ("GET", "/", b"", False)


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x" * (MAX_HEAD + 1),
    ],
)
def test_what_it_will_not_take(data):
    with pytest.raises(BadRequest):
        read([data])


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_requests_or_a_bad_request(chunks):
    with contextlib.suppress(BadRequest):
        read(chunks)


def test_an_answer_is_whole():
    head = render(200, {"Content-Type": "text/plain"}, 3, keep=True)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 3\r\n" in head
    assert head.endswith(b"\r\n\r\n")
