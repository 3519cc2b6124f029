"""What the daemon answers over HTTP: metrics, discovery, health, status, and the few things an operator may order.

Reading is free on loopback; writing needs the token everywhere, and on any other address so does reading. Every body is
bounded, every request has a deadline, and an error says what would do.
"""

import asyncio
import hmac
import ipaddress
import itertools
import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog
from aiohttp import web

from controller.metrics import Metrics
from controller.plan import Control, Order
from controller.status import Site, command_status, order_status, rig_row, rig_status, site_status
from controller.store import StorePort
from shedload.device import RigName
from shedload.errors import StoreError
from shedload.units import Watts, from_kilowatts

MAX_BODY = 16 * 1024
REQUEST_DEADLINE = 15.0
"""Seconds; aiohttp itself waits for an announced body for ever."""
KEEP_ALIVE = 30.0
"""Longer than a scrape interval of 15 s, short against connections that say nothing."""
MAX_ROWS = 1000
MAX_UNWRITTEN = 100
"""Orders that are kept in memory while the disk takes nothing."""
MAX_CONNECTIONS = 256
"""A Prometheus, some screens and scripts; what comes beyond is hung up on, so that no peer uses up the descriptors."""
ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9.-]{1,253}))(?::\d{0,5})?")
"""What stands in a Host header: an IPv6 address in brackets, or a name or IPv4 address, and perhaps a port."""
TEXT = "text/plain; version=0.0.4; charset=utf-8"

