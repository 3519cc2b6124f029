"""The socket's `stats` reply of stock firmware to a Sample. Names are made beforehand: this is the hot path.

STATS[0] is the version block, STATS[1] the data. Boards are those with chips, wherever their numbers start.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from drivers._antminer_sample import HOTTEST, Sample, hottest, rate_scale
from drivers._fields import LONGEST_TEXT, text, whole
from drivers._twin import twin
from shedload.cgminer.values import number
from shedload.device import BoardReading
from shedload.errors import Garbled
from shedload.units import Celsius, HashesPerSecond, Hertz, RevolutionsPerMinute, Seconds, Watts

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

    usual: Callable[[Mapping[str, Any]], tuple[Any, ...]]
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


def _keys(n: int) -> _Keys:
    parts = ("chain_acn", "chain_rate", "chain_acs", "freq", "chain_hw", "temp_pcb", "temp_chip")
    names = [f"{part}{n}" for part in parts]
    return _Keys(itemgetter(*names), n, *names, f"temp{n}", f"temp2_{n}", f"freq_avg{n}")  # type: ignore[call-arg]


BoardTwin = twin(BoardReading)
_BOARDS = tuple(_keys(n) for n in range(1, HIGHEST_BOARD + 1))
_USUAL_BOARDS = tuple((keys.number, keys.chips, keys.usual) for keys in _BOARDS[:MOST_BOARDS])
_FANS = tuple(f"fan{n}" for n in range(1, MOST_FANS + 1))
_NO_SENSOR = Celsius(0.0)
_USUAL_HEAD = itemgetter("GHS 5s", "GHS av", "total_rateideal", "Elapsed", "fan_num", "rate_unit", "Mode")
_USUAL_FANS = {count: itemgetter(*_FANS[:count]) for count in (2, 4)}
_ALL_WORK = {chips: "".join(" " + "o" * min(3, chips - n) for n in range(0, chips, 3)) for chips in range(1, 512)}
"""The usual picture of a healthy board, chips in groups of three: one comparison instead of a count."""
_USUAL_DEGREES = {str(degrees): Celsius(float(degrees)) for degrees in range(1, HOTTEST)}


def sample_stats(reply: Any, repairs: tuple[str, ...] = ()) -> Sample:
    """Read a whole `stats` reply. Raises Garbled where there is nothing of that shape in it."""
    try:
        head, data = reply["STATS"]
        sample = _usual(head, data)
    except (KeyError, TypeError, ValueError, AttributeError):
        sample = _odd_reply(reply)
    if repairs:
        sample.repairs = repairs
    return sample


def has_boards(reply: Any) -> bool:
    """True if the reply tells of boards one by one."""
    rows = reply.get("STATS") if isinstance(reply, dict) else None
    if not isinstance(rows, list) or not rows or not isinstance(rows[-1], dict):
        return False
    return "chain" in rows[-1] or any(name.startswith("chain_acn") for name in rows[-1])


def _usual(head: Mapping[str, Any], data: Mapping[str, Any]) -> Sample:
    """A reply in the form of the S19 and later, hashing and healthy; raises whatever comes where it has another form.

    Straight through and without a call, since nearly all replies of a farm come this way: half the time of `_odd`.
    """
    now, average, ideal, elapsed, count, unit, work_mode = _USUAL_HEAD(data)
    fans = _USUAL_FANS[count](data)
    if unit != "GH" or work_mode == X17_ASLEEP or 0 in fans or type(elapsed) is not int or not 0.0 <= now < 1e9:
        raise ValueError
    get, degrees = data.get, _USUAL_DEGREES.__getitem__
    boards: list[BoardReading] = []
    hottest_chip = hottest_pcb = _NO_SENSOR
    works = lost = mistakes = 0
    for index, chips_name, members in _USUAL_BOARDS:
        if not get(chips_name):
            continue
        chips, rate, state, clock, errors, pcb, chip = members(data)
        hashrate = float(rate) * 1e9
        if not state or not 0.0 <= hashrate < IMPOSSIBLE_RATE:
            raise ValueError
        working = chips if state == _ALL_WORK.get(chips) else state.count("o")
        works += working
        lost += chips - working
        mistakes += errors
        # Four sensors of two digits each, as nearly always, compare as text; anything else is looked up one by one.
        pcbs, tops = pcb.split("-"), chip.split("-")
        plain = len(pcbs) == 4 and len(pcb) == 11 and pcb[2::3] == "---"
        pcb_top = degrees(max(pcbs)) if plain else max(map(degrees, pcbs))
        plain = len(tops) == 4 and len(chip) == 11 and chip[2::3] == "---"
        chip_top = degrees(max(tops)) if plain else max(map(degrees, tops))
        if pcb_top > hottest_pcb:
            hottest_pcb = pcb_top
        if chip_top > hottest_chip:
            hottest_chip = chip_top
        board = BoardTwin(index, hashrate, None, clock * 1e6, chips, working, pcb_top, chip_top, errors)
        board.__class__ = BoardReading
        boards.append(board)
    if not boards or type(lost) is not int or type(mistakes) is not int:
        raise ValueError
    model, firmware = head["Type"], head["CompileTime"]
    if type(model) is not str or type(firmware) is not str or len(model) + len(firmware) > LONGEST_TEXT:
        raise ValueError
    if not (model.isprintable() and firmware.isprintable()):
        raise ValueError
    return Sample(
        model,
        firmware,
        now * 1e9,
        average * 1e9,
        ideal * 1e9 or None,
        _power(data),
        elapsed + 0.0,  # type: ignore[arg-type]  # seconds
        tuple(map(float, fans)),  # type: ignore[arg-type]  # rpm
        count,
        boards,
        hottest_chip,
        hottest_pcb,
        works,
        lost,
        mistakes,
    )


def _odd_reply(reply: Any) -> Sample:
    rows = reply.get("STATS") if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        raise Garbled("a stats reply without STATS")
    if not rows:
        return Sample(empty=True)
    if not isinstance(rows[-1], dict):
        raise Garbled("STATS holds no members")
    return _odd(rows[0] if isinstance(rows[0], dict) else rows[-1], rows[-1])


def _odd(head: Mapping[str, Any], data: Mapping[str, Any]) -> Sample:
    """A reply of any other form: members missing, empty or as text, colder than zero, chains that start at 6."""
    get = data.get
    scale = rate_scale(get("rate_unit"))
    elapsed = number(get("Elapsed"))
    expected = whole(get("fan_num"))
    sample = Sample(
        text(head.get("Type")),
        text(head.get("CompileTime")),
        _rate(get("GHS 5s"), scale),
        _rate(get("GHS av"), scale),
        _rate(get("total_rateideal"), scale) or None,
        _power(data),
        None if elapsed is None else Seconds(elapsed),
        _fans(data, expected),
        expected,
        asleep_by_mode=get("Mode") == X17_ASLEEP,
        empty="Elapsed" not in data,
    )
    first = next((place for place, keys in enumerate(_BOARDS) if get(keys.chips)), HIGHEST_BOARD)
    for keys in _BOARDS[first : first + MOST_BOARDS]:
        if get(keys.chips):
            sample.add(_odd_board(keys, get, scale))
    return sample


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
