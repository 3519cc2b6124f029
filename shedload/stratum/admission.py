"""Who a rig is and what it wishes: the answers the server's owner gives, and the wishes rigs hide in texts."""

from dataclasses import dataclass
from typing import Any

from shedload.bitcoin.target import Difficulty, difficulty_of_target, parse_difficulty
from shedload.stratum.messages import parse_hex
from shedload.stratum.shares import SeenShares


@dataclass(frozen=True, slots=True)
class Allotment:
    """An extranonce for one rig. `seen` carries the shares of a session that is resumed."""

    extranonce1: bytes
    extranonce2_size: int
    session_id: str
    seen: SeenShares | None = None


def admit_any(worker: str, _password: str) -> bool:
    """Let in every name that ckpool would: not empty, no leading dot or underscore, no slash."""
    return bool(worker) and worker[0] not in "._" and "/" not in worker


def minimum_of_password(password: str) -> Difficulty | None:
    """Read the difficulty a password asks for by convention: `d=`, `diff=` or `md=`, between commas or semicolons."""
    for option in password.replace(";", ",").split(","):
        name, _, value = option.strip().partition("=")
        if name in {"d", "diff", "md"}:
            try:
                return parse_difficulty(value)
            except ValueError:
                continue
    return None


def suggested(method: str, value: Any) -> Difficulty:
    """Return the difficulty a mining.suggest_* asks for; ValueError where there is none."""
    if method.startswith("mining.suggest_target"):
        target = int.from_bytes(parse_hex(value, 32), "big")
        if not target:
            raise ValueError("target is zero")
        return parse_difficulty(difficulty_of_target(target))
    if value is None:
        value = method.removeprefix("mining.suggest_difficulty").strip("()[] ")
    return parse_difficulty(value)
