"""Simulated Icarus rigs: the chip without a line, the rig in virtual time, and on real ptys."""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
import tty
from pathlib import Path

import pytest
import uvloop

from shedload import hashing, icarus
from shedload.bitcoin.target import target_of_difficulty
from simulator.chips import ChipFault, SerialTable, build_icarus
from simulator.icarus_chip import FRAME_GAP, LARGEST_SLICE, IcarusChip
from tests.support.mining import make_rig, plant_clock
from tests.support.serial_lines import SerialLines
from tests.support.virtual import virtual

EASY = 4e-8
TIOCGEXCL = 0x80045440


def frame(number=0, header=None):
    header = header or bytes([number]) * 80
    return icarus.Work.from_header(header, hashing.midstate(header[:64])).frame()


def is_true(number, reply, difficulty=EASY):
    return hashing.verify(bytes([number]) * 76 + reply, target_of_difficulty(difficulty))


def grind(chip):
    """Search until the chip answers or stops."""
    while (piece := chip.slice_()) is not None:
        reply = chip.settle(piece, piece.search())
        if reply is not None:
            return reply
    return None


def test_the_golden_work_is_answered_at_any_difficulty():
    for difficulty in (1.0, EASY):
        chip = IcarusChip(difficulty, 1e6)
        assert chip.receive(icarus.GOLDEN_WORK, 0.0) == icarus.GOLDEN_NONCE
        assert not chip.busy


def test_work_that_only_resembles_the_golden_one_is_searched():
    chip = IcarusChip(1.0, 1e6)
    assert chip.receive(icarus.GOLDEN_WORK[:-1] + b"\x00", 0.0) is None
    assert chip.busy


def test_a_nonce_is_true_and_ends_the_work():
    chip = IcarusChip(EASY, 1e6)
    for number in range(5):
        chip.receive(frame(number), 0.0)
        assert is_true(number, grind(chip))
        assert not chip.busy
    assert chip.found == 5


def test_new_work_aborts_the_old():
    chip = IcarusChip(EASY, 1e6)
    chip.receive(frame(1), 0.0)
    old = chip.slice_()
    chip.receive(frame(2), 0.0)
    assert chip.settle(old, old.search()) is None
    assert is_true(2, grind(chip))


def test_it_stops_at_the_end_of_its_range():
    chip = IcarusChip(1.0, 1e9)
    chip.receive(frame(1), 0.0)
    chip._next = icarus.NONCE_RANGE - 10
    piece = chip.slice_()
    assert (piece.start, piece.count) == (icarus.NONCE_RANGE - 10, 10)
    assert chip.settle(piece, None) is None
    assert not chip.busy


def test_slices_follow_each_other_and_take_a_tenth_of_a_second():
    chip = IcarusChip(1.0, 1e9)
    chip.receive(frame(1), 0.0)
    at = 0
    for speed in (1e4, 1e5, 1e6, 1e7, 1e4):
        for _ in range(30):
            piece = chip.slice_()
            assert piece.start == at
            at += piece.count
            chip.took(piece, piece.count / speed)
            chip.settle(piece, None)
        assert piece.count <= LARGEST_SLICE
        assert piece.count / speed <= 0.1
        assert piece.count / speed > 0.02 or piece.count == LARGEST_SLICE


def test_frames_may_come_in_any_pieces():
    chip = IcarusChip(EASY, 1e6)
    for at in range(64):
        chip.receive(frame(1)[:at], 0.0)
        chip.receive(frame(1)[at:] + frame(2)[:30], 0.0)
        chip.receive(frame(2)[30:], 0.0)
        assert is_true(2, grind(chip))
    assert chip.works == 128


def test_a_torn_frame_does_not_shift_the_next():
    chip = IcarusChip(EASY, 1e6)
    chip.receive(frame(1)[:63], 0.0)
    chip.receive(frame(2), FRAME_GAP + 0.01)
    assert chip.works == 1
    assert is_true(2, grind(chip))


@virtual
async def test_the_pace_is_that_of_the_hashrate():
    lines = SerialLines()
    rig = make_rig("stick", lines, hashrate_hs=500.0)
    await rig.start()
    port = await lines.open("stick", icarus.BAUD)
    loop = asyncio.get_running_loop()
    began, hashes = loop.time(), 0
    for number in range(30):
        await port.write(frame(number))
        reply = await port.read(64)
        assert is_true(number, reply)
        hashes += int.from_bytes(reply, "little") + 1
    assert loop.time() - began == pytest.approx(hashes / 500, rel=0.01)
    port.close()
    await rig.stop()


