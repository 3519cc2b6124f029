"""Wires under TCP connections and serial lines: each behaviour, at its exact virtual time."""

import asyncio
import errno
import random
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.http import VirtualConnector, virtual_session
from tests.support.network import FIRST_EPHEMERAL_PORT
from tests.support.pipes import WINDOW
from tests.support.virtual import START_MONO, Deadlock, network, run_virtual, virtual, virtual_loop
from tests.support.wires import SERIAL_CAPACITY, SerialWire, Wire, anywhere, one_byte, pieces_of

RIG, OTHER, PORT = "127.1.0.7", "127.1.0.8", 4028

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def rig(handler: Handler = echo, host: str = RIG) -> AsyncIterator[asyncio.Server]:
    async with await asyncio.start_server(handler, host, PORT) as server:
        yield server


@asynccontextmanager
async def connected(host: str = RIG) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, PORT)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def now() -> float:
    return asyncio.get_running_loop().time() - START_MONO


# Splitting.


@given(
    data=st.binary(min_size=1, max_size=3000),
    seed=st.integers(0, 99),
    splitter=st.sampled_from([anywhere, one_byte, pieces_of(7)]),
)
def test_splitters_keep_every_byte(data: bytes, seed: int, splitter) -> None:
    pieces = list(splitter(random.Random(seed), data))
    assert b"".join(pieces) == data
    assert all(pieces)


@settings(max_examples=25, deadline=None)
@given(data=st.binary(min_size=1, max_size=5000), seed=st.integers(0, 99))
def test_echo_over_a_wire_that_splits_anywhere(data: bytes, seed: int) -> None:
    async def main() -> bytes:
        network().wire(RIG, PORT, Wire(split=anywhere, delay=0.01, jitter=0.05, lose=0.2))
        async with rig(), connected() as (reader, writer):
            writer.write(data)
            writer.write_eof()
            return await reader.read()

    assert run_virtual(main, seed=seed) == data


@virtual
async def test_the_reader_sees_each_piece_by_itself() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            seen.append(data)
        writer.close()

    network().wire(RIG, PORT, Wire(split=one_byte))
    async with rig(serve), connected() as (reader, writer):
        writer.write(b"abc")
        writer.write(b"de")
        writer.write_eof()
        assert await reader.read() == b""
    assert seen == [b"a", b"b", b"c", b"d", b"e"]


@virtual
async def test_without_a_wire_writes_of_one_turn_arrive_joined_and_in_no_time() -> None:
    async with rig(), connected() as (reader, writer):
        writer.write(b"ab")
        writer.write(b"cd")
        assert await reader.read(100) == b"abcd"
    assert now() == 0


# Time.


@virtual
async def test_delay_counts_on_each_way_of_the_handshake_and_the_answer() -> None:
    network().wire(RIG, PORT, to_server=Wire(delay=1), to_client=Wire(delay=0.25))
    async with rig(), connected() as (reader, writer):
        assert now() == 1.25
        writer.write(b"x")
        await reader.read(1)
        assert now() == 2.5


@virtual
async def test_jitter_keeps_the_order() -> None:
    network().wire(RIG, PORT, Wire(split=one_byte, jitter=10))
    data = bytes(range(200))
    async with rig(), connected() as (reader, writer):
        writer.write(data)
        assert await reader.readexactly(200) == data
    assert 0 < now() < 40


@virtual
async def test_a_dripping_answer_takes_a_second_a_byte() -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"12345")
        writer.close()

    network().wire(RIG, PORT, to_client=Wire(split=one_byte, rate=1))
    async with rig(drip), connected() as (reader, _):
        for second in range(1, 6):
            assert len(await reader.read(100)) == 1
            assert now() == second


@virtual
async def test_a_rate_limits_and_pushes_back() -> None:
    network().wire(RIG, PORT, to_server=Wire(rate=10_000))
    total = 4 * WINDOW

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert len(await reader.read(-1)) == total
        writer.close()

    async with rig(sink), connected() as (reader, writer):
        writer.write(bytes(total))
        await writer.drain()
        assert 10 < now() < total / 10_000
        writer.write_eof()
        assert await reader.read() == b""
        assert now() == pytest.approx(total / 10_000)


# Losing.


@virtual
async def test_a_black_hole_swallows_connects_for_linux_two_minutes() -> None:
    network().wire(RIG, None, Wire(lose=1))
    async with rig():
        with pytest.raises(TimeoutError) as caught:
            await asyncio.open_connection(RIG, PORT)
    assert caught.value.errno == errno.ETIMEDOUT
    assert now() == 127


