"""The interface over HTTP: who may what, what is bounded, and what an error says."""

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager

import pytest

from controller import api as module
from controller.api import KEEP_ALIVE, MAX_BODY, MAX_CONNECTIONS, REQUEST_DEADLINE, Api
from controller.plan import Control
from shedload.errors import StoreError
from tests.support.http import virtual_session
from tests.support.site import desk, hashing
from tests.support.virtual import network, virtual, virtual_loop

TOKEN = "correct-horse-battery-staple"
GETS = [
    "/metrics",
    "/metrics/rigs?group=hall",
    "/sd/prometheus",
    "/-/ready",
    "/api/v1/status",
    "/api/v1/rigs",
    "/api/v1/rigs/hall-001",
    "/api/v1/orders",
]
WRITES = [
    ("POST", "/api/v1/orders", {"limit_kw": 5}),
    ("DELETE", "/api/v1/orders/1", None),
    ("PUT", "/api/v1/groups/hall/control", {"control": "observe"}),
    ("POST", "/api/v1/rigs/hall-001/peace", None),
]


class Door:
    """An interface over a site of two rigs, and a client."""

    def __init__(self, bench, api, port, session):
        self.bench = bench
        self.api = api
        self.port = port
        self.session = session

    async def call(self, method, path, body=None, *, token=TOKEN, raw=None, headers=None):
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        async with self.session.request(method, path, data=data, headers=sent) as answer:
            text = await answer.text()
            kind = answer.headers.get("Content-Type", "")
            return answer.status, json.loads(text) if "json" in kind else text, answer.headers


@asynccontextmanager
async def door(*, open_reads=True, **options):
    bench = desk(options.pop("groups", {"hall": 2}), **options)
    for name in bench.site.farm.records:
        bench.reading(name, hashing())
    await bench.cycle()
    api = Api(bench.site, bench.metrics, bench.store, TOKEN, open_reads=open_reads)
    port = await api.start("127.0.0.1", 0)
    session = virtual_session(base_url=f"http://127.0.0.1:{port}")
    try:
        yield Door(bench, api, port, session)
    finally:
        await session.close()
        await api.stop()


@virtual
async def test_reading_is_free_on_loopback_and_writing_is_not():
    async with door() as it:
        for path in GETS:
            status, _, _ = await it.call("GET", path, token=None)
            assert status == 200, path
        for method, path, body in WRITES:
            for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1], "Bearer"):
                status, told, headers = await it.call(method, path, body, token=token)
                assert status == 401, (method, path, token)
                assert told == {"error": "the token is missing or wrong", "remedy": told["remedy"]}
                assert headers["WWW-Authenticate"] == "Bearer"
        assert it.bench.store.orders == ()


@virtual
async def test_elsewhere_reading_needs_the_token_too_and_health_does_not():
    async with door(open_reads=False) as it:
        for path in GETS:
            assert (await it.call("GET", path, token=None))[0] == 401, path
            assert (await it.call("GET", path))[0] == 200, path
        assert (await it.call("GET", "/-/healthy", token=None))[:2] == (200, "alive\n")
        # An unknown path tells a stranger no more than a known one.
        assert (await it.call("GET", "/api/v2/nothing", token=None))[0] == 401


@virtual
async def test_a_header_of_any_bytes_is_only_a_wrong_token():
    async with door() as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(
            b"DELETE /api/v1/orders/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer \xff\xfe\xe4\r\n\r\n"
        )
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 401")
        writer.close()


@virtual
async def test_an_order_and_its_end():
    async with door() as it:
        status, order, _ = await it.call("POST", "/api/v1/orders", {"limit_kw": 4.5, "author": "ann", "note": "grid"})
        assert status == 201
        assert order["limit_w"] == 4500
        assert order["on_disk"] is True
        assert it.bench.site.controller.limits.site.power == 4500
        assert (await it.call("GET", "/api/v1/orders"))[1][0]["note"] == "grid"
        assert (await it.call("DELETE", f"/api/v1/orders/{order['number']}"))[0] == 200
        assert (await it.call("DELETE", f"/api/v1/orders/{order['number']}"))[0] == 404
        assert it.bench.site.controller.orders == ()
        status, order, _ = await it.call("POST", "/api/v1/orders", {"limit_percent": 50})
        assert order["limit_w"] == it.bench.site.controller.site.power_cap / 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"limit_kw": 1, "limit_percent": 1},
        {"limit_kw": "5"},
        {"limit_kw": True},
        {"limit_kw": None},
        {"limit_kw": -1},
        {"limit_kw": 1e9},
        {"limit_percent": 100.1},
        {"limit_kw": 5, "until": "tomorrow"},
        {"limit_kw": 5, "author": 3},
        {"limit_kw": 5, "note": "two\nlines"},
        {"limit_kw": 5, "note": "x" * 201},
        [],
        "5",
    ],
)
def test_orders_that_are_none(body):
    @virtual
    async def run():
        async with door() as it:
            status, told, _ = await it.call("POST", "/api/v1/orders", body)
            assert status == 400
            assert set(told) == {"error", "remedy"}
            assert it.bench.store.orders == ()

    run()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"limit_kw": NaN}',
        b'{"limit_kw": 1e999}',
        b'{"limit_kw": ' + b"9" * 400 + b"}",
        b"[" * 5000,
        b'{"limit_kw": 5}{"limit_kw": 6}',
    ],
)
def test_bodies_that_are_no_json(raw):
    @virtual
    async def run():
        async with door() as it:
            status, _, _ = await it.call("POST", "/api/v1/orders", raw=raw)
            assert status == 400

    run()


