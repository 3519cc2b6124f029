"""The Icarus driver against simulated chips and against hand-made devices, in virtual time."""

import asyncio

import pytest

from drivers import icarus as driver_module
from drivers import load
from drivers.icarus import MODELS
from drivers.io import Io
from shedload import hashing, icarus
from shedload.bitcoin.target import target_of_difficulty
from shedload.device import Activity, HashingRig, Pausable, PowerSource, Readable, RigName, RigSpec
from shedload.errors import ConfigError, Garbled, NoAnswer, Refused, Unreachable
from shedload.work import Work
from simulator.chips import ChipFault
from tests.support.mining import NONCE_DIFFICULTY, make_driver, make_rig
from tests.support.serial_lines import SerialLines
from tests.support.virtual import virtual
from tests.support.wires import Wire, one_byte


def spec(**options):
    return RigSpec(RigName("stick"), "icarus", "stick", options=options)


def work(key, text=b"x"):
    header = (text * 76)[:76] + bytes(4)
    return Work(key, header, hashing.midstate(header[:64]), target_of_difficulty(NONCE_DIFFICULTY))


def is_true(nonce, given):
    header = given.header[:76] + nonce.nonce.to_bytes(4, "little")
    return hashing.verify(header, target_of_difficulty(NONCE_DIFFICULTY))


class Bench:
    """A device on the bench: its line in memory, and what it does with what it hears."""

    def __init__(self):
        self.lines = SerialLines()
        self.line = self.lines.plug("stick").plug()
        self.heard = b""

    async def answer(self, *replies):
        """Answer each frame with the next of the replies, the golden work truly."""
        rest = list(replies)
        while data := await self.line.read(256):
            self.heard += data
            while len(self.heard) >= icarus.WORK_SIZE:
                frame, self.heard = self.heard[:64], self.heard[64:]
                if frame == icarus.GOLDEN_WORK:
                    await self.line.write(icarus.GOLDEN_NONCE)
                elif rest:
                    await self.line.write(rest.pop(0))

    def driver(self):
        return make_driver("stick", self.lines)


@pytest.fixture
def device():
    return Bench


def test_the_driver_is_found_and_offers_what_it_can():
    module = load("icarus")
    rig = module.open(spec(), Io())
    assert isinstance(rig, HashingRig)
    assert isinstance(rig, Readable)
    assert isinstance(rig, Pausable)
    assert rig.nonce_difficulty == 1
    assert rig.work_lifetime == pytest.approx(11.15, abs=0.01)


@pytest.mark.parametrize(
    "options", [{"model": "antminer"}, *({"nonce_difficulty": text} for text in ("0", "-1", "nan", "x", "inf"))]
)
def test_options_that_cannot_be_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        driver_module.open(spec(**options), Io())


@pytest.mark.parametrize("model", MODELS)
def test_each_model_asks_for_work_before_its_range_ends(model):
    rig = driver_module.open(spec(model=model), Io())
    assert rig.work_lifetime == pytest.approx(MODELS[model].full_range - 0.15)


@virtual
async def test_the_golden_work_tells_an_icarus_and_opens_once():
    lines = SerialLines()
    rig = make_rig("stick", lines)
    await rig.start()
    driver = make_driver("stick", lines)
    identity = await driver.identify()
    assert (identity.make, identity.model) == ("Icarus", "Icarus")
    reading = await driver.read()
    assert reading.activity is Activity.IDLE
    assert reading.power is None
    assert reading.identity == identity
    assert lines.opened == 1
    assert rig.chip.works == 1
    await driver.close()
    await rig.stop()


@virtual
async def test_work_goes_out_and_a_true_nonce_comes_back():
    lines = SerialLines()
    rig = make_rig("stick", lines)
    await rig.start()
    driver = make_driver("stick", lines)
    for key in range(1, 6):
        given = work(key, b"%d" % key)
        await driver.assign(given)
        reading = await driver.read()
        assert reading.activity is Activity.HASHING
        assert (reading.power, reading.power_source) == (19.2, PowerSource.ESTIMATED)
        nonce = await driver.nonce()
        assert nonce.key == key
        assert is_true(nonce, given)
    await asyncio.sleep(5)
    assert (await driver.read()).activity is Activity.IDLE, "an Icarus stops at its nonce"
    await driver.close()
    await rig.stop()


@virtual
async def test_bytes_that_come_one_by_one_make_the_same_nonce():
    lines = SerialLines(to_host=Wire(split=one_byte, rate=11_520), to_device=Wire(split=one_byte, rate=11_520))
    rig = make_rig("stick", lines)
    await rig.start()
    driver = make_driver("stick", lines)
    await driver.assign(work(1))
    assert is_true(await driver.nonce(), work(1))
    await driver.close()
    await rig.stop()


@virtual
async def test_garbage_is_no_icarus(device):
    lines = SerialLines()
    rig = make_rig("stick", lines, fault=ChipFault.GARBAGE)
    await rig.start()
    driver = make_driver("stick", lines)
    for call in (driver.identify, driver.read, lambda: driver.assign(work(1))):
        with pytest.raises(Garbled, match="golden"):
            await call()
    await rig.set_faults([])
    await driver.identify()
    await driver.close()
    await rig.stop()


