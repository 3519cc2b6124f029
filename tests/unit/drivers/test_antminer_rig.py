"""The Antminer driver against simulated rigs of every generation, in virtual time."""

import asyncio
from dataclasses import replace

import pytest

from drivers.antminer import Antminer
from shedload.device import (
    Activity,
    Blinking,
    Credential,
    FaultCode,
    Pausable,
    PoolTarget,
    PowerSource,
    Readable,
    Rebootable,
    Repointable,
    Throttled,
)
from shedload.errors import (
    ConfigError,
    NoAnswer,
    Refused,
    RigError,
    Unauthorized,
    Unreachable,
    Unsupported,
    WrongMachine,
)
from simulator.antminer import Layer
from simulator.faults import Fault
from simulator.models import HIGH, NORMAL, SLEEP
from simulator.rig import RigState
from tests.support.rigs import POOLS, simulated
from tests.support.virtual import network, virtual

NEW = ("S19 Pro", "S21", "S21+")
ALL = (*NEW, "S17", "S9")
TARGETS = (PoolTarget("stratum+tcp://new.example:3333", "farm.rig9", "new-secret"),)


def now() -> float:
    return asyncio.get_running_loop().time()


async def count_web(bench, work) -> list[str]:
    """Pages asked for during `work()`."""
    asked = []
    cgi = bench.driver._cgi
    real = cgi._web._send

    async def send(method, path, *more):
        asked.append(path)
        return await real(method, path, *more)

    cgi._web._send = send
    try:
        await work()
    finally:
        cgi._web._send = real
    return asked


@pytest.mark.parametrize("model", ALL)
def test_read_fills_the_model(model):
    @virtual
    async def body():
        async with simulated(model) as bench:
            told = await bench.driver.read()
            truth = bench.machine.told(bench.endpoint.clock.now())
        assert told.activity is Activity.HASHING
        assert told.hashrate == pytest.approx(truth.hashrate, rel=1e-3)
        assert told.hashrate_nominal == pytest.approx(truth.hashrate_ideal, rel=1e-3)
        assert told.power == pytest.approx(truth.power, rel=0.12)
        assert told.power_source is (PowerSource.REPORTED if model.startswith("S21") else PowerSource.ESTIMATED)
        assert told.mode == (None if model == "S9" else "normal")
        assert told.level == (100 if model in NEW else None)
        assert len(told.boards) == bench.machine.rig.model.boards
        assert len(told.fans) == bench.machine.rig.model.fans
        assert [(pool.url, pool.user) for pool in told.pools] == [(pool.url, pool.user) for pool in POOLS]
        assert told.pools[0].active is True
        assert told.accepted > 0
        assert told.identity.model == f"Antminer {model}"
        assert told.identity.mac == bench.machine.identity.mac.lower()
        assert told.identity.serial == (bench.machine.identity.serial if model in NEW else None)
        assert told.locating is False
        assert told.faults == ()
        assert told.repairs == (() if model in NEW else ("glued_objects",))
        if model in NEW:
            assert all(board.serial for board in told.boards)
            assert all(board.hashrate_nominal for board in told.boards)

    body()


@virtual
async def test_capabilities():
    async with simulated() as bench:
        for capability in (Readable, Pausable, Throttled, Repointable, Rebootable, Blinking):
            assert isinstance(bench.driver, capability)


@pytest.mark.parametrize("model", [*NEW, "S17"])
def test_sleep_and_wake_leave_everything_else(model):
    @virtual
    async def body():
        async with simulated(model) as bench:
            before = bench.machine.configuration
            receipt = await bench.driver.sleep()
            assert receipt.changed
            assert receipt.evidence == {"mode before": "normal", "mode after": "sleep", "pools": "unchanged (2)"}
            assert bench.machine.rig.state is RigState.ASLEEP
            assert replace(bench.machine.configuration, mode=NORMAL) == before
            told = await bench.driver.read()
            assert (told.activity, told.mode) == (Activity.ASLEEP, "sleep")
            again = await bench.driver.sleep()
            assert not again.changed
            await asyncio.sleep(60)
            told = await bench.driver.read()  # by the socket again
            assert (told.activity, told.mode, told.hashrate) == (Activity.ASLEEP, "sleep", 0)
            assert told.power == pytest.approx(28, abs=5)
            receipt = await bench.driver.wake()
            assert receipt.evidence["mode after"] == "normal"
            assert bench.machine.configuration == before
            await asyncio.sleep(20)
            assert (await bench.driver.read()).activity is Activity.RAMPING
            await asyncio.sleep(1500)
            assert (await bench.driver.read()).activity is Activity.HASHING
            assert bench.machine.writes == 2

    body()


