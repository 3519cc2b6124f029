"""One write of the configuration, done safely: read, compare, write, read back, put back what else changed.

Change --> read (skip if equal) --> write --> read until it is there --> evidence | Refused | NoAnswer
"""

import asyncio
from dataclasses import dataclass

from drivers._antminer_cgi import Cgi
from drivers._antminer_conf import (
    LEVEL,
    MODE,
    Change,
    Conf,
    applied,
    disturbed,
    generation,
    level,
    mode,
    mode_names,
    pools_evidence,
)
from drivers._antminer_sample import Generation
from shedload.errors import NoAnswer, Refused, RigError, Unauthorized, Unsupported

LOOK_EVERY_S = 1.0
SETTLED_S = 8.0
"""The configuration can be read about 5 s after a write; what it says after this long counts as final."""
READ_BACK_S = 30.0
"""A configuration that cannot be read for this long after a write leaves the outcome unknown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write found and left; `text_modes` says that this firmware wants its modes as text."""

    before: Conf
    after: Conf
    changed: bool
    text_modes: bool = False

    def evidence(self, change: Change) -> dict[str, str]:
        """Before and after in short text, without secrets."""
        told: dict[str, str] = {}
        if change.mode is not None:
            told |= {"mode before": mode(self.before) or "unknown", "mode after": mode(self.after) or "unknown"}
        if change.level is not None:
            told |= {"level before": str(level(self.before)), "level after": str(level(self.after))}
        return told | {"pools": pools_evidence(self.before, self.after)}


async def write_change(cgi: Cgi, change: Change, *, text_modes: bool = False) -> Outcome:
    """Carry out `change` and nothing else. Raises Refused naming what is not so, NoAnswer where nobody can tell."""
    before = await _readable(cgi)
    _check(before, change)
    if applied(before, change):
        return Outcome(before, before, changed=False, text_modes=text_modes)
    after, answered = await _written(cgi, before, change, text_modes=text_modes)
    if answered and not applied(after, change) and _may_want_text(before, change, text_modes=text_modes):
        text_modes = True
        after, answered = await _written(cgi, before, change, text_modes=True)
    lost = disturbed(before, after, change)
    if lost:
        await _put_back(cgi, before, lost, text_modes=text_modes)
    if not applied(after, change):
        if not answered:
            raise NoAnswer(f"the write got no answer and may never have arrived: {_shortfall(after, change)}")
        raise Refused(f"the rig took the write and did nothing: {_shortfall(after, change)}")
    return Outcome(before, after, changed=True, text_modes=text_modes)


def _check(conf: Conf, change: Change) -> None:
    """Refuse what this firmware cannot do, before anything is sent."""
    kind = generation(conf)
    names = mode_names(kind).values()
    if change.mode is not None and change.mode not in names:
        offered = ", ".join(names) or "none"
        raise Unsupported(f"stock firmware of this generation ({kind.value}) has no mode {change.mode!r}: {offered}")
    if change.level is not None and (kind is not Generation.NEW or LEVEL not in conf):
        raise Unsupported("this firmware has no frequency levels")


def _may_want_text(before: Conf, change: Change, *, text_modes: bool) -> bool:
    """Some firmware passes over a mode that is not text; it gives its modes as text as well."""
    return change.mode is not None and not text_modes and isinstance(before.get(MODE), str)


async def _readable(cgi: Cgi) -> Conf:
    """The configuration before the write; it cannot be read for some seconds after another one."""
    try:
        async with asyncio.timeout(READ_BACK_S):
            while True:
                try:
                    return await cgi.configuration()
                except RigError as error:
                    if not error.retryable:
                        raise
                    last = error
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise last from None


async def _written(cgi: Cgi, before: Conf, change: Change, *, text_modes: bool) -> tuple[Conf, bool]:
    """Write, then read until it is as asked or has had its time to become so; True where the write was answered."""
    answered = await cgi.write(before, change, text_modes=text_modes)
    loop = asyncio.get_running_loop()
    sent = loop.time()
    while loop.time() - sent < READ_BACK_S:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            after = await cgi.configuration()
        except Unauthorized:
            raise
        except RigError:
            continue
        done = applied(after, change) and not disturbed(before, after, change)
        if done or loop.time() - sent >= SETTLED_S:
            return after, answered
    raise NoAnswer(f"the configuration could not be read back within {READ_BACK_S:g} s; the outcome is unknown")


async def _put_back(cgi: Cgi, before: Conf, lost: list[str], *, text_modes: bool) -> None:
    """Write the configuration of before and say what had become of it."""
    names = ", ".join(lost)
    nothing = Change()
    try:
        after, _ = await _written(cgi, before, nothing, text_modes=text_modes)
    except RigError as error:
        raise Refused(f"the write also changed {names}, and putting it back failed: {error.detail}") from None
    left = disturbed(before, after, nothing)
    if left:
        raise Refused(f"the write also changed {names}; still changed after putting back: {', '.join(left)}")
    raise Refused(f"the write also changed {names}; everything was put back")


def _shortfall(after: Conf, change: Change) -> str:
    if change.mode is not None and mode(after) != change.mode:
        return f"mode is {mode(after)} instead of {change.mode}"
    if change.level is not None and level(after) != change.level:
        return f"level is {level(after)} instead of {change.level}"
    return "the pools are not the ones given"
