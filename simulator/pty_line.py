"""A serial line that other programs can open: the master end of a pty, and a symlink that stays when ptys change.

The slave is left closed here, as a real device does not hold its host's port open: flags that a host sets on it end
with the host.
"""

import asyncio
import os
import tempfile
import tty
from pathlib import Path
from typing import Protocol

RETRY = 0.03
"""Seconds between looks whether a host has opened the line; a device is probed for a second."""


class Line(Protocol):
    """The device's end of a serial line."""

    async def read(self, max_bytes: int) -> bytes:
        """Wait for bytes; b"" when the line is closed."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; OSError when the line is gone."""
        ...

    def close(self) -> None:
        """Unplug."""
        ...


class Plug(Protocol):
    """Where a device is plugged in and out; `address` is what the host opens."""

    @property
    def address(self) -> str:
        """What the host opens."""
        ...

    def plug(self) -> Line:
        """Appear at the address. OSError where that cannot be."""
        ...

    def remove(self) -> None:
        """Leave no trace of the address."""
        ...


class PtyPlug:
    """Appears under one path, each time with another pty behind it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def address(self) -> str:
        """The symlink."""
        return str(self._path)

    def plug(self) -> "PtyLine":
        """Make a pty and point the path to it."""
        return PtyLine(self)

    def remove(self) -> None:
        """Take the symlink away."""
        if self._path.is_symlink():
            self._path.unlink(missing_ok=True)

    def new_pty(self) -> int:
        """A fresh pty behind the path; its master end. OSError where the path cannot be had."""
        master, slave = os.openpty()
        try:
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._point_to(os.ttyname(slave))
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        return master

    def _point_to(self, name: str) -> None:
        """Replace the symlink in one step, so that no host finds nothing there."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._path.parent, prefix=".plug-") as folder:
            link = Path(folder) / "link"
            link.symlink_to(name)
            link.replace(self._path)


class PtyLine:
    """The master end, on the running loop."""

    def __init__(self, plug: PtyPlug) -> None:
        self._plug = plug
        self._master = plug.new_pty()
        self._open = True
        self._used = False
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()

    async def read(self, max_bytes: int) -> bytes:
        """Wait for bytes; b"" when this end was closed."""
        while self._open:
            try:
                data = os.read(self._master, max_bytes)
                self._used = True
                return data
            except BlockingIOError:
                await self._readable()
            except OSError:
                # EIO: no host has the line open. The kernel would call that readable without end, so look again later.
                self._renew()
                await self._pause()
        return b""

    async def write(self, data: bytes) -> None:
        """Send, while the line takes bytes; a host that never reads loses them, as on a real line."""
        while data and self._open:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                return

    def close(self) -> None:
        """Unplug: the host reads the end of file and its writes fail."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._master)
        os.close(self._master)
        self._plug.remove()
        for waiter in self._waiting:
            _wake(waiter)

    def _renew(self) -> None:
        """A host has left. If it was killed, the pty would keep its claim to be alone; a real port would not."""
        if self._used:
            old, self._master = self._master, self._plug.new_pty()
            self._loop.remove_reader(old)
            os.close(old)
            self._used = False

    async def _readable(self) -> None:
        waiter = self._wait()
        self._loop.add_reader(self._master, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            if self._open:
                self._loop.remove_reader(self._master)

    async def _pause(self) -> None:
        waiter = self._wait()
        try:
            async with asyncio.timeout(RETRY):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(waiter)

    def _wait(self) -> "asyncio.Future[None]":
        waiter = self._loop.create_future()
        self._waiting.add(waiter)
        return waiter


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
