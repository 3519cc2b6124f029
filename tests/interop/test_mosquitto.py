"""Our end of MQTT against a real Mosquitto: presence, retained state, inputs, outages, passwords and certificates."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import orjson
import pytest
from structlog.testing import capture_logs

from controller.clock import SystemClock
from controller.meter import SiteMeter
from controller.mqtt import MqttLink
from controller.mqtt_connection import Patience
from controller.mqtt_inputs import MeterInput, PriceInput
from controller.prices.series import PriceSeries
from controller.settings import MqttMeter, MqttSettings
from tests.support.certificates import Authority
from tests.support.mosquitto import Mosquitto, eventually, mosquitto, observer, password_file

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("mosquitto")]

SITE = "shedload/v1/hall"
QUICK = Patience(tcp=1.0, answer=1.0, close=1.0, retry_first=0.02, retry_max=0.2)
STOPS_WITHIN_S = 10.0
CANARY = "correct-horse-battery"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """One open broker for the tests that do not harm it."""
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that a test may kill or freeze."""
    with mosquitto(tmp_path) as running:
        yield running


def settings(port: int, **changes: Any) -> MqttSettings:
    return MqttSettings(host="127.0.0.1", port=port, **changes)


@asynccontextmanager
async def link(port: int, *, state: Callable[[], dict[str, Any]] = dict, **options: Any) -> AsyncIterator[MqttLink]:
    """A link that runs for the block; does not wait until it is connected."""
    configured = options.pop("settings", None) or settings(port)
    made = MqttLink(configured, "hall", SystemClock(), state=state, patience=QUICK, **options)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        _, running = await asyncio.wait({task}, timeout=STOPS_WITHIN_S)
        assert not running, f"did not stop: {task.get_stack()}"
        assert task.cancelled() or task.exception() is None, task.exception()


async def test_presence_and_state_are_kept_for_who_comes_later(broker: Mosquitto) -> None:
    groups = {"s21": {"rigs": 3}, "s19": {"rigs": 2}}
    async with link(broker.port, state=lambda: {"power_w": 1500.0, "price": None}, groups=lambda: groups) as ours:
        await eventually(lambda: ours.health.published >= 3)
        async with observer(broker.port) as late:
            status = await late.message(f"{SITE}/status", b"online")
            state = await late.message(f"{SITE}/state", power_w=1500.0, price=None)
            group = await late.message(f"{SITE}/group/s19/state", rigs=2)
            assert (status.retain, state.retain, group.retain) == (True, True, True)
            told = datetime.fromisoformat(orjson.loads(state.payload)["ts"])
            assert abs(datetime.now(UTC) - told) < timedelta(seconds=30)
        assert (ours.health.connected, ours.health.connects, ours.health.reconnects) == (True, 1, 0)


async def test_a_change_is_told_at_once_and_not_after_five_seconds(broker: Mosquitto) -> None:
    power = 1.0
    async with link(broker.port, state=lambda: {"power_w": power}) as ours, observer(broker.port) as watcher:
        await watcher.message(f"{SITE}/state", power_w=1.0)
        power = 2.0
        started = time.monotonic()
        ours.changed()
        await watcher.message(f"{SITE}/state", power_w=2.0)
        assert time.monotonic() - started < 2.0


async def test_events_are_passed_on_and_not_kept(broker: Mosquitto) -> None:
    async with link(broker.port) as ours, observer(broker.port) as watcher:
        ours.event("curtailment", {"reason": "SITE_CAP"})
        event = await watcher.message(f"{SITE}/event/curtailment", reason="SITE_CAP")
        assert (event.retain, event.qos) == (False, 1)
        async with observer(broker.port) as late:
            await late.message(f"{SITE}/status", b"online")
            assert not [m for m in late.seen if "/event/" in str(m.topic)]


async def test_an_orderly_stop_says_offline(broker: Mosquitto) -> None:
    async with observer(broker.port) as watcher:
        async with link(broker.port):
            await watcher.message(f"{SITE}/status", b"online")
        await watcher.message(f"{SITE}/status", b"offline")
    async with observer(broker.port) as late:
        assert (await late.message(f"{SITE}/status", b"offline")).retain