@virtual
async def test_a_connect_that_times_out_leaves_nothing_and_the_server_never_hears_of_it() -> None:
    heard: list[str] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(str(writer.get_extra_info("peername")))
        writer.close()

    network().wire(RIG, PORT, Wire(delay=3))
    async with rig(serve):
        for patience in (1, 4):  # before the SYN arrived, and before the answer came back
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(patience):
                    await asyncio.open_connection(RIG, PORT)
        await asyncio.sleep(20)
    assert heard == []
    assert now() == 25


@virtual
async def test_a_connect_succeeds_when_the_wire_is_mended_at_the_next_syn() -> None:
    network().wire(RIG, PORT, Wire(lose=1))
    virtual_loop().call_later(2, network().wire, RIG, PORT, Wire())
    async with rig(), connected() as (reader, writer):
        assert now() == 3  # SYNs at 0, 1 and 3
        writer.write(b"x")
        assert await reader.read(1) == b"x"


@virtual
async def test_a_partition_holds_bytes_until_it_heals() -> None:
    async with rig(), connected() as (reader, writer):
        network().wire(RIG, None, Wire(lose=1))
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await reader.read(4)
        assert now() == 60
        network().wire(RIG, None, Wire(delay=0.5))
        assert await reader.read(4) == b"held"
    assert now() == 60.5


@virtual
async def test_a_black_hole_pushes_back_in_the_end() -> None:
    async with rig(), connected() as (_, writer):
        network().wire(RIG, None, Wire(lose=1))
        writer.write(bytes(WINDOW + 65_536))
        await writer.drain()
        writer.write(b"x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await writer.drain()
        network().reset(RIG)


def test_waiting_at_a_black_hole_without_a_deadline_is_a_deadlock() -> None:
    async def main() -> None:
        async with rig(), connected() as (reader, writer):
            network().wire(RIG, None, Wire(lose=1))
            writer.write(b"anybody?")
            await reader.read(1)

    with pytest.raises(Deadlock, match=r"main.*\(streams.py"):
        run_virtual(main)


@virtual
async def test_a_tar_pit_accepts_and_never_answers() -> None:
    pit = network().listen(RIG, PORT)
    async with connected() as (reader, writer):
        writer.write(b"stats")
        await writer.drain()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await reader.read(1)
        assert now() == 5
    pit.close()


@virtual
async def test_lost_segments_come_late_and_complete() -> None:
    network().wire(RIG, PORT, Wire(split=pieces_of(10), lose=0.5))
    async with rig(), connected() as (reader, writer):
        writer.write(bytes(1000))
        assert await reader.readexactly(1000) == bytes(1000)
    assert now() >= 0.2


# Cutting and mangling.


@virtual
@pytest.mark.parametrize("count", [0, 1, 7])
async def test_a_reset_after_n_bytes(count: int) -> None:
    network().wire(RIG, PORT, to_client=Wire(drop_after=count))
    got = bytearray()
    async with rig(), connected() as (reader, writer):
        writer.write(b"0123456789")
        with pytest.raises(ConnectionResetError):  # noqa: PT012 (any of the reads may meet it)
            while data := await reader.read(1):
                got += data
    assert bytes(got) == b"0123456789"[:count]


@virtual
async def test_an_early_end_after_n_bytes() -> None:
    network().wire(RIG, PORT, to_client=Wire(split=one_byte, delay=1, drop_after=4, drop="eof"))
    async with rig(), connected() as (reader, writer):
        writer.write(b"0123456789")
        assert await reader.read() == b"0123"
    assert now() == 2  # the handshake, then the answer


@virtual
async def test_silence_after_n_bytes() -> None:
    network().wire(RIG, PORT, to_client=Wire(drop_after=4, drop="silence"))
    async with rig(), connected() as (reader, writer):
        writer.write(b"0123456789")
        assert await reader.readexactly(4) == b"0123"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await reader.read(1)


@virtual
async def test_a_mangled_answer() -> None:
    network().wire(RIG, PORT, to_client=Wire(mangle=lambda data: data.replace(b"\0", b"") + b"!"))
    async with rig(), connected() as (reader, writer):
        writer.write(b"a\0b")
        assert await reader.read(10) == b"ab!"


@virtual
async def test_wires_can_be_switched_under_a_living_connection_and_only_there() -> None:
    async with (
        rig(),
        rig(host=OTHER),
        connected() as (reader, writer),
        connected(OTHER) as (other_reader, other_writer),
    ):
        network().wire(RIG, PORT, to_client=Wire(delay=5))
        for stream in (writer, other_writer):
            stream.write(b"x")
        await other_reader.read(1)
        assert now() == 0
        await reader.read(1)
        assert now() == 5
        network().wire(RIG, PORT, Wire())
        writer.write(b"y")
        await reader.read(1)
        assert now() == 5


@virtual
async def test_the_most_exact_rule_wins() -> None:
    wires = network()
    wires.wire(None, None, Wire(delay=1))
    wires.wire(None, PORT, Wire(delay=2))
    wires.wire(RIG, None, Wire(delay=3))
    wires.wire(RIG, PORT, Wire(delay=4))
    asked = [(RIG, PORT), (RIG, 80), (OTHER, PORT), (OTHER, 80)]
    assert [wires.wires_to(address)[0].delay for address in asked] == [4, 3, 2, 1]


@virtual
async def test_refused_though_somebody_listens() -> None:
    network().wire(RIG, PORT, Wire(refuse=True, delay=0.5))
    async with rig():
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(RIG, PORT)
    assert now() == 1


@virtual
async def test_resets_from_outside_hit_both_ends() -> None:
    ended: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
        except ConnectionResetError:
            ended.append("reset")
        finally:
            writer.close()

    async with rig(serve), connected() as (reader, _):
        await asyncio.sleep(1)
        assert network().connections(RIG) == [
            f"connection 127.0.0.1:{FIRST_EPHEMERAL_PORT} -> {RIG}:{PORT} (client end)",
            f"connection {RIG}:{PORT} -> 127.0.0.1:{FIRST_EPHEMERAL_PORT} (server end)",
        ]
        assert network().reset(RIG, PORT) == 1
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        await asyncio.sleep(1)
    assert ended == ["reset"]
    assert network().connections() == []


# Hosts and names.


@virtual
async def test_each_loopback_address_is_a_host_and_names_resolve() -> None:
    def says(text: bytes) -> Handler:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(text)
            writer.close()

        return serve

    network().names["pool.example"] = ["127.9.9.9", OTHER]  # the first does not answer
    async with rig(says(b"rig")), rig(says(b"other"), OTHER), rig(says(b"local"), "127.0.0.1"):
        for host, text in ((RIG, b"rig"), (OTHER, b"other"), ("pool.example", b"other"), ("localhost", b"local")):
            if host == "pool.example":
                network().wire("127.9.9.9", None, Wire(refuse=True))
            reader, writer = await asyncio.open_connection(host, PORT)
            assert await reader.read() == text
            writer.close()


@virtual
async def test_a_wildcard_listener_and_its_port_are_exclusive() -> None:
    async with rig(host="0.0.0.0"):
        with pytest.raises(OSError, match="address already in use"):
            await asyncio.start_server(echo, RIG, PORT)


@virtual
async def test_local_address_is_honoured() -> None:
    async with rig():
        reader, writer = await asyncio.open_connection(RIG, PORT, local_addr=("127.0.0.9", 5555))
        assert writer.get_extra_info("sockname") == ("127.0.0.9", 5555)
        writer.write_eof()
        await reader.read()
        writer.close()


@virtual
async def test_a_real_socket_is_refused() -> None:
    import socket

    with socket.socket() as real, pytest.raises(ValueError, match="only the network in memory"):
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=real)


