"""Plain CGMiner or BFGMiner: read over the socket, steered with the verbs of its own API.

    read():  summary+pools+devs joined, or one by one --> Telemetry
    verbs:   may we write? -> pools as they are -> add, prefer, verify, remove -> Receipt

The API has no sleep, no level and no watts: those verbs do not exist here.
"""

from collections.abc import Mapping

from drivers._address import endpoint, port_option
from drivers._ask import ask
from drivers._cgminer_map import identity, telemetry
from drivers._cgminer_pools import realise
from drivers._machine import check_machine
from drivers._pools import check_targets, pool_readings
from drivers.io import Io
from shedload.cgminer.codec import DEFAULT_PORT, Parameter
from shedload.cgminer.parse import Reply
from shedload.device import API_VERSION, Identity, PoolReading, PoolTarget, Receipt, RigSpec, Telemetry
from shedload.errors import Garbled, NoAnswer, Refused, RigError, Unauthorized, Unsupported

api_version = API_VERSION

ASK_S = 5.0
"""Deadline of one question; the server answers one client after another."""
IDENTITY_S = 600.0
"""Seconds between looks at version and devdetails."""
MOST_TARGETS = 10
"""Pools that are set at most; cgminer itself takes more."""
PARTS = ("summary", "pools", "devs")


def open(spec: RigSpec, io: Io) -> "Cgminer":  # noqa: A001 - the border's name for it
    """Make the rig. Options: rpc_port."""
    return Cgminer(spec, io)


class Cgminer:
    """One miner that speaks the CGMiner API and nothing else."""

    def __init__(self, spec: RigSpec, io: Io) -> None:
        self._spec = spec
        self._mono = io.mono
        self._where = endpoint(spec.address, port_option(spec.options, "rpc_port", DEFAULT_PORT))
        self._joins = True
        self._identity: Identity | None = None
        self._identity_due = float("-inf")

    @property
    def spec(self) -> RigSpec:
        """What the rig was opened with."""
        return self._spec

    async def close(self) -> None:
        """Nothing is kept open."""

    async def identify(self) -> Identity:
        """Program, version and model. Raises RigError."""
        version = await self._ask("version")
        try:
            details: Reply | None = await self._ask("devdetails")
        except (Refused, Garbled):
            details = None
        self._identity = identity(version, details)
        return self._identity

    async def read(self) -> Telemetry:
        """Summary, pools and devices. Raises RigError where not even the summary can be had."""
        parts = await self._parts()
        await self._keep_identity()
        return telemetry(parts["summary"], parts.get("pools"), parts.get("devs"), self._identity)

    async def set_pools(self, pools: tuple[PoolTarget, ...]) -> Receipt:
        """Replace the pool list, in memory only: a restart forgets it. A pool already there keeps its password."""
        check_targets(pools, MOST_TARGETS)
        await self._check_writable("addpool")
        before = await self._pools()
        changed = await realise(pools, self._ask, self._pools)
        after = await self._pools()
        return Receipt(
            "set_pools", changed=changed, evidence={"pools before": str(len(before)), "pools after": str(len(after))}
        )

    async def restart(self) -> Receipt:
        """Restart the mining process; it may hang up before it has answered."""
        await self._check_writable("restart")
        try:
            await self._ask("restart")
        except (NoAnswer, Unauthorized) as error:
            # the right to write was proven just before: a connection closed without a byte is the restart itself
            if isinstance(error, Unauthorized) and error.code is not None:
                raise
            return Receipt("restart", changed=True, evidence={"answer": "hung up"})
        return Receipt("restart", changed=True, evidence={"answer": "accepted"})

    async def blink(self, on: bool) -> Receipt:
        """Flash the first device; the API can start that and not stop it."""
        if not on:
            raise Unsupported("ascidentify flashes for a while and cannot be stopped")
        await self._check_writable("ascidentify")
        status = (await self._ask("ascidentify", "0")).status
        if status.letter == "W":
            raise Unsupported("this device has no identify")
        return Receipt("blink", changed=True, evidence={"identify": "sent"})

    async def _ask(self, command: str, parameter: Parameter | None = None) -> Reply:
        found = await ask(self._where, command, parameter, deadline_s=ASK_S)
        return Reply.of(found).raise_for_status()

    async def _parts(self) -> Mapping[str, Reply]:
        if self._joins:
            try:
                return await self._joined()
            except Unauthorized:
                raise
            except (Refused, Garbled):
                self._joins = False  # stock S19 firmware and its relatives
        parts = {"summary": await self._ask("summary")}
        for command in PARTS[1:]:
            try:
                parts[command] = await self._ask(command)
            except Refused:
                continue  # an api-group without this command: the fields stay unknown
        return parts

    async def _joined(self) -> Mapping[str, Reply]:
        whole = Reply.of(await ask(self._where, "+".join(PARTS), deadline_s=ASK_S))
        parts = {"summary": whole.joined("summary").raise_for_status()}
        for command in PARTS[1:]:
            part = whole.joined(command)
            if not part.status.failed:
                parts[command] = part
        return parts

    async def _pools(self) -> tuple[PoolReading, ...]:
        return pool_readings((await self._ask("pools")).rows("POOLS"))

    async def _keep_identity(self) -> None:
        """Look who answers now and then; a failure leaves what is known."""
        if self._mono() < self._identity_due:
            return
        self._identity_due = self._mono() + IDENTITY_S
        try:
            await self.identify()
        except RigError:
            return

    async def _check_writable(self, command: str) -> None:
        """Before anything is sent: the right machine, the right to write, and that the command exists."""
        if self._spec.expected_serial or self._spec.expected_mac:
            check_machine(self._spec, await self.identify())
        try:
            await self._ask("privileged")
        except Unauthorized:
            raise Unauthorized(
                "the API is read-only for this address: start the miner with --api-allow W:<address of shedload>"
            ) from None
        row = (await self._ask("check", command)).row("CHECK")
        if row.get("Exists") == "N":
            raise Unsupported(f"this miner has no {command}")
        if row.get("Access") == "N":
            raise Unauthorized(f"{command} is not in the api-group of this address")