@virtual
async def test_an_order_holds_without_a_disk():
    async with door() as it:
        it.bench.store.fail("disk full")
        status, order, _ = await it.call("POST", "/api/v1/orders", {"limit_kw": 3})
        assert status == 201
        assert order["on_disk"] is False
        assert it.bench.site.controller.limits.site.power == 3000
        it.bench.store.heal()
        _, other, _ = await it.call("POST", "/api/v1/orders", {"limit_kw": 4})
        assert {entry["number"] for entry in (await it.call("GET", "/api/v1/orders"))[1]} == {
            order["number"],
            other["number"],
        }
        assert (await it.call("DELETE", f"/api/v1/orders/{order['number']}"))[0] == 200
        assert [entry.number for entry in it.bench.site.controller.orders] == [other["number"]]
        it.bench.store.fail("disk full")
        status, told, _ = await it.call("DELETE", f"/api/v1/orders/{other['number']}")
        assert status == 503  # a release raises: it waits for the disk
        assert "disk full" in told["error"]


@virtual
async def test_orders_taken_without_a_disk_are_written_when_it_is_back():
    async with door() as it:
        it.bench.store.fail("disk full")
        for kilowatts in (3, 4):
            await it.call("POST", "/api/v1/orders", {"limit_kw": kilowatts, "author": "ann"})
        await it.api.write_orders()
        assert it.bench.store.orders == ()
        it.bench.store.heal()
        await it.api.write_orders()
        assert [(order.limit, order.author) for order in it.bench.store.orders] == [(3000, "ann"), (4000, "ann")]
        held = [order.number for order in it.bench.site.controller.orders]
        assert held == [order.number for order in it.bench.store.orders]
        assert all(number > 0 for number in held)
        await it.api.write_orders()
        assert len(it.bench.store.orders) == 2


@virtual
@pytest.mark.parametrize("disk", ["heals", "fails again"])
async def test_an_order_released_while_it_is_written_does_not_come_back_in_silence(disk, monkeypatch):
    async with door() as it:
        it.bench.store.fail("disk full")
        _, order, _ = await it.call("POST", "/api/v1/orders", {"limit_kw": 3})
        it.bench.store.heal()
        place = it.bench.store.place

        async def slowly(limit, author, note=""):
            written = await place(limit, author, note)
            assert (await it.call("DELETE", f"/api/v1/orders/{order['number']}"))[0] == 200
            if disk == "fails again":
                it.bench.store.fail("disk full")
            return written

        monkeypatch.setattr(it.bench.store, "place", slowly)
        await it.api.write_orders()  # never raises: the loop that calls it would take the daemon with it
        held = it.bench.site.controller.orders
        assert held == it.bench.store.orders
        assert len(held) == (disk == "fails again")  # what could not be taken back lowers, and is listed


@virtual
async def test_orders_without_a_disk_are_bounded():
    async with door() as it:
        it.bench.store.fail("disk full")
        answers = [(await it.call("POST", "/api/v1/orders", {"limit_kw": 3}))[0] for _ in range(101)]
        assert answers == [201] * 100 + [503]


@virtual
async def test_a_group_is_switched_and_remembered():
    async with door() as it:
        status, told, _ = await it.call("PUT", "/api/v1/groups/hall/control", {"control": "observe", "author": "ann"})
        assert (status, told) == (200, {"group": "hall", "control": "observe"})
        assert it.bench.store.controls == {"hall": Control.OBSERVE}
        assert all(record.member.control is Control.OBSERVE for record in it.bench.site.farm.records.values())
        assert (await it.call("PUT", "/api/v1/groups/none/control", {"control": "auto"}))[0] == 404
        assert (await it.call("PUT", "/api/v1/groups/hall/control", {"control": "full"}))[0] == 400
        assert (await it.call("PUT", "/api/v1/groups/hall/control", {"mode": "auto"}))[0] == 400