log = structlog.get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The HTTP side of one site."""

    def __init__(self, site: Site, metrics: Metrics, store: StorePort, token: str, *, open_reads: bool) -> None:
        self._site = site
        self._metrics = metrics
        self._store = store
        self._token = token
        self._open_reads = open_reads
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._unwritten: dict[int, Order] = {}
        self._unwritten_numbers = itertools.count(-1, -1)

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound, which matters where 0 was asked for. Raises OSError, and is closed then."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/metrics/rigs", self._get_rig_metrics),
                web.get("/sd/prometheus", self._get_targets),
                web.get("/-/healthy", self._get_healthy),
                web.get("/-/ready", self._get_ready),
                web.get("/api/v1/status", self._get_status),
                web.get("/api/v1/rigs", self._get_rigs),
                web.get("/api/v1/rigs/{rig}", self._get_rig),
                web.get("/api/v1/orders", self._get_orders),
                web.post("/api/v1/orders", self._post_order),
                web.delete("/api/v1/orders/{number}", self._delete_order),
                web.put("/api/v1/groups/{group}/control", self._put_control),
                web.post("/api/v1/rigs/{rig}/peace", self._post_peace),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=KEEP_ALIVE, handle_signals=False, shutdown_timeout=1.0
        )
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(self._accept, host, port, backlog=128)
        except OSError:
            await self.stop()
            raise
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close every connection."""
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _accept(self) -> asyncio.BaseProtocol:
        assert self._runner is not None
        server = self._runner.server
        if server is None or len(server.connections) >= MAX_CONNECTIONS:
            return _Full()
        return server()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._admit(request)
            async with asyncio.timeout(REQUEST_DEADLINE):
                return await handler(request)
        except TimeoutError:
            return _problem(408, f"the request was not complete within {REQUEST_DEADLINE:g} s", "send the whole body")
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = _problem(error.status, error.text or error.reason, "see the documentation of the HTTP interface")
            for name in ("Allow", "WWW-Authenticate"):
                if name in error.headers:
                    answer.headers[name] = error.headers[name]
            return answer
        except StoreError as error:
            return _problem(503, f"the store takes nothing: {error}", "free the disk; lowering goes on meanwhile")

    def _admit(self, request: web.Request) -> None:
        reading = request.method in {"GET", "HEAD"}
        if request.path == "/-/healthy" or (
            reading and self._open_reads and _by_address(request.headers.get("Host", ""))
        ):
            return
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ").encode(errors="surrogateescape")
        if not hmac.compare_digest(shown, self._token.encode()):
            raise web.HTTPUnauthorized(text="the token is missing or wrong", headers={"WWW-Authenticate": "Bearer"})

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": TEXT})

    async def _get_rig_metrics(self, request: web.Request) -> web.Response:
        group = request.query.get("group", "")
        page = self._metrics.render_rigs(group)
        if page is None:
            raise web.HTTPNotFound(text=f"there is no group {group!r}; known: {', '.join(self._metrics.groups)}")
        return web.Response(body=page, headers={"Content-Type": TEXT})

    async def _get_targets(self, request: web.Request) -> web.Response:
        host = request.headers.get("Host", "")  # aiohttp's own word for a missing one asks the name service, and waits
        if not host.isprintable() or not host:
            raise web.HTTPBadRequest(text="the request names no host, and that is where the targets are")
        targets = [
            {
                "targets": [host],
                "labels": {
                    "__metrics_path__": "/metrics/rigs",
                    "__param_group": group,
                    "site": self._site.name,
                    "group": group,
                },
            }
            for group in self._metrics.groups
        ]
        return _json(targets)

    async def _get_healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _get_ready(self, _request: web.Request) -> web.Response:
        ready = self._site.controller.ready
        return web.Response(text="ready\n" if ready else "first pass over the rigs\n", status=200 if ready else 503)

    async def _get_status(self, _request: web.Request) -> web.Response:
        return _json(site_status(self._site))

    async def _get_rigs(self, request: web.Request) -> web.Response:
        wanted = {key: request.query[key] for key in ("group", "state", "model") if key in request.query}
        offset = _whole(request.query.get("offset", "0"), "offset")
        views, records = self._site.controller.views, self._site.farm.records
        if wanted:
            rows = [rig_row(self._site, record, views.get(name)) for name, record in records.items()]
            found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
            return _json({"total": len(found), "offset": offset, "rigs": found[offset : offset + MAX_ROWS]})
        page = [records[name] for name in itertools.islice(records, offset, offset + MAX_ROWS)]
        rows = [rig_row(self._site, record, views.get(record.member.name)) for record in page]
        return _json({"total": len(records), "offset": offset, "rigs": rows})

    async def _get_rig(self, request: web.Request) -> web.Response:
        name = request.match_info["rig"]
        status = rig_status(self._site, RigName(name))
        if status is None:
            raise web.HTTPNotFound(text=f"there is no rig {name!r}")
        try:
            records = await self._store.commands(name)
        except StoreError:
            status["history"] = None  # the disk is at fault; what the rig does now is known all the same
        else:
            status["history"] = [command_status(record) for record in records]
        return _json(status)

    async def _get_orders(self, _request: web.Request) -> web.Response:
        return _json([order_status(order) for order in self._site.controller.orders])

    async def _post_order(self, request: web.Request) -> web.Response:
        body = await _body(request, {"limit_kw", "limit_percent", "author", "note"})
        limit = self._limit(body)
        author, note = _text(body, "author", "operator"), _text(body, "note", "")
        try:
            order: Order = await self._store.place(limit, author, note)
        except StoreError as error:
            order = self._unwritten_order(limit, author, note)
            log.error(
                "order_not_on_disk",
                number=order.number,
                error=str(error),
                effect="kept in memory until the disk takes it",
            )
        log.warning("order_placed", number=order.number, limit_w=limit, author=author, note=note)
        self._orders_changed()
        return _json({**order_status(order), "on_disk": order.number > 0}, status=201)

    async def _delete_order(self, request: web.Request) -> web.Response:
        text = request.match_info["number"]
        number = -_whole(text[1:], "number") if text.startswith("-") else _whole(text, "number")
        author = request.query.get("author", "operator")[:64]
        if self._unwritten.pop(number, None) is None and not await self._store.release(number, author):
            raise web.HTTPNotFound(text=f"there is no order {number} in force")
        log.warning("order_released", number=number, author=author)
        self._orders_changed()
        return _json({"released": number})

    async def _put_control(self, request: web.Request) -> web.Response:
        group = request.match_info["group"]
        if group not in self._site.actuator.canaries:
            raise web.HTTPNotFound(text=f"there is no group {group!r}")
        body = await _body(request, {"control", "author"})
        try:
            control = Control(str(body.get("control")))
        except ValueError:
            raise web.HTTPBadRequest(text='"control" must be "observe" or "auto"') from None
        author = _text(body, "author", "operator")
        if control is Control.AUTO and self._site.actuator.observing:
            raise web.HTTPConflict(text="this run was started to observe only; start it without --observe to command")
        if control is Control.OBSERVE:
            self._site.farm.set_control(group, control)  # to stop commanding needs no disk
        await self._store.set_control(group, control, author)
        log.warning("group_control", group=group, control=control.value, author=author)
        self._site.farm.set_control(group, control)
        self._site.controller.hurry()
        return _json({"group": group, "control": control.value})

    async def _post_peace(self, request: web.Request) -> web.Response:
        name = request.match_info["rig"]
        track = self._site.actuator.tracks.get(RigName(name))
        if track is None:
            raise web.HTTPNotFound(text=f"there is no rig {name!r}")
        track.make_peace()
        log.warning("rig_peace", rig=name)
        self._site.controller.hurry()
        return _json({"rig": name, "contested": False, "refusing": False})

    def _unwritten_order(self, limit: Watts, author: str, note: str) -> Order:
        """An order that the disk does not take: it lowers, so it holds all the same."""
        if len(self._unwritten) >= MAX_UNWRITTEN:
            raise web.HTTPServiceUnavailable(text=f"{MAX_UNWRITTEN} orders are waiting for a disk that takes nothing")
        order = Order(next(self._unwritten_numbers), limit, author, note, self._site.clock.wall())
        self._unwritten[order.number] = order
        return order

    async def write_orders(self) -> None:
        """Bring orders to disk that were taken while it was full; they get lasting numbers. Stops where it still is."""
        for number, order in tuple(self._unwritten.items()):
            try:
                written = await self._store.place(order.limit, order.author, order.note)
            except StoreError:
                return
            if self._unwritten.pop(number, None) is None:
                await self._take_back(written, order.author)
            log.warning("order_on_disk", before=number, number=written.number)
            self._orders_changed()

    async def _take_back(self, order: Order, author: str) -> None:
        """Release an order that was released in memory while it was being written."""
        try:
            await self._store.release(order.number, author)
        except StoreError as error:  # it holds on, which lowers, and is listed until it is released again
            log.error("order_not_released", number=order.number, error=str(error))

    def _orders_changed(self) -> None:
        self._site.controller.set_orders((*self._store.orders, *self._unwritten.values()))

    def _limit(self, body: dict[str, Any]) -> Watts:
        cap = self._site.controller.site.power_cap
        given = [key for key in ("limit_kw", "limit_percent") if key in body]
        if len(given) != 1:
            raise web.HTTPBadRequest(text='give one of "limit_kw" and "limit_percent"')
        value = body[given[0]]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise web.HTTPBadRequest(text=f'"{given[0]}" must be a number')
        limit = from_kilowatts(value) if given[0] == "limit_kw" else Watts(cap * value / 100.0)
        if not 0 <= limit <= cap:
            raise web.HTTPBadRequest(text=f"the limit must lie between 0 and the site's cap of {cap / 1e3:g} kW")
        return limit