DAEMON = """
import asyncio, sys
from controller.clock import SystemClock
from controller.mqtt import MqttLink
from controller.settings import MqttSettings

async def main():
    settings = MqttSettings(host="127.0.0.1", port=int(sys.argv[1]))
    await MqttLink(settings, "hall", SystemClock(), state=dict).run()

asyncio.run(main())
"""


async def test_the_last_will_tells_of_a_killed_daemon(broker: Mosquitto) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    async with observer(broker.port) as watcher:
        daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", DAEMON, str(broker.port), env=environment)
        try:
            await watcher.until(lambda seen: [m for m in seen if m.payload == b"online" and not m.retain])
        finally:
            daemon.send_signal(signal.SIGKILL)
            await daemon.wait()
        await watcher.message(f"{SITE}/status", b"offline")


async def test_everything_is_said_again_to_a_broker_that_lost_it(own_broker: Mosquitto) -> None:
    async with link(own_broker.port, state=lambda: {"power_w": 7.0}, groups=lambda: {"s21": {"rigs": 1}}) as ours:
        await eventually(lambda: ours.health.published >= 2)
        own_broker.kill()
        await eventually(lambda: not ours.health.connected)
        ours.event("alarm", {"what": "said while nobody listened"})
        await eventually(lambda: ours.health.failures["unreachable"] >= 2)
        own_broker.start()
        async with observer(own_broker.port) as watcher:
            await watcher.message(f"{SITE}/status", b"online")
            await watcher.message(f"{SITE}/state", power_w=7.0)
            await watcher.message(f"{SITE}/group/s21/state", rigs=1)
        assert ours.health.reconnects == 1
        assert ours.health.failures["lost"] == 1


async def test_events_wait_for_the_broker(own_broker: Mosquitto) -> None:
    port = own_broker.port
    own_broker.kill()
    patient = Patience(tcp=1.0, answer=1.0, close=1.0, retry_first=0.5, retry_max=0.6)
    ours = MqttLink(settings(port), "hall", SystemClock(), state=dict, patience=patient)
    ours.event("alarm", {"number": 1})
    ours.event("alarm", {"number": 2})
    task = asyncio.create_task(ours.run())
    await eventually(lambda: ours.health.failures["unreachable"] >= 1)
    own_broker.start()
    async with observer(port) as watcher:
        await watcher.message(f"{SITE}/event/alarm", number=2)
        numbers = [orjson.loads(m.payload)["number"] for m in watcher.seen if "/event/" in str(m.topic)]
        assert numbers == [1, 2]
    task.cancel()
    await asyncio.wait({task})


async def test_a_meter_is_heard_and_its_nonsense_counted(broker: Mosquitto) -> None:
    meter = SiteMeter(time.monotonic, max_age=30.0)
    source = MeterInput("site/meter", MqttMeter(source="mqtt", field="ENERGY.Power", unit="kW", scale=-2), meter)
    async with aiomqtt.Client("127.0.0.1", broker.port) as gateway:
        await gateway.publish("site/meter", b'{"ENERGY":{"Power":99}}', retain=True, qos=1)
        with capture_logs() as logs:
            async with link(broker.port, inputs=(source,)) as ours:
                await eventually(lambda: source.rejected["retained"] == 1)
                assert (meter.power, meter.failures) == (None, 0)
                for payload in (b'{"ENERGY":{"Power":-1.5}}', b"NaN", b'{"ENERGY":{}}', b'{"ENERGY":{"Power":9e9}}'):
                    await gateway.publish("site/meter", payload, qos=1)
                await eventually(lambda: source.rejected["implausible"] == 1)
                assert meter.power == 3000.0
                assert (source.rejected["garbled"], meter.failures, source.accepted) == (2, 3, 1)
                assert "site/meter" in meter.last_failure
                assert ours.health.connected
        await gateway.publish("site/meter", b"", retain=True, qos=1)
    causes = [entry["cause"] for entry in logs if entry["event"] == "mqtt_input_rejected"]
    assert causes == ["retained", "garbled", "implausible"]


