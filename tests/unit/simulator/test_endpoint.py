"""Simulated rigs over real sockets on loopback, and each fault as a client meets it."""

import asyncio
import contextlib
import itertools
import json
import random
import time

import aiohttp
import pytest

from simulator.antminer import Antminer, MachineIdentity, PoolEntry
from simulator.clock import PlantClock
from simulator.endpoint import RigEndpoint
from simulator.faults import Fault
from simulator.firmware import FIRMWARES
from simulator.models import MODELS
from simulator.rig import Rig

ADDRESSES = (f"127.90.{i // 200}.{i % 200 + 1}" for i in itertools.count())


async def endpoint(scale: float = 1.0, **more) -> RigEndpoint:
    clock = PlantClock(asyncio.get_running_loop().time, scale, 1_750_000_000.0)
    model, rng, address = MODELS["S19 Pro"], random.Random(1), next(ADDRESSES)
    identity = MachineIdentity("SMTTYRHBDJAAI0190", "02:51:7F:00:00:05", address)
    pools = (PoolEntry("stratum+tcp://pool.example:3333", "farm.rig1", "x"),)
    rig = Antminer(Rig(model, rng), FIRMWARES[model.firmware], identity, rng, pools=pools, epoch=clock.epoch)
    served = RigEndpoint("rig", rig, clock, address=address, socket_port=0, web_port=0, **more)
    await served.start()
    return served


@pytest.fixture
async def rig():
    served = await endpoint()
    yield served
    await served.stop()


@pytest.fixture
async def fast():
    """Plant time runs a hundred times faster."""
    served = await endpoint(scale=100.0)
    yield served
    await served.stop()


async def ask(rig: RigEndpoint, request: bytes = b'{"command":"summary"}', limit: float = 5.0) -> bytes:
    async with asyncio.timeout(limit):
        reader, writer = await asyncio.open_connection(rig.address, rig.socket_port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


async def some_bytes(rig: RigEndpoint, seconds: float) -> bytes:
    """What arrives within so many seconds."""
    reader, writer = await asyncio.open_connection(rig.address, rig.socket_port)
    got = b""
    try:
        async with asyncio.timeout(seconds):
            writer.write(b'{"command":"stats"}')
            while chunk := await reader.read(65536):
                got += chunk
    except TimeoutError:
        pass
    else:
        got += b"<closed>"
    finally:
        writer.close()
        await writer.wait_closed()
    return got


def session(password: str = "root") -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        middlewares=(aiohttp.DigestAuthMiddleware("root", password),), timeout=aiohttp.ClientTimeout(total=5)
    )


def url(rig: RigEndpoint, page: str) -> str:
    return f"http://{rig.address}:{rig.web_port}/cgi-bin/{page}.cgi"


async def until(check, limit: float = 5.0):
    async with asyncio.timeout(limit):
        while True:
            try:
                return await check()
            except OSError:
                await asyncio.sleep(0.01)


async def test_one_request_a_connection_nul_at_the_end_then_closed(rig):
    reply = await ask(rig)
    assert reply.endswith(b"}\0")
    assert json.loads(reply[:-1])["SUMMARY"][0]["GHS 5s"] > 0


async def test_many_clients_at_once_are_all_answered(rig):
    replies = await asyncio.gather(*(ask(rig, b"version") for _ in range(50)))
    assert len(set(replies)) <= 2  # the second may turn meanwhile


async def test_the_api_thread_serves_one_after_another():
    served = await endpoint(latency=0.05)
    began = time.monotonic()
    await asyncio.gather(*(ask(served, b"version") for _ in range(4)))
    assert time.monotonic() - began >= 4 * 0.05 - 0.01
    await served.stop()


async def test_aiohttp_logs_in_and_keeps_its_connection(rig):
    async with session() as client:
        for _ in range(5):
            async with client.get(url(rig, "stats")) as reply:
                assert reply.status == 200
                assert (await reply.json())["STATS"][0]["fan_num"] == 4
        assert len(rig._connections) == 1
    async with session("wrong") as client, client.get(url(rig, "stats")) as reply:
        assert reply.status == 401


