"""The link against brokers that no real one would be: silent, deaf, refusing, babbling."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.clock import SystemClock
from controller.mqtt import MqttLink
from controller.mqtt_connection import Patience
from controller.mqtt_inputs import MeterInput
from controller.settings import MqttMeter, MqttSettings
from shedload.units import Watts

QUICK = Patience(tcp=0.5, answer=0.5, close=0.3, retry_first=0.01, retry_max=0.05)
CONNACK = b"\x20\x02\x00\x00"
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def broker(peer: Peer) -> AsyncIterator[int]:
    """A listener that behaves as `peer` does; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        tasks.add(own)
        try:
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()


@asynccontextmanager
async def link(port: int, **options: Any) -> AsyncIterator[MqttLink]:
    settings = options.pop("settings", None) or MqttSettings(host="127.0.0.1", port=port)
    made = MqttLink(settings, "hall", SystemClock(), state=dict, patience=QUICK, **options)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        started = time.monotonic()
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()
        assert time.monotonic() - started < 3 * (QUICK.tcp + QUICK.close), "the stop took too long"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(8):
        while not condition():
            await asyncio.sleep(0.005)


class Meter:
    """Takes what comes."""

    def heard(self, power: Watts) -> None: ...

    def failed(self, detail: str) -> None: ...


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def babbling(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)
    await writer.drain()


async def hangs_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def accepts_and_hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(CONNACK)
    await writer.drain()


async def accepts_and_falls_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CONNACK)
    await reader.read(-1)


async def refuses_topics(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CONNACK)
    while True:
        first = await reader.readexactly(1)
        length = (await reader.readexactly(1))[0]
        body = await reader.readexactly(length)
        if first[0] >> 4 == 8:  # SUBSCRIBE
            writer.write(b"\x90\x03" + body[:2] + b"\x80")


@pytest.mark.parametrize("peer", [silent, babbling, hangs_up, accepts_and_hangs_up, accepts_and_falls_silent])
@pytest.mark.slow
async def test_brokers_that_are_none(peer: Peer) -> None:
    async with broker(peer) as port, link(port) as ours:
        await until(lambda: sum(ours.health.failures.values()) >= 2)
        assert not ours.health.connected
        assert ours.health.connects == 0
        assert ours.health.last_failure


async def test_nobody_listens() -> None:
    async with broker(silent) as port:
        pass
    with capture_logs() as logs:
        async with link(port) as ours:
            await until(lambda: ours.health.failures["unreachable"] >= 5)
    assert [entry["cause"] for entry in logs] == ["unreachable"]


async def test_a_broker_that_does_not_let_us_read_the_meter_is_no_connection() -> None:
    source = MeterInput("site/meter", MqttMeter(source="mqtt"), Meter())  # type: ignore[arg-type]
    async with broker(refuses_topics) as port, link(port, inputs=(source,)) as ours:
        await until(lambda: ours.health.failures["subscribe_refused"] >= 2)
        assert "site/meter" in ours.health.last_failure
        assert not ours.health.connected


async def test_a_host_name_that_cannot_be_one() -> None:
    async with link(0, settings=MqttSettings(host="a" * 80, port=1883)) as ours:
        await until(lambda: ours.health.failures["unreachable"] >= 2)


async def test_a_missing_password_file_is_a_failure_and_no_end(tmp_path: Any) -> None:
    settings = MqttSettings(host="127.0.0.1", port=1, user="shedload", password_file=tmp_path / "none")
    async with link(0, settings=settings) as ours:
        await until(lambda: ours.health.failures["credential"] >= 2)


async def test_a_missing_ca_file_is_a_failure_and_no_end(tmp_path: Any) -> None:
    settings = MqttSettings(host="127.0.0.1", port=1, tls=True, ca_file=tmp_path / "none.pem")
    async with link(0, settings=settings) as ours:
        await until(lambda: ours.health.failures["tls"] >= 2)


async def test_stopping_while_the_broker_lets_us_wait() -> None:
    connected = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read(-1)

    async with broker(slow) as port, link(port):
        await connected.wait()


async def test_stopping_before_anything_began() -> None:
    async with broker(silent) as port, link(port):
        pass


async def test_what_json_cannot_say_is_counted_and_logged_once() -> None:
    ours = MqttLink(MqttSettings(host="127.0.0.1"), "hall", SystemClock(), state=dict)
    with capture_logs() as logs:
        ours.publish_state({"power_w": object()})
        ours.event("alarm", {"set": {1}})
    assert (ours.dropped["unrenderable"], ours.waiting, len(logs)) == (2, 0, 1)


async def test_what_is_not_finite_is_unknown() -> None:
    ours = MqttLink(MqttSettings(host="127.0.0.1"), "hall", SystemClock(), state=dict)
    ours.publish_state({"power_w": float("nan"), "ts": "2025-01-05T10:00:00.000Z"})
    assert (await ours._outbox.take()).payload == b'{"ts":"2025-01-05T10:00:00.000Z","power_w":null}'


def test_the_wait_doubles_with_jitter_up_to_a_minute() -> None:
    async def waits() -> list[list[float]]:
        ours = MqttLink(MqttSettings(host="127.0.0.1"), "hall", SystemClock(), state=dict)
        return [[ours._wait(failures) for _ in range(200)] for failures in (0, 1, 5, 10_000)]

    first, second, sixth, late = asyncio.run(waits())
    assert 1.0 <= min(first) <= max(first) <= 2.0
    assert max(second) <= 4.0
    assert max(second) > 2.0
    assert max(sixth) <= 60.0
    assert 30.0 < max(late) <= 60.0
    assert min(late) >= 1.0