@virtual
async def test_wake_into_a_mode():
    async with simulated("S21") as bench:
        await bench.driver.sleep()
        receipt = await bench.driver.wake("high")
        assert receipt.evidence["mode after"] == "high" or HIGH not in bench.machine.rig.model.modes
        await bench.driver.wake("normal")
        writes = bench.machine.writes
        assert not (await bench.driver.wake()).changed  # awake already: no mode is forced on it
        assert bench.machine.writes == writes
        with pytest.raises(Refused):
            await bench.driver.wake("sleep")
        with pytest.raises(Unsupported, match="turbo"):
            await bench.driver.wake("turbo")


@virtual
async def test_old_generation_cannot_sleep_and_is_not_written_to():
    async with simulated("S9") as bench:
        for verb in (bench.driver.sleep(), bench.driver.wake("normal"), bench.driver.set_level(90)):
            with pytest.raises(Unsupported):
                await verb
        assert bench.machine.writes == 0


@pytest.mark.parametrize("model", ALL)
def test_set_pools_changes_pools_and_nothing_else(model):
    @virtual
    async def body():
        async with simulated(model) as bench:
            if model in NEW:
                await bench.driver.set_level(80)
            before = bench.machine.configuration
            receipt = await bench.driver.set_pools(TARGETS)
            assert receipt.evidence == {"pools": "changed (1)"}
            after = bench.machine.configuration
            assert [pool.url for pool in after.pools] == ["stratum+tcp://new.example:3333", "", ""]
            assert after.pools[0].password == "new-secret"
            assert replace(after, pools=before.pools) == before
            assert not (await bench.driver.set_pools(TARGETS)).changed

    body()


@virtual
async def test_level():
    async with simulated("S19 Pro") as bench:
        receipt = await bench.driver.set_level(80)
        assert receipt.evidence == {"level before": "100", "level after": "80", "pools": "unchanged (2)"}
        assert bench.machine.rig.setting.level == 80
        assert not (await bench.driver.set_level(80)).changed
        with pytest.raises(Refused):
            await bench.driver.set_level(5)
        await asyncio.sleep(10)
        assert (await bench.driver.read()).level == 80


@pytest.mark.parametrize(
    "quirks",
    [
        {"text_modes": True},
        {"missing_fan_ctrl": True},
        {"first_challenge_drop": True},
        {"whole_configuration": True, "mode_key": "bitmain-work-mode"},
    ],
    ids=lambda quirks: next(iter(quirks)),
)
def test_firmware_quirks(quirks):
    @virtual
    async def body():
        async with simulated("S19 Pro", quirks=quirks) as bench:
            assert (await bench.driver.sleep()).evidence["mode after"] == "sleep"
            assert (await bench.driver.wake()).evidence["mode after"] == "normal"
            assert [pool.url for pool in bench.machine.configuration.pools[:2]] == [pool.url for pool in POOLS]

    body()


@virtual
async def test_text_modes_are_learned_once():
    async with simulated("S19 Pro", quirks={"text_modes": True}) as bench:
        await bench.driver.sleep()
        assert bench.machine.writes == 2
        await bench.driver.wake()
        assert bench.machine.writes == 3


@virtual
async def test_rig_that_takes_writes_and_does_nothing_is_refused():
    async with simulated("S21") as bench:
        await bench.endpoint.set_faults([Fault.REFUSE])
        with pytest.raises(Refused, match="did nothing: mode is normal instead of sleep"):
            await bench.driver.sleep()


