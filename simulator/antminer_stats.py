"""The long rows of stock Antminer replies: STATS[1], pools, and the share counters behind them."""

from dataclasses import dataclass
from typing import Any

from simulator.antminer import Antminer
from simulator.models import Generation
from simulator.rig import REJECTED_SHARE, Reading, RigState

STALE_SHARE = 0.0001
WORK_PER_SECOND = 90.0
GETWORK_INTERVAL = 12.0
FAN_SLOTS_OLD = 8
CHAIN_SLOTS_OLD = 16
CHAIN_SLOTS = 4


@dataclass(frozen=True, slots=True)
class Shares:
    """Counters since the miner started."""

    accepted: int
    rejected: int
    stale: int
    getworks: int
    discarded: int
    best: int


def shares_of(rig: Antminer, told: Reading) -> Shares:
    """The share counters that belong to the work truly done."""
    found = told.shares / rig.share_difficulty
    rejected, stale = int(found * REJECTED_SHARE), int(found * STALE_SHARE)
    accepted = max(0, int(found) - rejected - stale)
    best = int(told.shares * (1 + rig.rig.uniform(9, 0))) if accepted else 0
    awake = 0 if told.state is RigState.ASLEEP else int(told.elapsed)
    return Shares(
        accepted, rejected, stale, int(awake / GETWORK_INTERVAL) + 1, int(awake * WORK_PER_SECOND), best
    )  # fmt: skip


def pool_rows(rig: Antminer, now: float) -> list[dict[str, Any]]:
    """POOLS as the socket gives them; the first pool that is set is the active one."""
    told = rig.told(now)
    active = next((i for i, pool in enumerate(rig.configuration.pools) if pool.url), None)
    return [_pool_row(rig, told, index, active=index == active) for index in range(len(rig.configuration.pools))]


def board_rates(rig: Antminer, told: Reading, now: float) -> list[float]:
    """GH/s of each board; they add up to the rig's rate."""
    weights = [1 + rig.rig.noise(40 + board, now) * 2 for board in range(rig.rig.model.boards)]
    return [told.hashrate / 1e9 * weight / sum(weights) for weight in weights]


def chip_temperatures(told: Reading, board: int) -> list[int]:
    """Four sensors of a board, the hottest first board's last; asleep they lie close together."""
    spread = max(0.0, told.chip_temperature - told.inlet)
    hot = told.chip_temperature - board * 0.02 * spread
    return [round(hot - share * spread) for share in (0.30, 0.28, 0.02, 0.0)]


def pcb_temperatures(told: Reading, board: int) -> list[int]:
    """Sensors of the circuit board: cooler than the chips."""
    return [
        chip - round(0.11 * max(0.0, told.chip_temperature - told.inlet)) for chip in chip_temperatures(told, board)
    ]


def pic_temperatures(told: Reading, board: int) -> list[int]:
    """Sensors beside the controller of the board."""
    return [
        chip - round(0.32 * max(0.0, told.chip_temperature - told.inlet)) for chip in chip_temperatures(told, board)
    ]