async def test_prices_are_heard_whole_or_not_at_all(broker: Mosquitto) -> None:
    taken: list[PriceSeries] = []
    source = PriceInput("market/price", "EUR", taken.append, SystemClock().wall)
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    row = {
        "start": hour.isoformat(),
        "end": (hour + timedelta(hours=1)).isoformat(),
        "price": -0.01,
        "currency": "EUR",
    }
    async with aiomqtt.Client("127.0.0.1", broker.port) as market:
        await market.publish("market/price", orjson.dumps([row]), retain=True, qos=1)
        async with link(broker.port, inputs=(source,)):
            await eventually(lambda: source.accepted == 1)
            await market.publish("market/price", orjson.dumps([row, {**row, "currency": "USD"}]), qos=1)
            await eventually(lambda: source.rejected["currency"] == 1)
        await market.publish("market/price", b"", retain=True, qos=1)
    assert [[slot.price for slot in series] for series in taken] == [[-0.01]]


async def test_a_wrong_password_is_named_counted_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "mqtt.password"
    secret.write_text(f"not-{CANARY}\n")
    secret.chmod(0o600)
    passwords = password_file(tmp_path, shedload=CANARY)
    with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}") as guarded, capture_logs() as logs:
        configured = settings(guarded.port, user="shedload", password_file=secret)
        async with link(guarded.port, settings=configured) as ours:
            await eventually(lambda: ours.health.failures["refused"] >= 2)
            assert (ours.health.connected, ours.health.connects) == (False, 0)
            assert "refuses us" in ours.health.last_failure
            secret.write_text(f"{CANARY}\n")
            await eventually(lambda: ours.health.connected)
        assert [entry["cause"] for entry in logs if entry["event"] == "mqtt_down"] == ["refused"]
        assert CANARY not in f"{logs}{ours.health.last_failure}{configured!r}"


async def test_nobody_is_refused_nothing(tmp_path: Path) -> None:
    passwords = password_file(tmp_path, shedload=CANARY)
    with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}") as guarded:
        async with link(guarded.port) as ours:
            await eventually(lambda: ours.health.failures["refused"] >= 1)
            assert not ours.health.connected


@pytest.mark.parametrize(
    ("address", "days", "trusted", "works"),
    [
        ("127.0.0.1", 30, "own", True),
        ("127.0.0.1", 30, "other", False),
        ("127.0.0.1", 30, "system", False),
        ("127.0.0.9", 30, "own", False),
        ("127.0.0.1", -1, "own", False),
    ],
    ids=["good", "wrong-ca", "no-ca", "wrong-name", "expired"],
)
async def test_tls_fails_closed(tmp_path: Path, address: str, days: int, trusted: str, works: bool) -> None:
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    certificate, key = own.server(address=address, days=days)
    ca_file = {"own": own.ca_file, "other": other.ca_file, "system": None}[trusted]
    with mosquitto(tmp_path, f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}") as encrypted:
        configured = settings(encrypted.port, tls=True, ca_file=ca_file)
        async with link(encrypted.port, settings=configured, state=lambda: {"power_w": 1.0}) as ours:
            await eventually(lambda: ours.health.published >= 1 or ours.health.failures["tls"] >= 1)
            assert (ours.health.connected, ours.health.failures["tls"] == 0) == (works, works)


async def test_a_frozen_broker_delays_nothing(own_broker: Mosquitto) -> None:
    async with link(own_broker.port, state=lambda: {"power_w": 1.0}) as ours:
        await eventually(lambda: ours.health.published >= 1)
        own_broker.freeze()
        try:
            slowest = 0.0
            until = time.monotonic() + 2.5 * QUICK.answer
            while time.monotonic() < until:
                started = time.monotonic()
                ours.publish_state({"power_w": started})
                ours.event("alarm", {"at": started})
                await asyncio.sleep(0)
                slowest = max(slowest, time.monotonic() - started)
                await asyncio.sleep(0.01)
            assert slowest < QUICK.answer / 2, "a publication waited for the broker"
            assert ours.health.failures["timeout"] >= 1
            assert not ours.health.connected
            ours.publish_state({"power_w": 42.0})
        finally:
            own_broker.thaw()
        async with observer(own_broker.port) as watcher:
            await watcher.message(f"{SITE}/state", power_w=42.0)
            await watcher.message(f"{SITE}/status", b"online")


async def test_a_frozen_broker_does_not_hold_up_the_stop(own_broker: Mosquitto) -> None:
    async with link(own_broker.port) as ours:
        await eventually(lambda: ours.health.connected)
        own_broker.freeze()
        started = time.monotonic()
    assert time.monotonic() - started < 2 * QUICK.close + 1.0
    own_broker.thaw()