@virtual
async def test_write_that_wipes_the_pools_is_named():
    async with simulated("S21") as bench:
        await bench.endpoint.set_faults([Fault.POWER_WRITE_WIPES_POOLS])
        with pytest.raises(Refused, match="also changed pools; still changed after putting back: pools"):
            await bench.driver.sleep()
        assert bench.machine.configuration.mode == NORMAL  # what could be put back was


@virtual
async def test_write_that_wipes_the_pools_once_is_put_back():
    async with simulated("S21") as bench:
        before = bench.machine.configuration
        await bench.endpoint.set_faults([Fault.POWER_WRITE_WIPES_POOLS])
        real = bench.machine.write

        def write(new, at):
            real(new, at)
            bench.machine.set_faults([], at)

        bench.machine.write = write
        with pytest.raises(Refused, match="also changed pools; everything was put back"):
            await bench.driver.sleep()
        assert bench.machine.configuration == before


@virtual
async def test_write_that_cannot_be_read_back_is_unknown():
    async with simulated("S21") as bench:
        real = bench.machine.write

        def write(new, at):
            real(new, at)
            bench.machine._conf_ready = at + 1000

        bench.machine.write = write
        with pytest.raises(NoAnswer, match="unknown"):
            await bench.driver.sleep()


@virtual
async def test_lost_answer_to_a_write_is_settled_by_reading_back():
    async with simulated("S21") as bench:
        web = bench.driver._cgi._web

        async def no_answer(*_, **__):
            await real("/cgi-bin/set_miner_conf.cgi", *_[1:], **__)
            raise NoAnswer("lost")

        real, web.post_json = web.post_json, no_answer
        assert (await bench.driver.sleep()).evidence["mode after"] == "sleep"


@virtual
async def test_command_right_after_a_write_waits_for_the_configuration():
    async with simulated("S21") as bench:
        bench.machine._conf_ready = bench.endpoint.clock.now() + 4
        assert (await bench.driver.sleep()).changed


@pytest.mark.parametrize(
    "expected", [{"expected_serial": "SOMEONE-ELSE"}, {"expected_mac": "02:51:7f:00:00:99"}], ids=["serial", "mac"]
)
def test_another_machine_is_not_written_to(expected):
    @virtual
    async def body():
        async with simulated("S21", **expected) as bench:
            for verb in ("sleep", "wake", "reboot"):
                with pytest.raises(WrongMachine):
                    await getattr(bench.driver, verb)()
            with pytest.raises(WrongMachine):
                await bench.driver.blink(True)
            with pytest.raises(WrongMachine):
                await bench.driver.set_pools(TARGETS)
            assert bench.machine.writes == 0
            assert (await bench.driver.read()).activity is Activity.HASHING  # reading shows who it is

    body()


@virtual
async def test_expected_machine_is_written_to():
    expected = {"expected_serial": "smttyrhbdjaai0190", "expected_mac": "02-51-7F-00-00-05"}
    async with simulated("S21", **expected) as bench:
        assert (await bench.driver.sleep()).changed


@virtual
async def test_machine_that_tells_no_serial_is_refused_where_only_the_serial_is_expected():
    async with simulated("S17", expected_serial="X") as bench:
        with pytest.raises(Refused, match="neither"):
            await bench.driver.sleep()


@pytest.mark.parametrize("model", ["S21", "S17"])
def test_blink(model):
    @virtual
    async def body():
        async with simulated(model) as bench:
            assert (await bench.driver.blink(True)).evidence == {"light before": "off", "light after": "on"}
            assert bench.machine.blinking
            assert (await bench.driver.read()).locating is True
            assert not (await bench.driver.blink(True)).changed
            await bench.driver.blink(False)
            assert not bench.machine.blinking

    body()


@virtual
async def test_reboot_that_hangs_up_has_obeyed():
    async with simulated("S21") as bench:
        assert (await bench.driver.reboot()).evidence == {"answer": "hung up"}
        with pytest.raises(Unreachable):
            await bench.driver.read()
        await asyncio.sleep(60)
        assert (await bench.driver.read()).activity is Activity.RAMPING


