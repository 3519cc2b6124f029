"""From what an Antminer tells to what it means: activity, power, faults.

    Sample (this reading) + Known (slower tiers) + pools --> Telemetry

An overheated rig looks like a sleeping one (no hashrate, every chip `x`): work mode, fans and temperatures tell them
apart.
"""

from drivers._antminer_sample import MAKE, Known, Sample
from drivers._antminer_web import plain_model
from drivers._twin import twin
from shedload.device import (
    Activity,
    BoardReading,
    Fault,
    FaultCode,
    Identity,
    PoolReading,
    PoolStatus,
    PowerSource,
    Telemetry,
)
from shedload.nameplate import SLEEP_POWER
from shedload.units import Celsius, Watts

RAMP_S = 1200.0
"""Seconds of uptime in which less than full hashrate counts as ramping; boot and tuning take minutes."""
RAMPED_SHARE = 0.9
"""Share of the nominal hashrate at which a rig counts as ramped up."""
SLOW_FANS_RPM = 2000.0
"""Fans of sleeping rigs were recorded at 600-1560 rpm, of overheated ones at full speed."""
HOT_CHIP = 85.0
"""°C. The recorded overheated S19 had 93-97 °C on its chips; they cool below this within a minute or two."""
COOL_CHIP = 60.0
"""°C. A board that does not hash is below this within minutes; the recorded sleeping S19 had 40 °C."""
IMPLAUSIBLE_SHARE = 1.5
"""More than this times the nominal hashrate is a slip of the unit, not hashing."""
SETTLED_S = 300.0
"""Without the work mode, only a rig that has been up for this long is taken for asleep: before, it may be booting."""


def telemetry(sample: Sample, known: Known, pools: tuple[PoolReading, ...] | None) -> Telemetry:
    """Put a reading together."""
    chip = sample.chip_temperature
    hashing = sample.hashing
    activity = _activity(sample, known, pools, chip, hashing=hashing)
    power, source = _power(sample, known, activity, hashing=hashing)
    accepted, rejected, stale = _totals(pools)
    reading = ReadingTwin(
        activity,
        sample.hashrate,
        sample.hashrate_average,
        sample.hashrate_nominal,
        power,
        source,
        None,
        chip,
        sample.board_temperature,
        None,
        sample.fans,
        _plated(sample.boards, known) if sample.boards else None,
        pools,
        accepted,
        rejected,
        stale,
        sample.hardware_errors,
        sample.uptime,
        "sleep" if sample.asleep_by_mode else known.mode,
        known.level,
        known.locating,
        _faults(sample, known, activity, chip, hashing=hashing),
        known.identity or _identity(sample),
        sample.repairs,
    )
    reading.__class__ = Telemetry
    result: Telemetry = reading
    return result


ReadingTwin = twin(Telemetry)
IdentityTwin = twin(Identity)


def _identity(sample: Sample) -> Identity:
    """What the statistics alone tell of who answers."""
    found = IdentityTwin(MAKE, plain_model(sample.model), sample.firmware)
    found.__class__ = Identity
    result: Identity = found
    return result


def _activity(
    sample: Sample, known: Known, pools: tuple[PoolReading, ...] | None, chip: Celsius | None, *, hashing: bool
) -> Activity | None:
    rate = sample.hashrate
    if sample.asleep_by_mode:
        return Activity.ASLEEP
    if hashing:  # also where the configuration says sleep: the contradiction is the reader's to see
        return Activity.RAMPING if _young(sample) and _below_nominal(sample) else Activity.HASHING
    if known.mode == "sleep":
        return Activity.ASLEEP
    if rate is None and not sample.empty:
        return None
    if known.mode is None:
        return Activity.ASLEEP if _looks_asleep(sample, chip) else _awake(sample, pools, chip)
    return _awake(sample, pools, chip)


def _awake(sample: Sample, pools: tuple[PoolReading, ...] | None, chip: Celsius | None) -> Activity:
    if chip is not None and chip >= HOT_CHIP:
        return Activity.IDLE
    if pools and all(pool.status in {PoolStatus.DEAD, PoolStatus.DISABLED} for pool in pools):
        return Activity.IDLE
    return Activity.RAMPING if sample.empty or _young(sample) else Activity.IDLE


def _looks_asleep(sample: Sample, chip: Celsius | None) -> bool:
    """Judge by the signs alone, where the web interface did not tell the work mode."""
    slow = sample.fans is not None and max(sample.fans) <= SLOW_FANS_RPM
    cool = chip is None or chip < COOL_CHIP
    settled = sample.uptime is not None and sample.uptime >= SETTLED_S
    return slow and cool and settled and sample.chips_working == 0


