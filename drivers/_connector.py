"""The connector of the web session: bounds what one answer may be on the wire, headers and framing included.

    Io --session--> Web, HttpMeter --body cap--> text        this module: everything that the body cap never sees

A peer may send informational answers or chunk extensions without end: no body comes of them, so the cap on bodies never
counts them, and parsing them keeps a core busy until the deadline.
"""

import functools
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

WIRE_CAP = 512 * 1024
"""Bytes of one answer as it comes: the largest body taken, in small chunks, and its headers."""


class Flood(aiohttp.ClientPayloadError):
    """More came than any answer has."""


class BoundedConnector(aiohttp.TCPConnector):
    """A connector whose connections hang up on floods."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp has no public place for it; tests/unit/drivers/test_connector.py notices when this one moves.
        self._factory = functools.partial(_BoundedHandler, loop=self._loop)  # type: ignore[assignment]


class _BoundedHandler(ResponseHandler):
    _came = 0

    def set_response_params(self, **options: Any) -> None:
        """A new question: its answer begins with what may have come too early."""
        self._came = 0
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        """Take bytes up to the cap, then hang up."""
        room = WIRE_CAP - self._came
        self._came += len(data)
        if room > 0:
            super().data_received(data[:room])
        if self._came > WIRE_CAP and self.transport is not None:
            self.set_exception(Flood(f"more than {WIRE_CAP} bytes in one answer"))
            self.transport.abort()