def board_errors(rig: Antminer, told: Reading) -> list[int]:
    """Hardware errors of each board."""
    count = rig.rig.model.boards
    return [(told.hardware_errors + board) // count for board in range(count)]


def stats_row(rig: Antminer, now: float) -> dict[str, Any]:
    """STATS[1] of this generation."""
    told = rig.told(now)
    if rig.firmware.generation is Generation.NEW:
        return _head(rig, told, now) | _fans(rig, told) | _new_boards(rig, told, now) | _tail(rig, told)
    if rig.firmware.generation is Generation.X17:
        return _x17_row(rig, told, now)
    return _old_row(rig, told, now)


def _pool_row(rig: Antminer, told: Reading, index: int, *, active: bool) -> dict[str, Any]:
    pool = rig.configuration.pools[index]
    shares = shares_of(rig, told) if active else Shares(0, 0, 0, 3 if pool.url else 0, 0, 0)
    difficulty = rig.share_difficulty
    hashes = active and told.state in {RigState.HASHING, RigState.RAMPING}
    ago = int(told.elapsed) % 20
    return {
        "POOL": index,
        "URL": pool.url,
        "Status": "Alive" if pool.url else "Deed",
        "Priority": index,
        "Quota": 1,
        "Long Poll": "N",
        "Getworks": shares.getworks,
        "Accepted": shares.accepted,
        "Rejected": shares.rejected,
        "Discarded": shares.discarded,
        "Stale": shares.stale,
        "Get Failures": 0,
        "Remote Failures": 0,
        "User": pool.user,
        "Last Share Time": f"0:00:{ago:02d}" if shares.accepted else "0",
        "Diff": f"{int(difficulty // 1000)}K" if active else "",
        "Diff1 Shares": 0,
        "Proxy Type": "",
        "Proxy": "",
        "Difficulty Accepted": shares.accepted * difficulty,
        "Difficulty Rejected": shares.rejected * difficulty,
        "Difficulty Stale": shares.stale * difficulty,
        "Last Share Difficulty": difficulty if shares.accepted else 0.0,
        "Has Stratum": bool(pool.url),
        "Stratum Active": hashes,
        "Stratum URL": pool.url.split("//")[-1].split(":")[0] if active else "",
        "Has GBT": False,
        "Best Share": float(shares.best),
        "Pool Rejected%": 0.0,
        "Pool Stale%%": 0.0,
    }


def _head(rig: Antminer, told: Reading, now: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "STATS": 0,
        "ID": "BTM_SOC0",
        "Elapsed": int(told.elapsed),
        "Calls": 0,
        "Wait": 0,
        "Max": 0,
        "Min": 99999999,
        "GHS 5s": round(told.hashrate / 1e9, 2),
        "GHS av": round(told.hashrate_average / 1e9, 2),
        "rate_30m": round(told.hashrate_average / 1e9 * 1.0004, 2),
        "Mode": 2,
        "miner_count": rig.rig.model.boards,
        "frequency": round(told.frequency / 1e6),
    }
    if rig.firmware.chain_power:
        row["chain_power"] = f"{rig.told_power(now):.0f} W"
    return row


def _fans(rig: Antminer, told: Reading) -> dict[str, Any]:
    first = rig.firmware.first_fan
    return {"fan_num": len(told.fans)} | {f"fan{first + i}": int(speed) for i, speed in enumerate(told.fans)}


def _new_boards(rig: Antminer, told: Reading, now: float) -> dict[str, Any]:
    boards = rig.rig.model.boards
    row: dict[str, Any] = {"temp_num": boards}
    rates, errors = board_rates(rig, told, now), board_errors(rig, told)
    for slot in range(1, boards + 1):
        pcb, chip = pcb_temperatures(told, slot - 1), chip_temperatures(told, slot - 1)
        row |= {f"temp{slot}": max(pcb), f"temp2_{slot}": max(chip)}
    for slot in range(1, CHAIN_SLOTS + 1):
        board = slot - 1 if slot <= boards else None
        row |= _chain(rig, told, slot, board, rates, errors)
    return row


def _chain(
    rig: Antminer, told: Reading, slot: int, board: int | None, rates: list[float], errors: list[int]
) -> dict[str, Any]:
    if board is None:
        blank: dict[str, Any] = {f"temp_{kind}{slot}": "0-0-0-0" for kind in ("pcb", "chip", "pic")}
        numbers = {f"chain_acn{slot}": 0, f"chain_hw{slot}": 0, f"freq{slot}": 0}
        return blank | numbers | {f"chain_acs{slot}": "", f"chain_rate{slot}": ""}
    return {
        f"chain_acn{slot}": rig.rig.model.chips_per_board,
        f"chain_acs{slot}": chip_map(rig.rig.model.chips_per_board, working=_chips_work(told)),
        f"chain_hw{slot}": errors[board],
        f"chain_rate{slot}": f"{rates[board]:.2f}",
        f"freq{slot}": round(told.frequency / 1e6),
        f"temp_pcb{slot}": _dashed(pcb_temperatures(told, board)),
        f"temp_chip{slot}": _dashed(chip_temperatures(told, board)),
        f"temp_pic{slot}": _dashed(pic_temperatures(told, board)),
    }


def _tail(rig: Antminer, told: Reading) -> dict[str, Any]:
    model = rig.rig.model
    return {
        "total_rateideal": round(told.hashrate_ideal / 1e9, 1),
        "rate_unit": "GH",
        "total_freqavg": round(told.frequency / 1e6),
        "total_acn": model.boards * model.chips_per_board,
        "total rate": round(told.hashrate_average / 1e9, 2),
        "temp_max": 0,
        "no_matching_work": told.hardware_errors,
        "miner_version": "49.0.1.3",
        "miner_id": f"{int(rig.rig.uniform(8, 0) * 2**63):016x}",
    }


def _old_row(rig: Antminer, told: Reading, now: float) -> dict[str, Any]:
    """S9 class: sixteen chain slots of which 6, 7 and 8 are used, GHS 5s as text."""
    row = _head(rig, told, now)
    del row["rate_30m"], row["Mode"]
    row |= {"ID": "BC50", "GHS 5s": f"{told.hashrate / 1e9:.2f}", "fan_num": len(told.fans)}
    first = rig.firmware.first_fan
    spots = dict(zip((first, first + 3, first + 1, first + 2), told.fans, strict=False))
    row |= {f"fan{slot}": int(spots.get(slot, 0)) for slot in range(1, FAN_SLOTS_OLD + 1)}
    return row | _numbered_boards(rig, told, now) | _old_tail(rig, told)


def _x17_row(rig: Antminer, told: Reading, now: float) -> dict[str, Any]:
    """S17 class: asleep it says Mode 254 and zero to everything else."""
    row = _head(rig, told, now) | {"ID": "BTM_SOC0", "Mode": rig.mode_number()}
    row |= _fans(rig, told) | _numbered_boards(rig, told, now) | _old_tail(rig, told)
    if told.state is not RigState.ASLEEP:
        return row
    kept = {"Mode", "ID", "STATS", "Min", "Elapsed", "miner_version", "miner_id"}
    return {key: value if key in kept else _nothing(value) for key, value in row.items()}


def _numbered_boards(rig: Antminer, told: Reading, now: float) -> dict[str, Any]:
    first, boards = rig.firmware.first_chain, rig.rig.model.boards
    rates, errors = board_rates(rig, told, now), board_errors(rig, told)
    row: dict[str, Any] = {"temp_num": boards}
    for slot in range(1, CHAIN_SLOTS_OLD + 1):
        board = slot - first if first <= slot < first + boards else None
        used = board is not None
        row |= {
            f"temp{slot}": max(pcb_temperatures(told, board)) if board is not None else 0,
            f"temp2_{slot}": max(chip_temperatures(told, board)) if board is not None else 0,
            f"freq_avg{slot}": round(told.frequency / 1e6, 2) if used else 0.0,
            f"chain_rateideal{slot}": round(told.hashrate_ideal / 1e9 / boards, 2) if used else 0.0,
            f"chain_acn{slot}": rig.rig.model.chips_per_board if used else 0,
            f"chain_acs{slot}": chip_map(rig.rig.model.chips_per_board, working=_chips_work(told)) if used else "",
            f"chain_hw{slot}": errors[board] if board is not None else 0,
            f"chain_rate{slot}": f"{rates[board]:.2f}" if board is not None else "",
        }
    return row


def _old_tail(rig: Antminer, told: Reading) -> dict[str, Any]:
    tail = _tail(rig, told) | {"miner_version": rig.firmware.miner}
    del tail["rate_unit"]
    return tail


def _nothing(value: Any) -> Any:
    return "" if isinstance(value, str) else type(value)(0)


def chip_map(chips: int, *, working: bool) -> str:
    """One letter a chip in groups: o hashes, x does not."""
    group = next((size for size in (3, 2, 5) if chips % size == 0), chips)
    return f" {('o' if working else 'x') * group}" * (chips // group)


def _chips_work(told: Reading) -> bool:
    return told.state in {RigState.HASHING, RigState.RAMPING}


def _dashed(values: list[int]) -> str:
    return "-".join(str(value) for value in values)