def _young(sample: Sample) -> bool:
    return sample.uptime is not None and sample.uptime < RAMP_S


def _below_nominal(sample: Sample) -> bool:
    nominal, rate = sample.hashrate_nominal, sample.hashrate
    return nominal is not None and rate is not None and rate < RAMPED_SHARE * nominal


def _power(
    sample: Sample, known: Known, activity: Activity | None, *, hashing: bool
) -> tuple[Watts | None, PowerSource | None]:
    if sample.power is not None:
        return sample.power, PowerSource.REPORTED
    if known.power is not None:
        return known.power, PowerSource.REPORTED
    if activity is Activity.ASLEEP:
        return (SLEEP_POWER, PowerSource.ESTIMATED) if known.mode == "sleep" or sample.asleep_by_mode else (None, None)
    if known.nameplate is not None and hashing and sample.hashrate is not None:
        return Watts(sample.hashrate / 1e12 * known.nameplate.efficiency), PowerSource.ESTIMATED
    return None, None


def _totals(pools: tuple[PoolReading, ...] | None) -> tuple[int | None, int | None, int | None]:
    """Shares over all pools; None where no pool tells."""
    if not pools:
        return None, None, None
    accepted = rejected = stale = None
    for pool in pools:
        if pool.accepted is not None:
            accepted = pool.accepted + (accepted or 0)
        if pool.rejected is not None:
            rejected = pool.rejected + (rejected or 0)
        if pool.stale is not None:
            stale = pool.stale + (stale or 0)
    return accepted, rejected, stale


def _plated(boards: list[BoardReading], known: Known) -> tuple[BoardReading, ...]:
    """Boards with what the web interface alone tells of them; only where the two agree how many there are."""
    if len(known.plates) != len(boards):
        return tuple(boards)
    return tuple(
        BoardReading(
            board.index,
            board.hashrate,
            board.hashrate_nominal if board.hashrate_nominal is not None else plate.hashrate_nominal,
            board.frequency,
            board.chips,
            board.chips_working,
            board.pcb_temperature,
            board.chip_temperature,
            board.hardware_errors,
            board.serial or plate.serial,
        )
        for board, plate in zip(boards, known.plates, strict=True)
    )


def _faults(
    sample: Sample, known: Known, activity: Activity | None, chip: Celsius | None, *, hashing: bool
) -> tuple[Fault, ...]:
    if activity is Activity.ASLEEP:
        return tuple(fault for fault in known.faults if fault.code is not FaultCode.HASHRATE) if known.faults else ()
    if not known.faults and not sample.chips_lost and hashing and _complete(sample, known):
        return ()
    found = list(known.faults)
    if not hashing and chip is not None and chip >= HOT_CHIP and sample.chips_working == 0:
        found.append(Fault(FaultCode.OVERHEAT, f"not hashing with {chip:.0f} °C on the hottest chip"))
    elif hashing:
        _working_faults(sample, found)
    if known.nameplate is not None and 0 < len(sample.boards) < known.nameplate.boards:
        found.append(Fault(FaultCode.BOARD, f"{len(sample.boards)} of {known.nameplate.boards} boards found"))
    if sample.fans is not None:
        _fan_faults(sample.fans, sample.fans_expected, found)
    return tuple(found)


def _complete(sample: Sample, known: Known) -> bool:
    """True if nothing is missing and nothing implausible: the usual case, seen at a glance."""
    fans = sample.fans
    if fans is not None and (0.0 in fans or len(fans) < (sample.fans_expected or 0)):
        return False
    if known.nameplate is not None and len(sample.boards) < known.nameplate.boards:
        return False
    nominal = sample.hashrate_nominal
    return nominal is None or (sample.hashrate or 0.0) <= IMPLAUSIBLE_SHARE * nominal


def _working_faults(sample: Sample, found: list[Fault]) -> None:
    """What can be wrong with a rig that hashes."""
    for board in sample.boards:
        chips, working = board.chips, board.chips_working
        if chips is not None and working is not None and working < chips:
            found.append(Fault(FaultCode.CHIP, f"{chips - working} of {chips} chips do not hash", board.index))
    nominal = sample.hashrate_nominal
    if nominal and sample.hashrate and sample.hashrate > IMPLAUSIBLE_SHARE * nominal:
        found.append(Fault(FaultCode.HASHRATE, "told hashrate is not plausible: more than 1.5 times the nominal one"))


def _fan_faults(fans: tuple[float, ...], expected: int | None, found: list[Fault]) -> None:
    stopped = fans.count(0.0)
    missing = max(0, expected - len(fans)) if expected is not None else 0
    if stopped + missing and stopped < len(fans):
        found.append(Fault(FaultCode.FAN, f"{stopped + missing} of {len(fans) + missing} fans stand still"))