def _by_address(host: str) -> bool:
    """Whether a Host header names this machine by address, or as localhost.

    A page in a browser here may call by a name of its own that it has made to point at loopback; it gets no free reads.
    """
    found = ADDRESS.fullmatch(host)
    if found is None:
        return not host
    name = found["v6"] or found["name"]
    try:
        return name.lower() == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


class _Full(asyncio.Protocol):
    """What a connection gets that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hang up."""
        transport.close()


async def _body(request: web.Request, known: set[str]) -> dict[str, Any]:
    """A JSON object with known members only. Raises HTTPBadRequest."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise web.HTTPBadRequest(text=f"the body is no JSON: {error}"[:200]) from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object")
    if unknown := body.keys() - known:
        raise web.HTTPBadRequest(text=f"unknown member {min(unknown)!r}"[:100] + f"; known: {sorted(known)}")
    return body


def _text(body: dict[str, Any], key: str, default: str) -> str:
    value = body.get(key, default)
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise web.HTTPBadRequest(text=f'"{key}" must be one line of at most 200 characters')
    return value


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise web.HTTPBadRequest(text=f"{name} must be a whole number")
    return int(text)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _problem(status: int, problem: str, remedy: str) -> web.Response:
    return _json({"error": problem, "remedy": remedy}, status=status)
