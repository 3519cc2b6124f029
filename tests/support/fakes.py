"""A rig that does what the test says, and a sink that keeps what a host tells."""

import asyncio
from collections.abc import Sequence
from typing import Any

from controller.host import Outcome
from shedload.device import Activity, Identity, Observation, Receipt, RigName, RigSpec, Telemetry
from shedload.units import HashesPerSecond


class FakeRig:
    """Readable and pausable. `delay` seconds per call; `error` is raised by reads, `refusal` by verbs."""

    def __init__(self, name: str = "rig-1", delay: float = 0.01) -> None:
        self._spec = RigSpec(RigName(name), "fake", "127.0.0.1")
        self.delay = delay
        self.verb_delay = 0.01
        self.error: BaseException | None = None
        self.refusal: BaseException | None = None
        self.hang = False
        self.asleep = False
        self.swallow = False  # turns a cancellation into an error of its own, as no driver should
        self.reads: list[float] = []
        self.verbs: list[str] = []
        self.closed = False
        self.inside = 0

    @property
    def spec(self) -> RigSpec:
        return self._spec

    async def identify(self) -> Identity:
        return Identity()

    async def close(self) -> None:
        self.closed = True

    async def read(self) -> Telemetry:
        self.reads.append(asyncio.get_running_loop().time())
        await self._alone(self.delay)
        if self.error is not None:
            raise self.error
        if self.asleep:
            return Telemetry(activity=Activity.ASLEEP)
        return Telemetry(activity=Activity.HASHING, hashrate=HashesPerSecond(1e14))

    async def sleep(self) -> Receipt:
        return await self._verb("sleep", True)

    async def wake(self, mode: str | None = None) -> Receipt:
        return await self._verb("wake", False)

    async def _verb(self, verb: str, asleep: bool) -> Receipt:
        self.verbs.append(verb)
        await self._alone(self.verb_delay)
        if self.refusal is not None:
            raise self.refusal
        self.asleep = asleep
        return Receipt(verb, changed=True)

    async def _alone(self, delay: float) -> None:
        self.inside += 1
        assert self.inside == 1, "two calls at once"
        try:
            await asyncio.sleep(1e6 if self.hang else delay)
        except asyncio.CancelledError:
            if self.swallow:
                from shedload.errors import NoAnswer

                raise NoAnswer("cancelled, I think") from None
            raise
        finally:
            self.inside -= 1


class Sink:
    """A HostSink that keeps everything."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.outcomes: list[Outcome] = []
        self.batches = 0

    def observed(self, batch: Sequence[Observation]) -> None:
        self.batches += 1
        self.observations += batch

    def concluded(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def of(self, rig: str) -> list[Observation]:
        return [item for item in self.observations if item.rig == rig]

    def told(self) -> list[tuple[int, str]]:
        return [(outcome.number, outcome.conclusion.value) for outcome in self.outcomes]


def only_readable(rig: FakeRig) -> Any:
    """The same without verbs."""

    class Reader:
        spec = rig.spec
        read = rig.read
        identify = rig.identify
        close = rig.close

    return Reader()