@virtual
async def test_a_device_that_says_nothing_is_no_answer(device):
    lines = SerialLines()
    rig = make_rig("stick", lines, fault=ChipFault.MUTE)
    await rig.start()
    driver = make_driver("stick", lines)
    began = asyncio.get_running_loop().time()
    with pytest.raises(NoAnswer):
        await driver.identify()
    assert asyncio.get_running_loop().time() - began == pytest.approx(icarus.PROBE_TIMEOUT)
    await driver.close()
    await rig.stop()


@virtual
async def test_a_late_reply_before_the_golden_nonce_does_no_harm(device):
    bench = device()

    async def chatter():
        await bench.line.read(64)
        await bench.line.write(b"\x11\x22\x33" + icarus.GOLDEN_NONCE)

    task = asyncio.ensure_future(chatter())
    driver = bench.driver()
    await driver.identify()
    await task
    await driver.close()
    bench.line.close()


@virtual
async def test_a_device_that_is_pulled_out_is_a_fault_and_comes_back():
    lines = SerialLines()
    rig = make_rig("stick", lines, nonce_difficulty=1.0)
    await rig.start()
    driver = make_driver("stick", lines)
    await driver.assign(work(1))
    waiting = asyncio.ensure_future(driver.nonce())
    await asyncio.sleep(1)
    await rig.set_faults([ChipFault.UNPLUG])
    with pytest.raises(Unreachable, match="gone"):
        await waiting
    with pytest.raises(Unreachable):
        await driver.read()
    with pytest.raises(Unreachable):
        await driver.nonce()
    with pytest.raises(Unreachable):
        await driver.assign(work(2))
    await rig.set_faults([])
    await driver.assign(work(3))
    assert (await driver.read()).activity is Activity.HASHING
    await driver.close()
    await rig.stop()


@virtual
async def test_a_torn_reply_is_told_at_once_and_the_next_one_is_whole(device):
    bench = device()
    task = asyncio.ensure_future(bench.answer(b"\x01\x02\x03", b"\x0a\x0b\x0c\x0d"))
    driver = bench.driver()
    await driver.assign(work(1))
    with pytest.raises(Garbled, match="3 bytes"):
        await driver.nonce()
    await driver.assign(work(2))
    nonce = await driver.nonce()
    assert (nonce.key, nonce.nonce) == (2, int.from_bytes(b"\x0a\x0b\x0c\x0d", "little"))
    await driver.close()
    bench.line.close()
    await task


@virtual
async def test_two_replies_in_one_piece_are_two_nonces(device):
    bench = device()
    task = asyncio.ensure_future(bench.answer(bytes(range(8))))
    driver = bench.driver()
    await driver.assign(work(1))
    assert [(await driver.nonce()).nonce.to_bytes(4, "little") for _ in range(2)] == [b"\0\1\2\3", b"\4\5\6\7"]
    await driver.close()
    bench.line.close()
    await task


@virtual
async def test_a_cancelled_wait_loses_no_nonce(device):
    bench = device()
    task = asyncio.ensure_future(bench.answer(b"\x0a\x0b\x0c\x0d"))
    driver = bench.driver()
    await driver.identify()
    for _ in range(5):
        waiting = asyncio.ensure_future(driver.nonce())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await driver.assign(work(9))
    assert (await driver.nonce()).key == 9
    await driver.close()
    bench.line.close()
    await task


@virtual
async def test_sleep_ends_the_work_at_once_and_its_reply_is_nobody_s():
    lines = SerialLines()
    rig = make_rig("stick", lines)
    await rig.start()
    driver = make_driver("stick", lines)
    await driver.assign(work(1))
    receipt = await driver.sleep()
    assert receipt.changed
    await asyncio.sleep(0.01)
    assert not rig.chip.busy
    assert driver.asleep
    reading = await driver.read()
    assert (reading.activity, reading.mode) == (Activity.ASLEEP, "sleep")
    await driver.assign(work(2))
    assert not rig.chip.busy
    assert not (await driver.sleep()).changed
    assert (await driver.wake()).changed
    assert not (await driver.wake("normal")).changed
    await driver.assign(work(3))
    nonce = await driver.nonce()
    assert nonce.key == 3
    assert is_true(nonce, work(3))
    await driver.close()
    await rig.stop()


@virtual
async def test_an_icarus_has_one_mode():
    driver = make_driver("stick", SerialLines())
    with pytest.raises(Refused, match="turbo"):
        await driver.wake("turbo")


@virtual
async def test_closing_ends_whoever_waits(device):
    bench = device()
    task = asyncio.ensure_future(bench.answer())
    driver = bench.driver()
    await driver.assign(work(1))
    waiting = asyncio.ensure_future(driver.nonce())
    await asyncio.sleep(1)
    await driver.close()
    with pytest.raises(Unreachable):
        await waiting
    bench.line.close()
    await task