async def test_a_write_over_http_restarts_the_miner_and_the_socket_is_gone_for_a_while(fast):
    async with session() as client:
        async with client.get(url(fast, "get_miner_conf")) as reply:
            conf = await reply.json()
        async with client.post(url(fast, "set_miner_conf"), json=conf | {"miner-mode": 1}) as reply:
            assert (await reply.json())["code"] == "M000"
        with pytest.raises(ConnectionRefusedError):
            await ask(fast)
        assert b"SUMMARY" in await until(lambda: ask(fast))
        async with client.get(url(fast, "summary")) as reply:
            assert (await reply.json())["SUMMARY"] == []
        async with client.get(url(fast, "get_miner_conf")) as reply:
            assert await reply.json() == conf | {"bitmain-work-mode": "1"}


async def test_a_reboot_hangs_up_and_both_ports_are_gone_until_the_board_is_back(fast):
    async with session() as client:
        with pytest.raises(aiohttp.ClientError):
            await client.post(url(fast, "reboot"))
        with pytest.raises(ConnectionRefusedError):
            await ask(fast)
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(url(fast, "stats"))
        await until(lambda: ask(fast))
        async with client.get(url(fast, "get_system_info")) as reply:
            assert reply.status == 200


async def test_what_is_no_http_gets_400(rig):
    reader, writer = await asyncio.open_connection(rig.address, rig.web_port)
    writer.write(b"hello\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()


async def test_offline_refuses_and_comes_back(rig):
    port = rig.socket_port
    await rig.set_faults([Fault.OFFLINE])
    with pytest.raises(ConnectionRefusedError):
        await ask(rig)
    async with session() as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(url(rig, "stats"))
    await rig.set_faults([])
    assert rig.socket_port == port
    assert await ask(rig)


async def test_hang_accepts_and_never_answers(rig):
    await rig.set_faults([Fault.HANG])
    assert await some_bytes(rig, 0.3) == b""
    async with session() as client:
        with pytest.raises(TimeoutError):
            await client.get(url(rig, "stats"), timeout=aiohttp.ClientTimeout(total=0.3))


@pytest.mark.slow
async def test_drip_sends_a_byte_a_second(rig):
    await rig.set_faults([Fault.DRIP])
    assert await some_bytes(rig, 1.3) == b'{"'


async def test_garbage_means_nothing_on_either_side(rig):
    await rig.set_faults([Fault.GARBAGE])
    with pytest.raises(ValueError, match=r"."):
        json.loads(await ask(rig))
    async with session() as client, client.get(url(rig, "stats")) as reply:
        body = await reply.read()
        with pytest.raises(ValueError, match=r"."):
            json.loads(body)


async def test_endless_json_does_not_end(rig):
    await rig.set_faults([Fault.ENDLESS_JSON])
    got = await some_bytes(rig, 0.5)
    assert len(got) > 20_000
    assert not got.endswith(b"<closed>")
    async with session() as client:
        with pytest.raises(TimeoutError):
            async with client.get(url(rig, "stats"), timeout=aiohttp.ClientTimeout(total=0.5)) as reply:
                await reply.read()


async def test_endless_json_waits_for_a_slow_reader(rig):
    await rig.set_faults([Fault.ENDLESS_JSON])
    reader, writer = await asyncio.open_connection(rig.address, rig.socket_port, limit=1024)
    writer.write(b"stats")
    await reader.readexactly(100)
    await asyncio.sleep(0.3)
    (transport,) = rig._connections
    assert transport.get_write_buffer_size() < 1_000_000
    writer.close()
    await writer.wait_closed()


async def test_truncated_stops_half_way(rig):
    whole = await ask(rig)
    await rig.set_faults([Fault.TRUNCATED])
    half = await ask(rig)
    assert len(half) == pytest.approx(len(whole) / 2, abs=30)
    async with session() as client:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with client.get(url(rig, "get_system_info")) as reply:
                await reply.read()


async def test_unauthorized_on_both_sides(rig):
    await rig.set_faults([Fault.UNAUTHORIZED])
    assert b'"Code":45' in await ask(rig)
    async with session() as client, client.get(url(rig, "stats")) as reply:
        assert reply.status == 401


async def test_faults_switch_while_it_runs_and_hang_up_on_those_connected(rig):
    reader, writer = await asyncio.open_connection(rig.address, rig.web_port)
    await rig.set_faults([Fault.HANG])
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    await rig.set_faults([])
    assert await ask(rig)


async def test_an_address_that_is_taken_is_an_oserror_and_leaves_nothing_open(rig):
    twin = RigEndpoint(
        "twin", rig.antminer, rig.clock, address=rig.address, socket_port=0, web_port=rig.web_port
    )  # fmt: skip
    with pytest.raises(OSError, match="in use"):
        await twin.start()
    assert twin._servers == {}
