"""What systemd is told, on a datagram socket like its own."""

import errno
import socket

import pytest

from controller.notify import Notifier
from tests.scenarios.test_limits import CHEAP
from tests.support.virtual import run_virtual, virtual
from tests.support.whole import Wanted, whole


@pytest.fixture
def supervisor(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        yield channel


def heard(channel):
    found = []
    while True:
        try:
            found.append(channel.recv(4096).decode())
        except BlockingIOError:
            return found


def test_each_message_is_one_datagram(supervisor):
    notifier = Notifier(supervisor.getsockname())
    notifier.ready("3 rigs")
    notifier.alive("two\nlines\nREADY=1")
    notifier.stopping()
    assert heard(supervisor) == ["READY=1\nSTATUS=3 rigs", "WATCHDOG=1\nSTATUS=two lines READY=1", "STOPPING=1"]


def test_an_abstract_name_starts_with_an_at_sign():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0shedload-test-notify")
        channel.setblocking(False)
        Notifier("@shedload-test-notify").stopping()
        assert heard(channel) == ["STOPPING=1"]


def test_nobody_listens_and_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("x")
    Notifier(str(tmp_path / "gone")).ready("x")
    Notifier(str(tmp_path / ("long" * 100))).ready("x")


def test_a_supervisor_that_does_not_read_blocks_nothing(supervisor):
    notifier = Notifier(supervisor.getsockname())
    for _ in range(2000):
        notifier.alive("x" * 500)
    assert 0 < len(heard(supervisor)) < 2000


def test_no_descriptor_left_is_no_reason_to_fall(monkeypatch, supervisor):
    def none(*_args):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none)
    Notifier("/run/notify").alive("x")


def test_the_daemon_says_ready_then_feeds_the_watchdog_then_stops(supervisor, monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.getsockname())
    told = []

    async def live():
        async with whole(tmp_path, Wanted(price=CHEAP, scale=1, s19=1, s21=1)) as site:
            for _ in range(30):
                await site.plant(2)
                told.extend(heard(supervisor))
            hanging = site.daemon.controller.cycle

            async def hang():
                import asyncio

                await asyncio.sleep(120)
                return await hanging()

            site.daemon.controller.cycle = hang
            await site.plant(5)
            heard(supervisor)
            await site.plant(60)
            assert heard(supervisor) == []  # a loop that hangs does not look alive
        told.extend(heard(supervisor))

    run_virtual(live())
    first = [message.split("\n")[0] for message in told]
    assert first[0] == "READY=1"
    assert first[-1] == "STOPPING=1"
    assert set(first[1:-1]) == {"WATCHDOG=1"}
    assert 28 <= len(first) - 2 <= 31  # one for each cycle of two seconds
    assert told[0] == "READY=1\nSTATUS=2 rigs"
    assert "2 of 2 rigs hash" in told[-2]


@virtual
async def test_without_systemd_the_daemon_runs_as_well(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    async with whole(tmp_path, Wanted(price=CHEAP, scale=1, s19=1, s21=0)) as site:
        await site.plant(10)
        assert site.daemon.controller.cycles > 2
