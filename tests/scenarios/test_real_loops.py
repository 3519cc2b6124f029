"""The same site on real sockets of loopback addresses, on the standard loop and on uvloop."""

import asyncio
import socket

import aiohttp
import pytest
import uvloop

from controller.clock import ScaledClock
from controller.plan import RigState
from controller.store import Store
from tests.scenarios.test_limits import CHEAP
from tests.support.whole import Wanted, daemon_of, farm_of

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
uvloop.new_event_loop().close()  # libuv opens one pipe for the whole process with its first loop


def free_port(host: str = "127.61.9.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("loop", LOOPS)
def test_an_order_and_its_end_over_real_sockets_with_the_store_on_disk(tmp_path, loop):
    wanted = Wanted(
        price=CHEAP,
        scale=60,
        s19=2,
        s21=2,
        network="127.61",
        web_port=free_port(),
        rpc_port=free_port(),
        meter_port=free_port(),
        polling="interval_s = 1\nstale_after_s = 15\nrig_deadline_s = 5",
        control="min_on_s = 0\nmin_off_s = 0\ncanary_percent = 100\n",
    )
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(_live(tmp_path, wanted), 30))


async def _live(tmp_path, wanted):
    clock = ScaledClock(wanted.start, wanted.scale)
    store = await Store.open(tmp_path / "journal", clock)
    try:
        async with (
            farm_of(wanted) as farm,
            daemon_of(tmp_path, wanted, farm, store=store, clock=clock, real=True) as site,
        ):
            token = (tmp_path / "state" / "api.token").read_text().strip()
            await site.until(lambda: site.all_in(RigState.HASHING), 600, "read")
            base = f"http://127.0.0.1:{site.daemon.port}"
            async with aiohttp.ClientSession(base, headers={"Authorization": f"Bearer {token}"}) as session:
                async with session.post("/api/v1/orders", json={"limit_percent": 0}) as answer:
                    number = (await answer.json())["number"]
                await site.until(lambda: site.all_in(RigState.ASLEEP), 900, "obeyed")
                await site.until(lambda: site.status()["commands"]["in_flight"] == 0, 600)
                async with session.delete(f"/api/v1/orders/{number}") as answer:
                    assert answer.status == 200
                async with session.get("/metrics") as answer:
                    assert "shedload_rigs" in await answer.text()
            assert site.pools() == site.pools_before
            assert set(site.writes().values()) == {1}
            history = [record.state.value for record in await store.commands("s21-001")]
            assert history == ["confirmed"]
            assert not site.logged("driver_bug")
    finally:
        await store.close()