# TLS, as asyncio does it.


def test_tls_over_a_wire_that_splits(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    pem = self_signed(tmp_path / "rig.pem", RIG)

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        network().wire(RIG, PORT, Wire(split=anywhere, delay=0.01))
        async with await asyncio.start_server(echo, RIG, PORT, ssl=context):
            trusting = ssl.create_default_context(cafile=str(pem))
            reader, writer = await asyncio.open_connection(RIG, PORT, ssl=trusting)
            writer.write(b"secret")
            assert await reader.readexactly(6) == b"secret"
            writer.close()
            await writer.wait_closed()
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection(RIG, PORT, ssl=ssl.create_default_context())
            await asyncio.sleep(60)
        virtual_loop().unheard.clear()  # the server's side of the handshake that failed

    run_virtual(main)


def self_signed(path: Path, address: str) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    secret = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(form))
    return path


# HTTP.


@virtual
async def test_aiohttp_client_and_server_in_memory() -> None:
    import aiohttp
    from aiohttp import web

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["seconds"]))
        return web.json_response({"peer": request.remote, "body": await request.text()})

    runner = web.AppRunner(web.Application())
    runner.app.router.add_post("/slow", slow)
    await runner.setup()
    await web.TCPSite(runner, RIG, 80).start()
    network().wire(RIG, 80, Wire(split=anywhere, delay=0.125))
    network().names["rig.example"] = [RIG]
    url = "http://rig.example/slow"
    for session in (virtual_session(), aiohttp.ClientSession()):
        async with session:
            async with session.post(url, params={"seconds": 2}, data=b"x" * 100_000) as answer:
                assert await answer.json() == {"peer": "127.0.0.1", "body": "x" * 100_000}
                assert answer.headers["Date"].startswith("Thu, 01 Jan 2026 00:00:0")
            started = now()
            with pytest.raises(TimeoutError):
                await session.post(url, params={"seconds": 60}, timeout=aiohttp.ClientTimeout(total=4))
            assert now() == started + 4
    async with aiohttp.ClientSession(connector=VirtualConnector(limit=1)) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://{OTHER}/")
    await runner.cleanup()


