"""The serial transport on real ptys, under both event loops."""

import asyncio
import fcntl
import os
import struct
import termios
import tty

import pytest
import uvloop

from drivers._serial import open_port
from shedload.errors import Unreachable

TIOCGEXCL = 0x80045440
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", autouse=True)
def _libuv_is_up():
    """libuv opens a pipe with the first loop of the process and keeps it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a coroutine function in a loop of each kind."""

    def run(main, *arguments):
        async def bounded():
            async with asyncio.timeout(10):
                return await main(*arguments)

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(bounded())

    return run


class Pty:
    """A device's end, and the path that the driver opens."""

    def __init__(self):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        os.close(slave)

    def unplug(self):
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@pytest.fixture
def pty():
    pty = Pty()
    yield pty
    pty.unplug()


def test_bytes_pass_in_both_directions_unchanged(run, pty):
    every = bytes(range(256))

    async def main():
        port = await open_port(pty.path, 115_200)
        await port.write(every)
        assert os.read(pty.master, 300) == every
        os.write(pty.master, every)
        got = b""
        while len(got) < 256:
            got += await port.read(64)
        assert got == every
        port.close()

    run(main)


def test_reading_waits_for_bytes_and_takes_no_turn_meanwhile(run, pty):
    async def main():
        port = await open_port(pty.path, 115_200)
        reading = asyncio.ensure_future(port.read(64))
        await asyncio.sleep(0.05)
        assert not reading.done(), "an empty line is no lost device"
        os.write(pty.master, b"\x00\x01\x87\xa2")
        assert await reading == b"\x00\x01\x87\xa2"
        port.close()

    run(main)


def test_a_cancelled_read_loses_nothing(run, pty):
    async def main():
        port = await open_port(pty.path, 115_200)
        for _ in range(20):
            reading = asyncio.ensure_future(port.read(4))
            await asyncio.sleep(0)
            os.write(pty.master, b"nonc")
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            assert await port.read(4) == b"nonc"
        port.close()

    run(main)


def test_a_device_that_is_pulled_out_ends_the_read_and_fails_the_write(run, pty):
    async def main():
        port = await open_port(pty.path, 115_200)
        reading = asyncio.ensure_future(port.read(64))
        await asyncio.sleep(0.02)
        pty.unplug()
        assert await reading == b""
        with pytest.raises(Unreachable, match="is gone"):
            await port.write(b"work")
        port.close()

    run(main)


def test_closing_wakes_whoever_reads(run, pty):
    async def main():
        port = await open_port(pty.path, 115_200)
        reading = asyncio.ensure_future(port.read(64))
        await asyncio.sleep(0.02)
        port.close()
        port.close()
        assert await reading == b""
        assert await port.read(64) == b""
        with pytest.raises(Unreachable, match="closed"):
            await port.write(b"work")

    run(main)


def test_a_device_that_takes_no_bytes_is_given_up(run, pty, monkeypatch):
    monkeypatch.setattr("drivers._serial.WRITE_DEADLINE", 0.1)

    async def main():
        port = await open_port(pty.path, 115_200)
        with pytest.raises(Unreachable, match="takes no bytes"):
            await port.write(bytes(1 << 20))
        port.close()

    run(main)


def test_the_line_is_ours_alone_and_given_back(run, pty):
    async def main():
        port = await open_port(pty.path, 115_200)
        assert _exclusive(port._descriptor)
        with pytest.raises(Unreachable, match="cannot open"):
            await open_port(pty.path, 115_200)
        port.close()
        again = os.open(pty.path, os.O_RDWR | os.O_NOCTTY)
        assert not _exclusive(again), "only root could open it again"
        os.close(again)

    run(main)


def _exclusive(descriptor):
    return struct.unpack("i", fcntl.ioctl(descriptor, TIOCGEXCL, bytes(4)))[0]


def test_the_line_is_raw_without_flow_control(run, pty):
    async def main():
        port = await open_port(pty.path, 115_200)
        iflag, oflag, cflag, lflag, ispeed, _, control = termios.tcgetattr(port._descriptor)
        assert not iflag & (termios.IXON | termios.IXOFF | termios.ICRNL)
        assert not oflag & termios.OPOST
        assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG)
        assert not cflag & (termios.PARENB | termios.CSTOPB)
        assert ispeed == termios.B115200
        assert control[termios.VMIN] in {1, b"\x01"}
        port.close()

    run(main)


def test_what_lay_on_the_line_before_is_dropped(run, pty):
    async def main():
        os.write(pty.master, b"noise of an earlier life")
        port = await open_port(pty.path, 115_200)
        os.write(pty.master, b"now")
        assert await port.read(64) == b"now"
        port.close()

    run(main)


def test_a_path_that_is_no_device_is_unreachable_and_says_why(run, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")

    async def main():
        with pytest.raises(Unreachable, match="No such file or directory"):
            await open_port(str(tmp_path / "none"), 115_200)
        with pytest.raises(Unreachable, match="cannot open"):
            await open_port(str(file), 115_200)

    run(main)


def test_an_opening_that_hangs_is_given_up_and_closed_when_it_ends(run, pty, monkeypatch):
    import threading

    import drivers._serial as transport

    real, go, opened = transport._open, threading.Event(), []

    def slow(path, baud):
        go.wait(5)
        opened.append(real(path, baud))
        return opened[0]

    monkeypatch.setattr(transport, "_open", slow)
    monkeypatch.setattr(transport, "OPEN_DEADLINE", 0.05)

    async def main():
        with pytest.raises(Unreachable, match="does not open"):
            await open_port(pty.path, 115_200)
        go.set()
        while not opened or opened[0].is_open:
            await asyncio.sleep(0.01)

    run(main)
