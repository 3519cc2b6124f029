"""The socket's `stats` reply of stock firmware to a Sample. One pass, names made beforehand: this is the hot path.

STATS[0] is the version block, STATS[1] the data. Boards are those with chips, wherever their numbers start.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from drivers._antminer_sample import HOTTEST, Sample, hottest, rate_scale
from drivers._fields import whole
from drivers._twin import twin
from shedload.cgminer.values import number
from shedload.device import BoardReading
from shedload.errors import Garbled
from shedload.units import HashesPerSecond, Hertz, RevolutionsPerMinute, Watts

X17_ASLEEP = 254
"""`Mode` of a sleeping S17 or T17. On S19 `Mode` says nothing about sleep."""
HIGHEST_BOARD = 14
MOST_BOARDS = 4
"""Chains are numbered from 1, 6 or 11 and there are at most four of them."""
MOST_FANS = 8
IMPOSSIBLE_RATE = 1e18
"""H/s. No board comes near an exahash; beyond it, and for nan, the tolerant reader has the say."""


BoardTwin = twin(BoardReading)


class _Keys(NamedTuple):
    """The member names of one board, and a getter that takes the usual ones at once."""

    number: int
    chips: str
    rate: str
    state: str
    frequency: str
    errors: str
    pcb: str
    chip: str
    pcb_single: str
    chip_single: str
    frequency_average: str
    usual: Callable[[Mapping[str, Any]], tuple[Any, ...]]


def _keys(n: int) -> _Keys:
    names = [
        f"{name}{n}" for name in ("chain_acn", "chain_rate", "chain_acs", "freq", "chain_hw", "temp_pcb", "temp_chip")
    ]
    return _Keys(n, *names, f"temp{n}", f"temp2_{n}", f"freq_avg{n}", itemgetter(*names))  # type: ignore[call-arg, arg-type]


_BOARDS = tuple(_keys(n) for n in range(1, HIGHEST_BOARD + 1))
_NOTHING = (None,) * MOST_BOARDS
_WHOLE = {int}
_FANS = tuple(f"fan{n}" for n in range(1, MOST_FANS + 1))


def sample_stats(reply: Any, repairs: tuple[str, ...] = ()) -> Sample:
    """Read a whole `stats` reply. Raises Garbled where there is nothing of that shape in it."""
    rows = reply.get("STATS") if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        raise Garbled("a stats reply without STATS")
    if not rows:
        return Sample(empty=True, repairs=repairs)
    data = rows[-1]
    if not isinstance(data, dict):
        raise Garbled("STATS holds no members")
    return _sample(rows[0] if isinstance(rows[0], dict) else data, data, repairs)


def has_boards(reply: Any) -> bool:
    """True if the reply tells of boards one by one."""
    rows = reply.get("STATS") if isinstance(reply, dict) else None
    if not isinstance(rows, list) or not rows or not isinstance(rows[-1], dict):
        return False
    return "chain" in rows[-1] or any(name.startswith("chain_acn") for name in rows[-1])


def _sample(head: Mapping[str, Any], data: Mapping[str, Any], repairs: tuple[str, ...]) -> Sample:
    get = data.get
    scale = rate_scale(get("rate_unit"))
    expected = get("fan_num")
    if type(expected) is not int:
        expected = whole(expected)
    sample = Sample(
        head.get("Type"),
        head.get("CompileTime"),
        _rate(get("GHS 5s"), scale),
        _rate(get("GHS av"), scale),
        _rate(get("total_rateideal"), scale) or None,
        _power(data),
        number(get("Elapsed")),  # type: ignore[arg-type]  # seconds
        _fans(data, expected),
        expected,
    )
    sample.asleep_by_mode = get("Mode") == X17_ASLEEP
    sample.empty = "Elapsed" not in data
    sample.repairs = repairs
    _read_boards(data, scale, sample)
    return sample


def _read_boards(data: Mapping[str, Any], scale: float, sample: Sample) -> None:
    """Fill in the boards and what is summed up over them."""
    get = data.get
    first = 0
    while first < HIGHEST_BOARD and not get(_BOARDS[first].chips):
        first += 1
    present = [keys for keys in _BOARDS[first : first + MOST_BOARDS] if get(keys[1])]
    if not present:
        return
    try:
        _usual_boards(present, data, scale, sample)
    except (KeyError, TypeError, ValueError, AttributeError):
        for keys in present:
            sample.add(_odd_board(keys, get, scale))


def _usual_boards(present: list[_Keys], data: Mapping[str, Any], scale: float, sample: Sample) -> None:
    """Boards in the form that nearly all replies have; raises whatever comes where one has another form.

    Column by column instead of board by board. All dash lists become one JSON text, "[[73.0,45.0],[78.0,50.0]]": one
    strict parse is faster than splitting each of them, and refuses signs, fractions and blanks by itself.
    """
    chips, rates, states, clocks, errors, pcbs, cores = zip(*[keys[11](data) for keys in present], strict=True)
    tops = [*map(max, orjson.loads(f"[[{'.0],['.join(pcbs + cores).replace('-', '.0,')}.0]]"))]
    hashrates = [float(rate) * scale for rate in rates]
    working = [state.count("o") for state in states]
    pcb, core = tops[: len(present)], tops[len(present) :]
    if (
        len(pcb) != len(core)
        or not (min(tops) > 0.0 and max(tops) < HOTTEST and 0.0 <= sum(hashrates) < IMPOSSIBLE_RATE)
        or {*map(type, chips + errors)} != _WHOLE
        or "" in states
    ):
        raise ValueError
    boards = [
        *map(
            BoardTwin,
            [keys[0] for keys in present],
            hashrates,
            _NOTHING,
            [mhz * 1e6 for mhz in clocks],
            chips,
            working,
            pcb,
            core,
            errors,
        )
    ]
    for board in boards:
        board.__class__ = BoardReading
    sample.boards = boards
    sample.board_temperature, sample.chip_temperature = max(pcb), max(core)
    sample.chips_working = total = sum(working)
    sample.chips_lost = sum(chips) - total
    sample.hardware_errors = sum(errors)


def _odd_board(keys: _Keys, get: Callable[[str], Any], scale: float) -> BoardReading:
    """A board whose members are missing, empty, text instead of numbers, or colder than zero."""
    state, megahertz = get(keys.state), number(get(keys.frequency))
    if megahertz is None:
        megahertz = number(get(keys.frequency_average))  # the older generations
    return BoardReading(
        keys.number,
        _rate(get(keys.rate), scale),
        None,
        None if megahertz is None else Hertz(megahertz * 1e6),
        whole(get(keys.chips)),
        state.count("o") if isinstance(state, str) and state else None,
        hottest(get(keys.pcb) or get(keys.pcb_single)),
        hottest(get(keys.chip) or get(keys.chip_single)),
        whole(get(keys.errors)),
    )


def _fans(data: Mapping[str, Any], expected: int | None) -> tuple[RevolutionsPerMinute, ...] | None:
    """Speeds of the fans that exist: firmware lists more slots than fans, empty ones as zero."""
    if expected == 0:
        return None  # a sleeping x17 sees no fans, a water-cooled rig has none: neither is a stopped fan
    told = [speed for speed in map(data.get, _FANS) if speed is not None]
    if len(told) == expected:
        try:
            return tuple([RevolutionsPerMinute(float(speed)) for speed in told])
        except (TypeError, ValueError):
            pass
    speeds = [speed for item in told if (speed := number(item)) is not None]
    spare = len(speeds) - (expected or len(speeds))
    kept: list[RevolutionsPerMinute] = []
    for speed in speeds:
        if not speed and spare > 0:
            spare -= 1
        else:
            kept.append(RevolutionsPerMinute(speed))
    return tuple(kept) or None


def _power(data: Mapping[str, Any]) -> Watts | None:
    """Some builds tell the draw, as a number or as "3250 W"; zero is what they say when they do not know."""
    for name in ("chain_power", "power", "Power"):
        if (told := data.get(name)) is not None:
            value = number(told)
            return Watts(value) if value else None
    return None


def _rate(told: Any, scale: float) -> HashesPerSecond | None:
    value = number(told)
    return None if value is None else HashesPerSecond(value * scale)
