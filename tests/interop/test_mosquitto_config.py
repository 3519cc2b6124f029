"""The shipped broker configuration and ACL in a real Mosquitto: it starts, knows nobody without a name, has bounds."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import pytest

from controller.clock import SystemClock
from controller.meter import SiteMeter
from controller.mqtt import MqttLink
from controller.mqtt_inputs import MeterInput
from controller.settings import MqttMeter, MqttSettings
from tests.support.mosquitto import Mosquitto, eventually, mosquitto, observer, password_file

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("mosquitto")]

FOLDER = Path(__file__).parents[2] / "deploy" / "mosquitto"
SITE = "shedload/v1/hall"
USERS = {"shedload": "s", "meter": "m", "market": "p", "viewer": "v"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """The shipped files, only paths and port changed."""
    folder = tmp_path_factory.mktemp("shipped")
    acl = folder / "acl"
    acl.write_text((FOLDER / "acl").read_text())
    acl.chmod(0o600)
    passwords = password_file(folder, **USERS)
    text = (FOLDER / "mosquitto.conf").read_text()
    text, listeners = re.subn(r"^listener 1883 127\.0\.0\.1$", "", text, flags=re.MULTILINE)
    assert listeners == 1
    text = text.replace("/etc/mosquitto/shedload.passwd", str(passwords))
    text = text.replace("/etc/mosquitto/shedload.acl", str(acl))
    assert "/etc/mosquitto" not in re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    with mosquitto(folder, text) as running:
        yield running


@pytest.mark.parametrize(("user", "password"), [(None, None), ("viewer", "wrong"), ("nobody", "v")])
async def test_nobody_comes_in_without_name_and_password(
    broker: Mosquitto, user: str | None, password: str | None
) -> None:
    with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authori[sz]ed"):
        async with aiomqtt.Client("127.0.0.1", broker.port, username=user, password=password):
            pass


async def test_the_daemon_can_do_all_that_it_does(broker: Mosquitto) -> None:
    meter = SiteMeter(time.monotonic, max_age=30.0)
    source = MeterInput("site/main-meter", MqttMeter(source="mqtt", unit="kW"), meter)
    settings = MqttSettings(host="127.0.0.1", port=broker.port, user="shedload", password="s")
    link = MqttLink(
        settings,
        "hall",
        SystemClock(),
        state=lambda: {"power_w": 1.0},
        groups=lambda: {"s21": {"rigs": 1}},
        inputs=(source,),
    )
    task = asyncio.create_task(link.run())
    try:
        async with observer(broker.port, "shedload/v1/#", username="viewer", password="v") as viewer:
            await viewer.message(f"{SITE}/status", b"online")
            await viewer.message(f"{SITE}/state", power_w=1.0)
            await viewer.message(f"{SITE}/group/s21/state", rigs=1)
            link.event("alarm", {"what": "x"})
            await viewer.message(f"{SITE}/event/alarm", what="x")
        async with aiomqtt.Client("127.0.0.1", broker.port, username="meter", password="m") as gateway:
            await gateway.publish("site/main-meter", b"1.5", qos=1)
        await eventually(lambda: meter.power == 1500.0)
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("viewer", f"{SITE}/state"),
        ("viewer", "site/main-meter"),
        ("meter", f"{SITE}/status"),
        ("market", "site/main-meter"),
        ("meter", "market/price"),
        ("shedload", "site/main-meter"),
        ("shedload", "homeassistant/device/x/config"),
    ],
)
async def test_nobody_says_what_is_not_theirs(broker: Mosquitto, user: str, topic: str) -> None:
    address = ("127.0.0.1", broker.port)
    async with aiomqtt.Client(*address, username=user, password=USERS[user]) as intruder:
        await intruder.publish(topic, b"forged", qos=1, retain=True)  # the broker takes it and throws it away
    reader = "viewer" if topic.startswith("shedload/") else "shedload"
    async with observer(broker.port, topic, username=reader, password=USERS[reader]) as watcher:
        # What the broker would have kept comes before the answer to a second subscription.
        await watcher.client.subscribe("shedload/v1/none", qos=1)
        await eventually(lambda: len(watcher.client.messages) == 0)
        assert not [message for message in watcher.seen if message.payload == b"forged"]


async def test_a_message_over_the_limit_reaches_nobody(broker: Mosquitto) -> None:
    address = ("127.0.0.1", broker.port)
    async with observer(broker.port, "market/#", username="shedload", password="s") as watcher:
        async with aiomqtt.Client(*address, username="market", password="p") as market:
            await market.publish("market/price", b"x" * 600_000, qos=1)
            await market.publish("market/price", b"[]", qos=1)
        await watcher.message("market/price", b"[]")
        assert len(watcher.seen) == 1
