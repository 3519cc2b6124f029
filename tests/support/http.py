"""aiohttp in virtual time.

A plain `aiohttp.TCPConnector` already works in a virtual loop (its real sockets only stand for virtual ones);
`VirtualConnector` makes no real descriptor at all and is what tests use for clients of their own.
"""

import socket
from typing import Any

import aiohttp

from tests.support.virtual import network


class VirtualConnector(aiohttp.TCPConnector):
    """A connector over the network in memory; takes the options of `TCPConnector`."""

    def __init__(self, **options: Any) -> None:
        wires = network()
        super().__init__(socket_factory=lambda info: wires.socket(info[0]), **options)  # type: ignore[arg-type,return-value]


def virtual_session(**options: Any) -> aiohttp.ClientSession:
    """A client session over the network in memory; close it."""
    return aiohttp.ClientSession(connector=VirtualConnector(family=socket.AF_INET), **options)