@virtual
async def test_to_stop_commanding_needs_no_disk_to_begin_it_does():
    async with door() as it:
        it.bench.store.fail("disk full")
        assert (await it.call("PUT", "/api/v1/groups/hall/control", {"control": "observe"}))[0] == 503
        assert all(record.member.control is Control.OBSERVE for record in it.bench.site.farm.records.values())
        assert (await it.call("PUT", "/api/v1/groups/hall/control", {"control": "auto"}))[0] == 503
        assert all(record.member.control is Control.OBSERVE for record in it.bench.site.farm.records.values())


@virtual
async def test_rigs_in_pages_and_by_filter():
    async with door(groups={"hall": 1100, "attic": 3}) as it:
        _, first, _ = await it.call("GET", "/api/v1/rigs")
        assert (first["total"], len(first["rigs"])) == (1103, 1000)
        _, second, _ = await it.call("GET", "/api/v1/rigs?offset=1000")
        assert len(second["rigs"]) == 103
        assert not {row["rig"] for row in first["rigs"]} & {row["rig"] for row in second["rigs"]}
        _, attic, _ = await it.call("GET", "/api/v1/rigs?group=attic&state=hashing")
        assert [row["rig"] for row in attic["rigs"]] == ["attic-001", "attic-002", "attic-003"]
        assert (await it.call("GET", "/api/v1/rigs?state=asleep"))[1]["total"] == 0
        for offset in ("-1", "x", "1e3", "9" * 40, "٣"):
            assert (await it.call("GET", f"/api/v1/rigs?offset={offset}"))[0] == 400


@virtual
async def test_one_rig_is_told_with_its_history_and_without_a_disk():
    async with door() as it:
        status, told, _ = await it.call("GET", "/api/v1/rigs/hall-001")
        assert status == 200
        assert told["history"] == []
        assert told["decision"]["steps"]
        assert (await it.call("GET", "/api/v1/rigs/nobody"))[0] == 404

        async def broken(*_args):
            raise StoreError("cannot be read")

        it.bench.store.commands = broken
        status, told, _ = await it.call("GET", "/api/v1/rigs/hall-001")
        assert (status, told["history"]) == (200, None)


@virtual
async def test_peace_is_made_with_one_rig():
    async with door() as it:
        track = it.bench.site.actuator.tracks["hall-001"]
        track.contested = track.refusing = True
        assert (await it.call("POST", "/api/v1/rigs/hall-001/peace"))[0] == 200
        assert not track.contested
        assert not track.refusing
        assert (await it.call("POST", "/api/v1/rigs/nobody/peace"))[0] == 404


@virtual
async def test_ready_after_the_first_pass():
    bench = desk({"hall": 2})
    api = Api(bench.site, bench.metrics, bench.store, TOKEN, open_reads=True)
    port = await api.start("127.0.0.1", 0)
    async with virtual_session(base_url=f"http://127.0.0.1:{port}") as session:
        async with session.get("/-/ready") as answer:
            assert answer.status == 503
        for rig in ("hall-001", "hall-002"):
            bench.reading(rig, hashing())
        await bench.cycle()
        async with session.get("/-/ready") as answer:
            assert answer.status == 200
    await api.stop()


@virtual
async def test_discovery_names_what_prometheus_should_scrape():
    async with door(groups={"hall": 1, "attic": 1}) as it:
        _, targets, _ = await it.call("GET", "/sd/prometheus")
        assert [target["labels"]["__param_group"] for target in targets] == ["attic", "hall"]
        assert targets[0]["targets"] == [f"127.0.0.1:{it.port}"]
        assert (await it.call("GET", "/metrics/rigs?group=cellar"))[0] == 404


@virtual
async def test_wrong_methods_and_paths_are_told():
    async with door() as it:
        status, told, headers = await it.call("PATCH", "/api/v1/orders")
        assert status == 405
        assert "POST" in headers["Allow"]
        assert set(told) == {"error", "remedy"}
        assert (await it.call("GET", "/api/v2"))[0] == 404
        assert (await it.call("GET", "/../../etc/passwd"))[0] == 404


@virtual
async def test_large_bodies_are_refused():
    async with door() as it:
        assert (await it.call("POST", "/api/v1/orders", raw=b" " * (MAX_BODY + 1)))[0] == 413