@pytest.mark.parametrize("model", ALL)
def test_web_serves_where_the_socket_is_closed(model):
    @virtual
    async def body():
        async with simulated(model) as bench:
            first = await bench.driver.read()
            bench.endpoint._outage(Layer.SOCKET, 1000)
            told = await bench.driver.read()
            assert told.activity is Activity.HASHING
            assert told.hashrate == pytest.approx(first.hashrate, rel=0.05)
            assert len(told.boards) == len(first.boards)
            assert [pool.url for pool in told.pools] == [pool.url for pool in first.pools]
            assert told.accepted >= first.accepted
            await asyncio.sleep(1001)
            assert (await bench.driver.read()).pools[0].active is True  # which only the socket tells

    body()


@virtual
async def test_socket_serves_where_the_web_is_closed():
    async with simulated("S21") as bench:
        bench.endpoint._shut(Layer.BOARD)
        told = await bench.driver.read()
        assert told.activity is Activity.HASHING
        assert told.mode is told.level is told.locating is None
        assert told.identity.model == "Antminer S21"
        assert (await bench.driver.identify()).model == "Antminer S21"
        with pytest.raises(Unreachable):
            await bench.driver.sleep()


@virtual
async def test_wrong_password_leaves_telemetry_and_stops_writes():
    async with simulated("S21", credential=Credential("root", "not-it")) as bench:
        told = await bench.driver.read()
        assert told.hashrate > 0
        assert told.mode is None
        with pytest.raises(Unauthorized) as caught:
            await bench.driver.sleep()
        assert "not-it" not in str(caught.value)


@virtual
async def test_everything_closed_is_unreachable():
    async with simulated() as bench:
        await bench.endpoint.set_faults([Fault.OFFLINE])
        with pytest.raises(Unreachable):
            await bench.driver.read()


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP, Fault.GARBAGE, Fault.ENDLESS_JSON, Fault.TRUNCATED])
def test_bad_rigs_cost_little_and_raise_errors_of_the_tree(fault):
    @virtual
    async def body():
        async with simulated() as bench:
            await bench.driver.read()
            await bench.endpoint.set_faults([fault])
            began = now()
            with pytest.raises(RigError):  # cut in the middle, the statistics are gone: no reading of a starting rig
                await bench.driver.read()
            assert now() - began < 8.0
            await bench.endpoint.set_faults([])
            assert (await bench.driver.read()).activity is Activity.HASHING
            await asyncio.sleep(0.1)
            assert network().connections(port=4028) == []

    body()


@virtual
async def test_lost_configuration_is_unknown_after_a_minute_and_not_the_old_one():
    async with simulated("S21") as bench:
        assert (await bench.driver.read()).mode == "normal"
        bench.endpoint._shut(Layer.BOARD)
        bench.endpoint._hang_up()
        await asyncio.sleep(50)
        assert (await bench.driver.read()).mode == "normal"
        await asyncio.sleep(30)
        assert (await bench.driver.read()).mode is None


@virtual
async def test_slow_tiers_keep_their_cadence():
    async with simulated("S21") as bench:
        first = await count_web(bench, bench.driver.read)
        assert [path.removeprefix("/cgi-bin/") for path in first] == [
            "get_miner_conf.cgi", "get_system_info.cgi", "stats.cgi", "summary.cgi", "get_blink_status.cgi",
        ]  # fmt: skip
        assert await count_web(bench, bench.driver.read) == []

        async def ten_minutes():
            for _ in range(60):
                await asyncio.sleep(10)
                await bench.driver.read()

        asked = await count_web(bench, ten_minutes)
        assert asked.count("/cgi-bin/get_miner_conf.cgi") == pytest.approx(12, abs=2)
        assert asked.count("/cgi-bin/get_system_info.cgi") == 1
        assert len(asked) < 60  # less than one page a reading


