"""Whether anybody listens on a port, without a question and in bounded time."""

import asyncio
import socket

from drivers._address import Endpoint
from drivers._tcp import knock
from tests.support.virtual import virtual


@virtual
async def test_an_open_port_is_met_and_left_again():
    left = asyncio.Event()

    async def serve(reader, writer):
        await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(serve, "127.0.0.5", 6060)
    assert await knock(Endpoint("127.0.0.5", 6060), deadline_s=1.5)
    async with asyncio.timeout(5):
        await left.wait()
    server.close()
    await server.wait_closed()


@virtual
async def test_a_closed_port_is_not_open():
    assert not await knock(Endpoint("127.0.0.5", 6060), deadline_s=1.5)


async def test_a_port_that_never_takes_the_connection_costs_no_more_than_the_deadline():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:  # fill the queue of connections that nobody accepts
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            async with asyncio.timeout(5):
                assert not await knock(Endpoint(*full.getsockname()), deadline_s=0.2)
        finally:
            for one in waiting:
                one.close()