@virtual
async def test_a_server_that_dies_in_mid_answer() -> None:
    import aiohttp
    from aiohttp import web

    async def big(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(10_000))

    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/", big)
    await runner.setup()
    await web.TCPSite(runner, RIG, 80).start()
    async with virtual_session() as session:
        network().wire(RIG, 80, to_client=Wire(drop_after=5_000, drop="eof"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await (await session.get(f"http://{RIG}/")).read()
        network().wire(RIG, 80, to_client=Wire(drop_after=0, drop="reset"))
        with pytest.raises(aiohttp.ClientOSError):
            await session.get(f"http://{RIG}/")
    await runner.cleanup()


# Serial lines.


@pytest.mark.parametrize("virtually", [True, False])
def test_a_serial_line_carries_both_ways(virtually: bool) -> None:
    async def main() -> None:
        with SerialWire() as wire:
            await wire.host.write(b"ping")
            assert await wire.device.read(2) == b"pi"
            assert await wire.device.read(100) == b"ng"
            reading = asyncio.create_task(wire.host.read(100))
            await asyncio.sleep(0)
            await wire.device.write(b"pong")
            assert await reading == b"pong"
            await wire.device.write(b"last")
            wire.device.close()
            assert await wire.host.read(100) == b"last"
            assert await wire.host.read(100) == b""
            with pytest.raises(OSError) as caught:
                await wire.host.write(b"x")
            assert caught.value.errno == errno.EIO
            wire.host.close()

    if virtually:
        run_virtual(main)
    else:
        asyncio.run(main())


@virtual
async def test_a_serial_line_at_115200_baud_byte_by_byte() -> None:
    with SerialWire(Wire(split=one_byte, rate=11_520)) as wire:
        await wire.host.write(bytes(64))
        for _ in range(64):
            assert len(await wire.device.read(64)) == 1
        assert now() == pytest.approx(64 / 11_520)
        wire.host.close()
        wire.device.close()


@virtual
async def test_a_serial_line_loses_for_ever_and_mangles() -> None:
    with SerialWire(to_device=Wire(split=one_byte, lose=0.2), to_host=Wire(mangle=bytes.upper), seed=5) as wire:
        await wire.host.write(bytes(range(250)))
        got = await _drain(wire)
        assert 150 < len(got) < 245
        assert list(got) == sorted(got)
        wire.lay(to_device=Wire(lose=1))
        await wire.host.write(b"void")
        assert await _drain(wire) == b""
        await wire.device.write(b"loud")
        assert await wire.host.read(10) == b"LOUD"
        wire.host.close()
        wire.device.close()


async def _drain(wire: SerialWire) -> bytes:
    got = bytearray()
    try:
        async with asyncio.timeout(1):
            while data := await wire.device.read(100):
                got += data
    except TimeoutError:
        pass
    return bytes(got)


@virtual
async def test_a_full_serial_line_makes_the_writer_wait() -> None:
    with SerialWire() as wire:
        await wire.host.write(bytes(SERIAL_CAPACITY))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await wire.host.write(b"x")
        writing = asyncio.create_task(wire.host.write(b"x"))
        await wire.device.read(1)
        await writing
        wire.host.close()
        wire.device.close()


@virtual
async def test_unplugging_ends_reads_and_writes() -> None:
    with SerialWire() as wire:
        reading = asyncio.create_task(wire.host.read(1))
        await asyncio.sleep(1)
        wire.unplug()
        assert await reading == b""
        with pytest.raises(OSError):
            await wire.device.write(b"x")
        wire.host.close()
        wire.device.close()
        with pytest.raises(OSError):
            await wire.host.write(b"x")


@virtual
async def test_a_serial_line_is_cut_after_n_bytes() -> None:
    with SerialWire(to_host=Wire(drop_after=3)) as wire:
        await wire.device.write(b"12345")
        assert await wire.host.read(10) == b"123"
        assert await wire.host.read(10) == b""
        wire.host.close()
        wire.device.close()


def test_a_serial_line_left_open_complains() -> None:
    with pytest.raises(AssertionError, match="left open at: host, device"), SerialWire():
        pass
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SerialWire()
    assert "left open" in str(caught[0].message)