@virtual
async def test_configuration_is_looked_at_when_hashing_starts_or_ends():
    async with simulated("S21") as bench:
        await bench.driver.read()
        bench.machine.write(replace(bench.machine.configuration, mode=SLEEP), bench.endpoint.clock.now())  # by another
        await asyncio.sleep(20)
        told = await bench.driver.read()
        assert (told.activity, told.mode) == (Activity.ASLEEP, "sleep")


@virtual
async def test_overheated_rig_is_idle_and_not_asleep():
    async with simulated("S19 Pro") as bench:
        await bench.driver.read()
        bench.machine.rig.set_inlet(bench.endpoint.clock.now(), 60.0)
        while bench.machine.rig.state is not RigState.OVERHEATED:
            await asyncio.sleep(5)
            bench.machine.rig.advance(bench.endpoint.clock.now())
        await asyncio.sleep(8)
        told = await bench.driver.read()
        assert told.activity is Activity.IDLE
        assert FaultCode.OVERHEAT in {fault.code for fault in told.faults}


@virtual
async def test_new_api_where_the_plain_reply_has_no_boards():
    async with simulated("S21") as bench:
        real = bench.driver._ask_stats

        async def poor(**extra):
            value, repairs = await real(**extra)
            if "INFO" not in value:
                value["STATS"][1] = {"Elapsed": 100, "GHS 5s": 1.0}
            return value, repairs

        bench.driver._ask_stats = poor
        for _ in range(2):
            told = await bench.driver.read()
            assert [board.index for board in told.boards] == [0, 1, 2]
            assert told.hashrate > 1e14


@virtual
async def test_port_6060_gives_watts_and_warnings():
    async def auxiliary(reader, writer):
        while line := await reader.readline():
            if line.startswith(b"GET"):
                body = b"miner power:3312" if b"miner_power" in line else b'{"error_message":"P:1"}'
            if line == b"\r\n":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_server(auxiliary, "127.0.0.5", 6060)
    async with simulated("S19 Pro") as bench:
        told = await bench.driver.read()
        assert (told.power, told.power_source) == (3312, PowerSource.REPORTED)
        await asyncio.sleep(61)
        await bench.driver.read()
        told = await bench.driver.read()
        assert FaultCode.OVERHEAT in {fault.code for fault in told.faults}
    server.close()
    await server.wait_closed()


@virtual
async def test_cancelled_reading_leaves_nothing_open():
    async with simulated() as bench:
        await bench.endpoint.set_faults([Fault.HANG])
        task = asyncio.create_task(bench.driver.read())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await bench.endpoint.set_faults([])
        assert (await bench.driver.read()).activity is Activity.HASHING


@virtual
async def test_pools_that_must_not_be_sent_are_refused_before_anything_is():
    async with simulated() as bench:
        for bad in (
            (),
            TARGETS * 2,
            tuple(replace(TARGETS[0], user=f"w{n}") for n in range(4)),
            (PoolTarget("ftp://x", "w"),),
            (PoolTarget("stratum+tcp://", "w"),),
            (PoolTarget("stratum+tcp://a:1", ""),),
            (PoolTarget("stratum+tcp://a:1", "w" * 300),),
            (PoolTarget("stratum+tcp://a:1\n", "w"),),
            (PoolTarget("stratum+tcp://a:1", 'w"'),),
            (PoolTarget("stratum+tcp://a:1", "w", "p\x00ss"),),
        ):
            with pytest.raises(Refused) as caught:
                await bench.driver.set_pools(bad)
            assert "p\x00ss" not in str(caught.value)
        assert bench.machine.writes == 0


@virtual
async def test_credential_with_a_colon_is_a_config_error():
    async with simulated() as bench:
        with pytest.raises(ConfigError):
            Antminer(bench.spec(credential=Credential("a:b", "c")), bench.io)


@virtual
async def test_no_credential_is_ever_guessed():
    """Without one the socket is read, what only the web knows stays unknown, and a write says what is missing."""
    async with simulated("S21", credential=None) as bench:
        told = await bench.driver.read()
        assert told.hashrate is not None
        assert told.mode is None
        with pytest.raises(Unauthorized, match="no credential is configured"):
            await bench.driver.sleep()
