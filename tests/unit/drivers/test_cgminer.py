"""The plain CGMiner driver against a miner of few lines that keeps the rules of the API's pool verbs."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from drivers import cgminer
from drivers._cgminer_map import identity, shortest_rate, telemetry
from drivers.io import Io
from shedload.cgminer.codec import encode_reply, parse_request
from shedload.cgminer.parse import Reply
from shedload.cgminer.values import number
from shedload.device import (
    Activity,
    Blinking,
    FaultCode,
    Pausable,
    PoolStatus,
    PoolTarget,
    PowerTargeted,
    Repointable,
    Restartable,
    RigName,
    RigSpec,
    Throttled,
)
from shedload.errors import NoAnswer, Refused, RigError, Unauthorized, Unreachable, Unsupported
from tests.support.http import VirtualConnector
from tests.support.virtual import virtual

ADDRESS = "127.0.0.7"
CAPTURES = Path(__file__).resolve().parents[2] / "captures"
A = PoolTarget("stratum+tcp://a.example:3333", "user,with-comma", "pass,word\\x")
B = PoolTarget("stratum+tcp://b.example:3333", "w", "x")
C = PoolTarget("stratum+tcp://c.example:3333", "w", "x")


def fields(parameter: str) -> list[str]:
    """Split at commas with `\\` as escape, as the miner does."""
    found, escaped = [""], False
    for letter in parameter:
        if escaped:
            found[-1] += letter
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == ",":
            found.append("")
        else:
            found[-1] += letter
    return found


class Miner:
    """One process with the socket API."""

    def __init__(self, *pools: PoolTarget, joins: bool = True, writable: bool = True) -> None:
        self.pools = [[index, pool, index] for index, pool in enumerate(pools)]  # index, pool, priority
        self.joins = joins
        self.writable = writable
        self.active = 0
        self.rate = 1000.0
        self.asked: list[str] = []
        self.refuse: dict[str, int] = {}
        self.lazy_switch = 0
        self.unknown: set[str] = set()
        self.hangs_up: set[str] = set()

    def answer(self, request: bytes) -> bytes:
        found = parse_request(request)
        self.asked.append("+".join(found.commands))
        if found.joined and not self.joins:
            return encode_reply(self.error(14, "Invalid command"))
        if found.joined:
            return encode_reply({name: [self.one(name, None)] for name in found.commands} | {"id": 1})
        if found.commands[0] in self.hangs_up:
            return b""
        return encode_reply(self.one(found.commands[0], found.parameter))

    def one(self, command: str, parameter: str | None) -> dict:
        if command in self.refuse:
            return self.error(self.refuse[command], f"{command} refused")
        if not self.writable and command not in {"summary", "pools", "devs", "version", "devdetails", "check"}:
            return self.error(45, f"Access denied to '{command}' command")
        method = None if command in self.unknown else getattr(self, f"on_{command}", None)
        return self.error(14, "Invalid command") if method is None else method(parameter)

    def error(self, code: int, text: str) -> dict:
        return {"STATUS": [{"STATUS": "E", "When": 1, "Code": code, "Msg": text}], "id": 1}

    def ok(self, code: int, letter: str = "S", **sections) -> dict:
        return {"STATUS": [{"STATUS": letter, "When": 1, "Code": code, "Msg": ""}], "id": 1} | sections

    def on_summary(self, _):
        row = {"Elapsed": 100, "MHS av": 900.0, "MHS 20s": 999.0, "MHS 5s": self.rate, "Accepted": 12, "Rejected": 1,
               "Stale": 2, "Hardware Errors": 3}  # fmt: skip
        return self.ok(11, SUMMARY=[row])

    def on_pools(self, _):
        rows = [
            {"POOL": index, "URL": pool.url, "User": pool.user, "Status": "Alive", "Priority": priority,
             "Accepted": 1, "Rejected": 0, "Stale": 0, "Stratum Active": index == self.active}
            for index, pool, priority in self.pools
        ]  # fmt: skip
        return self.ok(7, POOLS=rows)

    def on_devs(self, _):
        rows = [
            {"ASC": 0, "Status": "Alive", "Temperature": 55.5, "MHS 5s": self.rate / 2, "Hardware Errors": 1},
            {"ASC": 1, "Status": "Sick", "Temperature": 0.0, "MHS 5s": self.rate / 2, "Hardware Errors": 2},
        ]
        return self.ok(9, DEVS=rows)

    def on_version(self, _):
        return self.ok(22, VERSION=[{"CGMiner": "4.11.1", "API": "3.7"}])

    def on_devdetails(self, _):
        return self.ok(69, DEVDETAILS=[{"DEVDETAILS": 0, "Name": "GSD", "Model": ""}])

    def on_privileged(self, _):
        return self.ok(46)

    def on_check(self, name):
        exists = hasattr(self, f"on_{name}") and name not in self.unknown
        return self.ok(72, CHECK=[{"Exists": "Y" if exists else "N", "Access": "Y"}])

    def on_addpool(self, parameter):
        url, user, password = fields(parameter)
        index = max([each[0] for each in self.pools], default=-1) + 1
        self.pools.append([index, PoolTarget(url, user, password), len(self.pools)])
        return self.ok(55)

    def find(self, parameter):
        return next(each for each in self.pools if each[0] == int(parameter))

    def reorder(self, numbers):
        rest = [each for each in sorted(self.pools, key=lambda each: each[2]) if each[0] not in numbers]
        for place, each in enumerate([self.find(index) for index in numbers] + rest):
            each[2] = place

    def on_switchpool(self, parameter):
        self.reorder([int(parameter)])
        if not self.lazy_switch:
            self.active = int(parameter)
        return self.ok(27)

    def on_poolpriority(self, parameter):
        self.reorder([int(number) for number in parameter.split(",")])
        return self.ok(73)

    def on_enablepool(self, _):
        return self.ok(49, "I")

    def on_removepool(self, parameter):
        if int(parameter) == self.active:
            self.lazy_switch -= 1
            if self.lazy_switch <= 0:
                self.active = min(self.pools, key=lambda each: each[2])[0]
            return self.error(67, "Cannot remove active pool")
        self.pools.remove(self.find(parameter))
        return self.ok(68)

    def on_restart(self, _):
        return {"STATUS": "RESTART", "id": 1}

    def on_ascidentify(self, _):
        return self.ok(113)


@asynccontextmanager
async def served(miner: Miner, **spec):
    async def handle(reader, writer):
        writer.write(miner.answer(await reader.read(4095)))
        writer.close()

    server = await asyncio.start_server(handle, ADDRESS, 4028)
    try:
        async with Io(mono=asyncio.get_running_loop().time, connector=VirtualConnector) as io:
            yield cgminer.open(RigSpec(RigName("rig-1"), "cgminer", ADDRESS, **spec), io)
    finally:
        server.close()
        await server.wait_closed()


def configured(miner: Miner) -> list[PoolTarget]:
    return [pool for _, pool, _ in sorted(miner.pools, key=lambda each: each[2])]


@pytest.mark.parametrize("joins", [True, False])
def test_read(joins):
    @virtual
    async def body():
        miner = Miner(B, C, joins=joins)
        async with served(miner) as rig:
            told = await rig.read()
            assert (told.activity, told.hashrate, told.hashrate_average) == (Activity.HASHING, 1e9, 9e8)
            assert (told.accepted, told.rejected, told.stale, told.hardware_errors) == (12, 1, 2, 3)
            assert told.uptime == 100
            assert [(pool.url, pool.status, pool.active) for pool in told.pools] == [
                (B.url, PoolStatus.ALIVE, True),
                (C.url, PoolStatus.ALIVE, False),
            ]
            assert [(b.index, b.hashrate, b.chip_temperature) for b in told.boards] == [(0, 5e8, 55.5), (1, 5e8, None)]
            assert [(fault.code, fault.board) for fault in told.faults] == [(FaultCode.BOARD, 1)]
            assert (told.identity.make, told.identity.firmware, told.identity.model) == ("CGMiner", "4.11.1", "GSD")
            assert told.power is told.mode is told.fans is None
            miner.asked.clear()
            miner.rate = 0.0
            assert (await rig.read()).activity is Activity.IDLE
            assert miner.asked == (["summary+pools+devs"] if joins else ["summary", "pools", "devs"])

    body()


@virtual
async def test_a_section_that_is_denied_leaves_its_fields_unknown():
    miner = Miner(B, joins=False)
    miner.refuse = {"devs": 45, "devdetails": 45}
    async with served(miner) as rig:
        told = await rig.read()
    assert told.boards is None
    assert told.hashrate == 1e9


@virtual
async def test_capabilities():
    async with served(Miner(B)) as rig:
        assert all(isinstance(rig, kind) for kind in (Repointable, Restartable, Blinking))
        assert not any(isinstance(rig, kind) for kind in (Pausable, Throttled, PowerTargeted))


@pytest.mark.parametrize(
    ("before", "wanted"),
    [((B,), (A,)), ((A, B), (B, A)), ((B, C), (A, B)), ((A, B, C), (C,)), ((B,), (A, B, C)), ((A,), (B, C))],
)
def test_set_pools(before, wanted):
    @virtual
    async def body():
        miner = Miner(*before)
        async with served(miner) as rig:
            receipt = await rig.set_pools(wanted)
            assert receipt.changed
            assert receipt.evidence == {"pools before": str(len(before)), "pools after": str(len(wanted))}
            assert configured(miner) == list(wanted)
            assert miner.find(miner.active)[1] == wanted[0]
            assert not (await rig.set_pools(wanted)).changed

    body()


@virtual
async def test_pool_that_stays_active_for_a_moment_is_removed_all_the_same():
    miner = Miner(B)
    miner.lazy_switch = 3
    async with served(miner) as rig:
        await rig.set_pools((A,))
    assert configured(miner) == [A]


@pytest.mark.parametrize(
    ("command", "code"), [("addpool", 54), ("switchpool", 26), ("poolpriority", 74), ("enablepool", 26)]
)
def test_failure_before_the_removal_undoes_everything(command, code):
    @virtual
    async def body():
        miner = Miner(B, C)
        real = miner.one

        def refuse_once(name, parameter):
            if name == command and not miner.refuse.get("done"):
                miner.refuse["done"] = 1
                return miner.error(code, "no")
            return real(name, parameter)

        miner.one = refuse_once
        async with served(miner) as rig:
            with pytest.raises(Refused, match=str(code)):
                await rig.set_pools((A, PoolTarget("stratum+tcp://d:1", "w")))
        assert configured(miner) == [B, C]
        assert miner.active == 0

    body()


@virtual
async def test_failure_while_undoing_is_unknown():
    miner = Miner(B)
    miner.refuse = {"switchpool": 26}
    async with served(miner) as rig:
        with pytest.raises(NoAnswer, match="undoing it failed as well"):
            await rig.set_pools((A,))


@virtual
async def test_passwords_stay_out_of_errors():
    miner = Miner(B)
    miner.refuse = {"addpool": 53}
    async with served(miner) as rig:
        with pytest.raises(Refused) as caught:
            await rig.set_pools((PoolTarget("stratum+tcp://a:1", "w", "S3CRET"),))
    assert "S3CRET" not in str(caught.value)


@virtual
async def test_read_only_api_is_a_clear_unauthorized_before_anything_is_sent():
    miner = Miner(B, writable=False)
    async with served(miner) as rig:
        for verb in (rig.set_pools((A,)), rig.restart(), rig.blink(True)):
            with pytest.raises(Unauthorized, match="api-allow"):
                await verb
    assert set(miner.asked) == {"privileged"}


@virtual
async def test_command_that_the_miner_does_not_have():
    miner = Miner(B)
    miner.unknown = {"ascidentify"}
    async with served(miner) as rig:
        with pytest.raises(Unsupported, match="ascidentify"):
            await rig.blink(True)
        with pytest.raises(Unsupported):
            await rig.blink(False)


@virtual
async def test_restart_and_blink():
    miner = Miner(B)
    async with served(miner) as rig:
        assert (await rig.restart()).evidence == {"answer": "accepted"}
        miner.hangs_up = {"restart"}
        assert (await rig.restart()).evidence == {"answer": "hung up"}
        assert (await rig.blink(True)).changed


@virtual
async def test_machine_that_tells_nothing_of_itself_is_not_written_to_where_one_is_expected():
    miner = Miner(B)
    async with served(miner, expected_mac="02:00:00:00:00:01") as rig:
        with pytest.raises(Refused, match="neither"):
            await rig.set_pools((A,))
    assert configured(miner) == [B]


@virtual
async def test_nobody_there():
    async with Io(connector=VirtualConnector) as io:
        rig = cgminer.open(RigSpec(RigName("r"), "cgminer", "127.0.0.99"), io)
        with pytest.raises(Unreachable):
            await rig.read()


@virtual
async def test_a_miner_that_closes_at_once_has_not_allowed_us():
    class Denying(Miner):
        def answer(self, request):
            return b""

    async with served(Denying(B)) as rig:
        with pytest.raises(Unauthorized, match="api-allow"):
            await rig.read()


def test_rate_of_the_shortest_window():
    assert shortest_rate({"MHS av": 1.0, "MHS 20s": 5.0, "MHS 1m": 9.0}) == 5e6
    assert shortest_rate({"GHS 5s": "1,000.5", "MHS 20s": 5.0}) == pytest.approx(1000.5e9)
    assert shortest_rate({"MHS av": 1.0}) is None


WITH_SUMMARY = [path for path in sorted(CAPTURES.glob("*/*.json")) if '"rpc:summary": {' in path.read_text()]


@pytest.mark.parametrize("path", WITH_SUMMARY, ids=lambda path: path.stem)
def test_recorded_replies_of_other_makers_are_read_or_refused(path):
    """Their firmware speaks a dialect of this API; plain reading must not fall over any of it."""
    responses = json.loads(path.read_text()).get("responses", {})
    parts = {}
    for name in ("summary", "pools", "devs", "version", "devdetails"):
        found = responses.get(f"rpc:{name}")
        if isinstance(found, dict):
            parts[name] = Reply(found)
    try:
        who = identity(parts["version"], parts.get("devdetails")) if "version" in parts else None
        told = telemetry(parts["summary"], parts.get("pools"), parts.get("devs"), who)
    except RigError:
        return
    row = parts["summary"].row("SUMMARY")
    assert told.uptime == number(row.get("Elapsed"))
    assert told.accepted == number(row.get("Accepted"))
