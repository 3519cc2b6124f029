"""A pool list realised with the pool verbs of CGMiner: add, prefer, verify, only then remove; undone on failure.

The API never tells a pool's password, so an old pool cannot be added again once it is removed: removal comes last.
A pool that is there already with the same URL and user is kept, with the password it has.
"""

import asyncio
from collections.abc import Awaitable, Callable

from shedload.cgminer.codec import Parameter
from shedload.cgminer.parse import Reply
from shedload.device import PoolReading, PoolTarget
from shedload.errors import NoAnswer, Refused, RigError

ACTIVE_POOL = 67
"""E 67: cannot remove the active pool."""
REMOVE_TRIES = 6
REMOVE_EVERY_S = 0.5
"""A switch of pools takes effect with the next work, within about a second."""

Send = Callable[[str, Parameter | None], Awaitable[Reply]]
Look = Callable[[], Awaitable[tuple[PoolReading, ...]]]


async def realise(targets: tuple[PoolTarget, ...], send: Send, look: Look) -> bool:
    """Make the miner's pools the targets, in their order; False where they were. Raises RigError after undoing."""
    before = await look()
    if _keys(before) == [_key(target) for target in targets]:
        return False
    added: list[tuple[str, str]] = []
    try:
        await _add(targets, before, send, added)
        present = await look()
        order = _numbers(targets, present)
        await send("enablepool", str(order[0]))
        await send("switchpool", str(order[0]))
        if len(order) > 1:
            await send("poolpriority", [str(number) for number in order])
    except RigError as error:
        await _undo(before, added, send, look, error)
        raise
    await _remove_others(targets, present, send)
    after = _keys(await look())
    if after != [_key(target) for target in targets]:
        raise Refused(f"{len(after)} pools are configured after the change instead of the {len(targets)} given")
    return True


async def _add(
    targets: tuple[PoolTarget, ...], before: tuple[PoolReading, ...], send: Send, added: list[tuple[str, str]]
) -> None:
    present = {(pool.url, pool.user) for pool in before}
    for target in targets:
        if _key(target) not in present:
            added.append(_key(target))  # noted first: an answer that is lost may still have been obeyed
            await send("addpool", [target.url, target.user, target.password])


async def _remove_others(targets: tuple[PoolTarget, ...], present: tuple[PoolReading, ...], send: Send) -> None:
    """Numbers do not move when others are removed, but from the highest down is safe either way."""
    wanted = {_key(target) for target in targets}
    for pool in sorted(present, key=lambda pool: pool.index, reverse=True):
        if (pool.url, pool.user) not in wanted:
            await _remove(pool.index, send)


async def _remove(index: int, send: Send) -> None:
    """Remove a pool; the one that was active just before is let go of within moments."""
    for _ in range(REMOVE_TRIES):
        try:
            await send("removepool", str(index))
        except Refused as error:
            if error.code != ACTIVE_POOL:
                raise
            await asyncio.sleep(REMOVE_EVERY_S)
        else:
            return
    raise Refused(f"pool {index} is still active and could not be removed; the new pools are in use before it")


async def _undo(
    before: tuple[PoolReading, ...], added: list[tuple[str, str]], send: Send, look: Look, error: RigError
) -> None:
    """Back to the pool that was first, then take away what was added."""
    try:
        present = await look()
        first = min(before, key=_place, default=None)
        if first is not None:
            await send("switchpool", str(first.index))
        known = {pool.index for pool in before}
        for pool in sorted(present, key=lambda pool: pool.index, reverse=True):
            if pool.index not in known and (pool.url, pool.user) in added:
                await send("removepool", str(pool.index))
    except RigError as second:
        raise NoAnswer(f"{error.detail}; undoing it failed as well: {second.detail}") from None


def _numbers(targets: tuple[PoolTarget, ...], present: tuple[PoolReading, ...]) -> list[int]:
    numbers = {(pool.url, pool.user): pool.index for pool in present}
    missing = [place for place, target in enumerate(targets) if _key(target) not in numbers]
    if missing:
        raise Refused(f"pool {missing[0]} was taken and is not in the list")
    return [numbers[_key(target)] for target in targets]


def _keys(pools: tuple[PoolReading, ...]) -> list[tuple[str, str]]:
    return [(pool.url, pool.user) for pool in sorted(pools, key=_place)]


def _place(pool: PoolReading) -> int:
    return pool.index if pool.priority is None else pool.priority


def _key(target: PoolTarget) -> tuple[str, str]:
    return target.url, target.user
