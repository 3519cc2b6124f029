"""One rig's connection to a simulated pool: the Stratum server's machine on a transport, and what faults do to it.

bytes --> StratumServer --ShareJudged--> Pool.judged() --reply--> bytes, late or spoilt where a fault says so
"""

import asyncio
from typing import Protocol, cast

from shedload.stratum.admission import Allotment
from shedload.stratum.events import Authorized, DifficultySuggested, Failed, JobWanted, Joined, ServerEvent, ShareJudged
from shedload.stratum.jobs import Notify
from shedload.stratum.server import StratumServer
from shedload.stratum.vardiff import Bounds, Vardiff
from simulator.pool_config import PoolFault, PoolTable
from simulator.wire import GARBAGE

ENDLESS_PIECE = b'{"id":null,"method":"mining.notify","params":["' + b"0" * 4000
ENDLESS_INTERVAL = 0.02
"""Seconds between pieces of 4 KB: any buffer is soon full, the machine is not."""
OTHER_HOST = "pool.elsewhere.example"
ABSURD_LINES = (
    b'{"id":null,"method":"mining.set_difficulty","params":[0]}\n',
    b'{"id":null,"method":"mining.set_difficulty","params":[-1]}\n',
    b'{"id":null,"method":"mining.set_difficulty","params":["NaN"]}\n',
    b'{"id":null,"method":"mining.set_difficulty","params":[1e999]}\n',
    b'{"id":null,"method":"mining.notify","params":["1","00","00","00",[],"1","1","1",true]}\n',
    b'{"id":null,"method":"mining.notify","params":["1","' + b"0" * 64 + b'","' + b"00" * 25_000 + b'","00",[],'
    b'"20000000","1d00ffff","65000000",true]}\n',
    b'{"id":null,"method":"mining.notify","params":["1","' + b"0" * 64 + b'","01","00",["'
    + b'","'.join([b"0" * 64] * 33) + b'"],"20000000","1d00ffff","65000000",true]}\n',
    b'{"id":null,"method":"mining.notify","params":["1","' + b"0" * 64 + b'","01","00",[],'
    b'"20000000","00000000","65000000",true]}\n',
    b'{"id":null,"method":"mining.set_extranonce","params":["' + b"00" * 64 + b'",64]}\n',
)  # fmt: skip
"""Difficulties that are none; jobs with a short prevhash, 25 KB of coinbase, 33 branches, no target."""


class Owner(Protocol):
    """What a session asks of its pool."""

    table: PoolTable

    def faulty(self, fault: PoolFault) -> bool:
        """Tell whether a fault is on."""
        ...

    def allot(self, session: str | None) -> Allotment | None:
        """An extranonce for a rig that subscribes."""
        ...

    def give_back(self, allotment: Allotment) -> None:
        """Take the extranonce of a rig that has gone."""
        ...

    def work(self, *, fresh: bool) -> Notify:
        """The job of now; `fresh` makes one that nobody has yet."""
        ...

    def judged(self, event: ShareJudged) -> bool:
        """Count a share; False where it shall be refused whatever it is."""
        ...

    def opened(self, session: "PoolSession") -> None:
        """A rig has come."""
        ...

    def closed(self, session: "PoolSession") -> None:
        """A rig has gone."""
        ...


