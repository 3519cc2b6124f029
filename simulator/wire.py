"""How the bytes of an answer leave a simulated rig: as they are, or spoilt by a fault of the connection.

A `Sender` belongs to one connection. It never waits: slow answers are timers on the loop, endless ones follow the
transport's flow control.
"""

import asyncio

from simulator.faults import Fault, FaultSwitch

GARBAGE = bytes((i * 73 + 41) % 256 for i in range(300))
ENDLESS_PIECE = b'{"STATS":[{"temp":0},' + b'{"GHS 5s":1.5,"chain_acs1":" ooo ooo ooo"},' * 90
ENDLESS_INTERVAL = 0.02
"""Seconds between pieces of 4 KB: 200 KB/s fills any buffer without filling the machine."""
DRIP_INTERVAL = 1.0


class Sender:
    """Sends on one transport and remembers the timers that are still to fire."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._left = b""

    def send(self, head: bytes, body: bytes, faults: FaultSwitch, *, keep: bool) -> None:
        """Send an answer as the faults will have it; close behind it unless `keep`."""
        if Fault.HANG in faults:
            return
        if Fault.ENDLESS_JSON in faults:
            self._transport.write(_without_length(head))
            self._endless()
        elif Fault.DRIP in faults:
            self._left = head + body
            self._drip()
        else:
            self._plain(head, body, faults, keep=keep)

    def pause(self) -> None:
        """The peer reads too slowly."""
        self._paused = True

    def resume(self) -> None:
        """The peer has caught up."""
        self._paused = False

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plain(self, head: bytes, body: bytes, faults: FaultSwitch, *, keep: bool) -> None:
        if Fault.GARBAGE in faults:
            body = (GARBAGE * (len(body) // len(GARBAGE) + 1))[: len(body)] if head else GARBAGE
        if Fault.TRUNCATED in faults:
            body, keep = body[: len(body) // 2], False
        self._transport.write(head + body)
        if not keep:
            self._transport.close()

    def _drip(self) -> None:
        self._transport.write(self._left[:1])
        self._left = self._left[1:]
        if self._left:
            self._timer = self._loop.call_later(DRIP_INTERVAL, self._drip)
        else:
            self._transport.close()

    def _endless(self) -> None:
        if not self._paused:
            self._transport.write(ENDLESS_PIECE)
        self._timer = self._loop.call_later(ENDLESS_INTERVAL, self._endless)


def _without_length(head: bytes) -> bytes:
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length"))
