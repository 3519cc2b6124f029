"""One rig's lane: one connection at a time, the latest desired state wins, a lowering command cancels a poll.

Whatever a driver does, the lane keeps its budget and never raises: a bad rig costs its own lane and nobody else's.
"""

import asyncio
from collections.abc import Callable

import structlog

from controller.host import Conclusion, Instruction, Outcome
from shedload.device import (
    Blink,
    Blinking,
    Command,
    Observation,
    Pausable,
    PowerTargeted,
    Readable,
    ReadFailure,
    Reboot,
    Rebootable,
    Receipt,
    Repointable,
    Restart,
    Restartable,
    Rig,
    RigName,
    SetLevel,
    SetPools,
    SetPower,
    Sleep,
    Telemetry,
    Throttled,
    Wake,
)
from shedload.errors import Refused, RigError, Unreachable, Unsupported, WrongMachine

DRIVER_BUG = "driver_bug"
"""Failure kind of an exception that a driver should never let out."""
OVER_BUDGET = "over_budget"
"""Failure kind of a call that the lane ended because the rig's budget was used up."""

STOPPED = ReadFailure("stopped", "the daemon stopped")
"""What is said of commands that the end of the daemon cut off."""

log = structlog.get_logger(__name__)


class Lane:
    """The only one that talks to its rig."""

    def __init__(
        self,
        rig: Rig,
        *,
        budget: float,
        command_budget: float,
        commanding: asyncio.Semaphore,
        mono: Callable[[], float],
    ) -> None:
        self.name: RigName = rig.spec.name
        self._rig = rig
        self._budget = budget
        self._command_budget = command_budget
        self._commanding = commanding
        self._mono = mono
        self._lock = asyncio.Lock()
        self._pending: Instruction | None = None
        self._obeying: asyncio.Task[None] | None = None
        self._poll_task: asyncio.Task[None] | None = None
        self._interrupted = False

    def start(
        self,
        group: asyncio.TaskGroup,
        conclude: Callable[[Outcome], None],
        free: Callable[[RigName], None],
    ) -> None:
        """Say where tasks are made, who hears of outcomes, and who is told that the lane is free after a command."""
        self._group = group
        self._conclude = conclude
        self._free = free

    @property
    def busy(self) -> bool:
        """A command is waiting or on its way."""
        return self._obeying is not None

    async def poll(self, due: float) -> Observation | None:
        """Read the rig once; None when a command needs the lane more."""
        if self.busy:
            return None
        async with self._lock:
            self._poll_task = asyncio.current_task()
            self._interrupted = False
            try:
                observation = await self._read(due)
            except asyncio.CancelledError:
                if not self._yielded():
                    raise
                return None
            finally:
                self._poll_task = None
            # A driver that turned the cancellation into an error of its own read nothing that counts.
            return None if self._interrupted else observation

    def instruct(self, instruction: Instruction) -> None:
        """Take an instruction: an older one that waits is superseded; a poll makes room for a lowering."""
        if self._pending is not None:
            self._conclude(self._outcome(self._pending, Conclusion.SUPERSEDED))
        self._pending = instruction
        if instruction.lowering and self._poll_task is not None and not self._interrupted:
            self._interrupted = True
            self._poll_task.cancel()
        if self._obeying is None:
            self._obeying = self._group.create_task(self._obey(), name=f"command {self.name}")

    async def close(self) -> None:
        """Close the rig."""
        try:
            async with asyncio.timeout(self._budget):
                await self._rig.close()
        except Exception as error:  # noqa: BLE001 - closing goes on with the next rig whatever a driver does
            log.warning("rig_close_failed", rig=self.name, error=repr(error)[:200])

    def _yielded(self) -> bool:
        """Whether the poll was cancelled by this lane alone, and not because everything stops."""
        task = asyncio.current_task()
        return self._interrupted and task is not None and task.uncancel() == 0

    async def _read(self, due: float) -> Observation:
        telemetry: Telemetry | None = None
        failure: ReadFailure | None = None
        try:
            async with asyncio.timeout(self._budget):
                if not isinstance(self._rig, Readable):
                    raise Unsupported(f"driver {self._rig.spec.driver} cannot read")
                telemetry = await self._rig.read()
        except RigError as error:
            failure = ReadFailure.of(error)
        except TimeoutError:
            failure = ReadFailure(OVER_BUDGET, f"no complete reading within {self._budget:g} s")
        except Exception as error:  # a bug in one driver must not take the daemon down
            log.exception("driver_bug", rig=self.name, driver=self._rig.spec.driver)
            failure = ReadFailure(DRIVER_BUG, f"{type(error).__name__}: {error}"[:200])
        return Observation(self.name, self._mono(), due, telemetry, failure)

    async def _obey(self) -> None:
        try:
            while self._pending is not None:
                async with self._commanding, self._lock:
                    instruction, self._pending = self._pending, None
                    outcome = await self._carry_out(instruction)
                self._conclude(outcome)
        finally:
            self._obeying = None
            if self._pending is not None:  # everything stops while it waits
                unsent, self._pending = self._pending, None
                self._conclude(self._outcome(unsent, Conclusion.EXPIRED, STOPPED))
        self._free(self.name)

    async def _carry_out(self, instruction: Instruction) -> Outcome:
        """Send one command. A write that has begun is never broken off for a newer one: it would not be read back."""
        if self._mono() > instruction.expires:
            return self._outcome(instruction, Conclusion.EXPIRED)
        try:
            async with asyncio.timeout(self._command_budget):
                receipt = await perform(self._rig, instruction.command)
        except asyncio.CancelledError:
            self._conclude(self._outcome(instruction, Conclusion.UNKNOWN, STOPPED))
            raise
        except Unreachable as error:
            return self._outcome(instruction, Conclusion.FAILED, ReadFailure.of(error))
        except (Refused, WrongMachine) as error:
            return self._outcome(instruction, Conclusion.REFUSED, ReadFailure.of(error))
        except RigError as error:
            return self._outcome(instruction, Conclusion.UNKNOWN, ReadFailure.of(error))
        except TimeoutError:
            failure = ReadFailure(OVER_BUDGET, f"no outcome within {self._command_budget:g} s")
            return self._outcome(instruction, Conclusion.UNKNOWN, failure)
        except Exception as error:  # a bug in one driver must not take the daemon down
            log.exception("driver_bug", rig=self.name, driver=self._rig.spec.driver)
            failure = ReadFailure(DRIVER_BUG, f"{type(error).__name__}: {error}"[:200])
            return self._outcome(instruction, Conclusion.UNKNOWN, failure)
        return self._outcome(instruction, Conclusion.ANSWERED, receipt=receipt)

    def _outcome(
        self,
        instruction: Instruction,
        conclusion: Conclusion,
        failure: ReadFailure | None = None,
        receipt: Receipt | None = None,
    ) -> Outcome:
        return Outcome(instruction.number, self.name, conclusion, self._mono(), receipt, failure)


async def perform(rig: Rig, command: Command) -> Receipt:
    """Carry out a command. Raises Unsupported where the rig has no such verb, RigError as the driver does."""
    match command:
        case Sleep() if isinstance(rig, Pausable):
            return await rig.sleep()
        case Wake(mode) if isinstance(rig, Pausable):
            return await rig.wake(mode)
        case SetLevel(percent) if isinstance(rig, Throttled):
            return await rig.set_level(percent)
        case SetPower(power) if isinstance(rig, PowerTargeted):
            return await rig.set_power(power)
        case SetPools(pools) if isinstance(rig, Repointable):
            return await rig.set_pools(pools)
        case Reboot() if isinstance(rig, Rebootable):
            return await rig.reboot()
        case Restart() if isinstance(rig, Restartable):
            return await rig.restart()
        case Blink(on) if isinstance(rig, Blinking):
            return await rig.blink(on)
    raise Unsupported(f"driver {rig.spec.driver} has no verb {command.verb}")