@virtual
async def test_power_is_drawn_while_it_hashes_and_energy_adds_up():
    lines = SerialLines()
    rig = make_rig("stick", lines, nonce_difficulty=1.0, power_w=20.0, idle_w=1.0)
    clock = rig._clock
    await rig.start()
    port = await lines.open("stick", icarus.BAUD)
    await asyncio.sleep(10)
    assert rig.power(clock.now()) == 1
    await port.write(frame(1))
    await asyncio.sleep(10)
    assert rig.power(clock.now()) == 20
    assert rig.energy(clock.now()) == pytest.approx(10 + 200, abs=1)
    await rig.set_faults([ChipFault.UNPLUG])
    await asyncio.sleep(10)
    assert rig.power(clock.now()) == 0
    assert rig.energy(clock.now()) == pytest.approx(10 + 200, abs=1)
    port.close()
    await rig.stop()


async def replies_under(fault, count=9):
    lines = SerialLines()
    rig = make_rig("stick", lines)
    await rig.start()
    await rig.set_faults([fault])
    port = await lines.open("stick", icarus.BAUD)
    replies = []
    for number in range(count):
        await port.write(frame(number))
        try:
            async with asyncio.timeout(30):
                replies.append(await port.read(64))
        except TimeoutError:
            replies.append(b"")
    port.close()
    await rig.stop()
    return replies


@virtual
async def test_mute():
    assert set(await replies_under(ChipFault.MUTE)) == {b""}


@virtual
async def test_garbage():
    replies = await replies_under(ChipFault.GARBAGE)
    assert len({len(reply) for reply in replies}) > 2
    assert not any(len(reply) == 4 and is_true(number, reply) for number, reply in enumerate(replies))


@virtual
async def test_lost_byte():
    assert [len(reply) for reply in await replies_under(ChipFault.LOST_BYTE)] == [4, 4, 3] * 3


@virtual
async def test_wrong_nonce():
    replies = await replies_under(ChipFault.WRONG_NONCE)
    assert not any(is_true(number, reply) for number, reply in enumerate(replies))


@virtual
async def test_outages_begin_and_end_by_the_clock():
    lines = SerialLines()
    rig = make_rig("stick", lines, outages=({"fault": "unplug", "at_s": 10, "for_s": 5},))
    await rig.start()
    assert rig.plugged
    await asyncio.sleep(11)
    assert not rig.plugged
    await asyncio.sleep(5)
    assert rig.plugged
    with pytest.raises(ValueError, match="sulk"):
        await rig.set_faults(["sulk"])
    await rig.stop()


def real_rig(path, **table):
    usual = {"name": "stick", "path": str(path), "nonce_difficulty": EASY, "hashrate_hs": 2000.0}
    return build_icarus(usual | table, plant_clock(), 1)


async def ask(path, text):
    """A host that opens the line, sends a work, reads four bytes and leaves."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        alone = struct.unpack("i", fcntl.ioctl(descriptor, TIOCGEXCL, bytes(4)))[0]
        assert not alone, "what a host that was killed did to the line is left for the next one"
        fcntl.ioctl(descriptor, termios.TIOCEXCL)
        tty.setraw(descriptor)
        termios.tcflush(descriptor, termios.TCIFLUSH)
        os.set_blocking(descriptor, False)
        os.write(descriptor, text)
        reply = b""
        async with asyncio.timeout(5):
            while len(reply) < 4:
                with contextlib.suppress(BlockingIOError):
                    reply += os.read(descriptor, 4)
                await asyncio.sleep(0.005)
        return reply
    finally:
        os.close(descriptor)


async def _a_real_line(path):
    rig = real_rig(path)
    await rig.start()
    for number in range(4):
        assert await ask(path, icarus.GOLDEN_WORK) == icarus.GOLDEN_NONCE
        await asyncio.sleep(0.1)
        assert is_true(number, await ask(path, frame(number)))
        await asyncio.sleep(0.1)
    await rig.set_faults([ChipFault.UNPLUG])
    assert not path.is_symlink()
    await rig.set_faults([])
    assert await ask(path, icarus.GOLDEN_WORK) == icarus.GOLDEN_NONCE
    await rig.stop()
    assert not path.is_symlink()


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.allow_leftovers("libuv opens a pipe with the first loop of the process and keeps it")
@pytest.mark.slow
def test_a_real_line(factory, tmp_path):
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_a_real_line(tmp_path / "deep" / "stick"))


async def test_a_line_without_a_path_has_a_folder_of_its_own_and_takes_it_along():
    rig = build_icarus({"name": "stick"}, plant_clock(), 1)
    await rig.start()
    path = Path(rig.address)
    assert path.is_symlink()
    assert rig.inventory_row()["address"] == rig.address
    await rig.stop()
    assert not path.parent.exists()


async def test_nobody_there_costs_nothing(tmp_path):
    rig = real_rig(tmp_path / "stick")
    await rig.start()
    began = asyncio.get_running_loop().time()
    spent = os.times().user
    await asyncio.sleep(0.3)
    assert os.times().user - spent < 0.5 * (asyncio.get_running_loop().time() - began)
    await rig.stop()


def test_the_table_has_a_row_for_every_place():
    assert {"site", "hall", "rack", "position", "group", "feeder", "phase", "owner"} <= set(SerialTable.model_fields)