async def lasts(port, sent, drip=None):
    """Seconds until the server hangs up, and what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = virtual_loop().time()
    writer.write(sent)

    async def trickle():
        while True:
            await asyncio.sleep(1)
            writer.write(drip)

    task = asyncio.create_task(trickle()) if drip else None
    told = b""
    async with asyncio.timeout(600):
        with contextlib.suppress(ConnectionResetError):  # hung up on while we went on sending
            while piece := await reader.read(65_536):
                told += piece
    if task:
        task.cancel()
    writer.close()
    return virtual_loop().time() - began, told


@virtual
async def test_a_body_that_never_comes_is_given_up():
    async with door() as it:
        head = (
            f"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\n"
        )
        seconds, told = await lasts(it.port, head.encode())
        assert told.startswith(b"HTTP/1.1 408")
        assert seconds <= REQUEST_DEADLINE + KEEP_ALIVE + 2
        seconds, told = await lasts(it.port, head.encode(), drip=b" ")
        assert told.startswith(b"HTTP/1.1 408")
        assert seconds <= REQUEST_DEADLINE + KEEP_ALIVE + 2


@virtual
async def test_connections_that_say_nothing_or_too_little_are_closed():
    async with door() as it:
        for sent in (b"", b"GET /-/healthy HT", b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n"):
            seconds, _ = await lasts(it.port, sent)
            assert seconds <= KEEP_ALIVE + 2, sent


@virtual
async def test_a_kept_connection_lives_to_the_next_scrape():
    async with door() as it:
        for _ in range(3):
            assert (await it.call("GET", "/metrics"))[0] == 200
            await asyncio.sleep(15)
        assert len(network().connections(port=it.port)) == 2  # both ends of one


@virtual
async def test_no_peer_uses_up_the_descriptors():
    async with door() as it:
        held = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(MAX_CONNECTIONS)]
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        assert await reader.read() == b""  # one too many
        writer.close()
        for _, other in held[:10]:
            other.close()
        await asyncio.sleep(0.1)
        assert (await it.call("GET", "/-/healthy"))[:2] == (200, "alive\n")
        for _, other in held:
            other.close()


@virtual
async def test_a_port_that_is_taken_leaves_nothing_open():
    async with door() as it:
        other = Api(it.bench.site, it.bench.metrics, it.bench.store, TOKEN, open_reads=True)
        with pytest.raises(OSError, match="in use"):
            await other.start("127.0.0.1", it.port)


@virtual
async def test_a_bug_in_an_answer_is_one_answer_and_not_the_end(monkeypatch):
    def broken(_site):
        raise ZeroDivisionError

    monkeypatch.setattr(module, "site_status", broken)
    async with door() as it:
        assert (await it.call("GET", "/api/v1/status"))[0] == 500
        assert (await it.call("GET", "/-/healthy"))[0] == 200


@virtual
async def test_no_secret_and_no_traceback_in_any_answer(monkeypatch):
    def broken(_site):
        raise ZeroDivisionError("internal detail")

    async with door() as it:
        pages = [str(await it.call("GET", path)) for path in GETS]
        monkeypatch.setattr(module, "site_status", broken)
        pages.append(str(await it.call("GET", "/api/v1/status")))
        assert not any(TOKEN in page or "Traceback" in page or "internal detail" in page for page in pages)


LOCAL = ["", "localhost", "localhost:9477", "LOCALHOST", "127.0.0.1", "127.0.0.1:9477", "[::1]:9477", "10.0.0.5:80"]
FOREIGN = ["evil.example", "evil.example:9477", "localhost.evil.example", "127.0.0.1.evil.example", '"><script>', "[x]"]


@virtual
async def test_a_page_that_makes_its_own_name_point_here_gets_no_free_reads():
    async with door() as it:
        for host in LOCAL:
            assert (await it.call("GET", "/api/v1/status", token=None, headers={"Host": host}))[0] == 200, host
        for host in FOREIGN:
            for path in GETS:
                assert (await it.call("GET", path, token=None, headers={"Host": host}))[0] == 401, (host, path)
            assert (await it.call("GET", "/api/v1/status", headers={"Host": host}))[0] == 200, host
            assert (await it.call("GET", "/-/healthy", token=None, headers={"Host": host}))[0] == 200


@virtual
async def test_without_a_host_nobody_asks_the_name_service(monkeypatch):
    monkeypatch.setattr("socket.getfqdn", lambda *_: pytest.fail("that waits for a name server"))
    async with door() as it:
        for path, expected in (("/sd/prometheus", b"400"), ("/api/v1/status", b"200")):
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            assert (await reader.read()).split(b" ")[1] == expected
            writer.close()