class PoolSession(asyncio.Protocol):
    """Serves one rig."""

    def __init__(self, pool: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.server = StratumServer(
            allot=pool.allot,
            version_mask=pool.table.version_mask,
            difficulty=pool.table.difficulty,
            auto_reply=False,
        )
        self.stalled = False
        self._pool = pool
        self._loop = loop
        self._vardiff = Vardiff(pool.table.difficulty, loop.time(), _bounds(pool.table, None))
        self._timers: set[asyncio.TimerHandle] = set()
        self._tick: asyncio.TimerHandle | None = None
        self._last_due = 0.0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A rig dialled."""
        self._transport = cast("asyncio.Transport", transport)
        self._pool.opened(self)
        if self._pool.faulty(PoolFault.DROP):
            self._transport.abort()
            return
        self.server.start(self._loop.time())
        if self._pool.faulty(PoolFault.ENDLESS):
            self._endless()
        self._act()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        """The connection is gone."""
        for timer in (*self._timers, *(() if self._tick is None else (self._tick,))):
            timer.cancel()
        self._timers.clear()
        if self.server.allotment is not None:
            self._pool.give_back(self.server.allotment)
        self._pool.closed(self)

    def data_received(self, data: bytes) -> None:
        """Take what the rig says, unless a fault has made the pool deaf."""
        if self.deaf:
            self.stalled = True  # what it missed cannot be made good when the fault ends
            return
        self.server.receive_data(data, self._loop.time())
        self._act()

    @property
    def deaf(self) -> bool:
        """Nothing is heard and nothing said."""
        return self.stalled or self._pool.faulty(PoolFault.SILENT)

    def pause_writing(self) -> None:
        """The rig reads too slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """The rig has caught up."""
        self._paused = False

    def new_job(self, notify: Notify) -> None:
        """Give a job, when the rig takes jobs already."""
        if not self.server.joined or self.server.failure is not None or self.deaf:
            return
        if self._pool.table.vardiff and (changed := self._vardiff.tick(self._loop.time())) is not None:
            self.server.set_difficulty(changed)
        if self._pool.faulty(PoolFault.ABSURD):
            self._absurd()
        else:
            self.server.send_job(notify, self._loop.time())
        self._act()

    def ask_to_reconnect(self, host: str = "", port: int | None = None) -> None:
        """Ask the rig to dial again."""
        self.server.send_reconnect(host, port)
        self._act()

    def hang_up(self) -> None:
        """Break the connection off."""
        self._transport.abort()

    def _act(self) -> None:
        for event in self.server.events_received():
            self._react(event)
        self._write()
        self._arm()

    def _react(self, event: ServerEvent) -> None:
        match event:
            case ShareJudged():
                self._share(event)
            case Joined():
                self._first_job()
            case Authorized(minimum_difficulty=minimum) if minimum is not None:
                self._wish(max(float(minimum), self._vardiff.difficulty))
            case DifficultySuggested(difficulty=wanted):
                self._wish(float(wanted))
            case JobWanted():
                self.server.send_job(self._pool.work(fresh=True), self._loop.time())
            case Failed():
                self._write()
                self._transport.close()
            case _:
                pass

    def _first_job(self) -> None:
        if self._pool.faulty(PoolFault.ABSURD):
            self._absurd()
        else:
            self.server.send_job(self._pool.work(fresh=False), self._loop.time())
        if self._pool.faulty(PoolFault.REDIRECT):
            self.server.send_reconnect(OTHER_HOST, self._pool.table.port or 3333)
        elif self._pool.faulty(PoolFault.RECONNECT):
            self.server.send_reconnect()

    def _wish(self, difficulty: float) -> None:
        """A rig may ask for other shares than it gets, within the pool's bounds; vardiff does not go below its wish."""
        table = self._pool.table
        wanted = max(difficulty, table.minimum_difficulty)
        wanted = wanted if table.maximum_difficulty is None else min(wanted, table.maximum_difficulty)
        self._vardiff.bounds = _bounds(table, wanted)
        self._vardiff.difficulty = wanted
        self._set_difficulty(wanted)

    def _share(self, event: ShareJudged) -> None:
        honest = self._pool.judged(event)
        if honest:
            self.server.answer(event)
        else:
            self.server.answer(event, error=[20, "Refused", None])
        if self._pool.table.vardiff and event.job is not None and event.judgement.accepted:
            changed = self._vardiff.share(float(event.job.difficulty), self._loop.time())
            if changed is not None:
                self._set_difficulty(changed)

    def _set_difficulty(self, difficulty: float) -> None:
        """A new difficulty counts from a notify on, so one goes out with it: other work under a new id."""
        self.server.set_difficulty(difficulty)
        if self.server.jobs.active is not None:
            self.server.send_job(self._pool.work(fresh=True), self._loop.time())

    def _absurd(self) -> None:
        for line in ABSURD_LINES:
            self.server.send_raw(line)

    def _write(self) -> None:
        data = self.server.data_to_send()
        if not data or self.deaf or self._pool.faulty(PoolFault.ENDLESS):
            return
        if self._pool.faulty(PoolFault.GARBAGE):
            data = GARBAGE + b"\n"
        delay = self._pool.table.slow_s if self._pool.faulty(PoolFault.SLOW) else self._pool.table.latency_s
        now = self._loop.time()
        due = max(self._last_due, now + delay)
        if due <= now:
            self._transport.write(data)
            return
        self._last_due = due  # order is kept when a fault goes away
        self._later(due - now, data)

    def _later(self, seconds: float, data: bytes) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            if not self._transport.is_closing():
                self._transport.write(data)

        timer = self._loop.call_later(seconds, fire)
        self._timers.add(timer)

    def _endless(self) -> None:
        if self._transport.is_closing() or not self._pool.faulty(PoolFault.ENDLESS):
            return
        if not self._paused:
            self._transport.write(ENDLESS_PIECE)
        timer = self._loop.call_later(ENDLESS_INTERVAL, self._endless)
        self._timers = {timer}

    def _arm(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        deadline = self.server.next_deadline()
        if deadline is not None and not self._transport.is_closing():
            self._tick = self._loop.call_at(deadline, self._deadline)

    def _deadline(self) -> None:
        self._tick = None
        if not self.deaf:
            self.server.tick(self._loop.time())
            self._act()


def _bounds(table: PoolTable, floor: float | None) -> Bounds:
    return Bounds(table.minimum_difficulty, table.maximum_difficulty, floor)
