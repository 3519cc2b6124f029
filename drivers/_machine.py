"""Is it the machine that the inventory names? Asked before every write: addresses move, machines are swapped."""

from shedload.device import Identity, RigSpec
from shedload.errors import Refused, WrongMachine


def check_machine(spec: RigSpec, found: Identity) -> None:
    """Raises WrongMachine where serial or MAC differ, Refused where the rig tells neither of those expected."""
    checked = False
    pairs = (("serial", spec.expected_serial, found.serial), ("MAC", spec.expected_mac, found.mac))
    for name, expected, told in pairs:
        if expected is None or told is None:
            continue
        if _plain(expected) != _plain(told):
            raise WrongMachine(f"{name} {told} answers where {expected} is expected")
        checked = True
    if not checked and (spec.expected_serial or spec.expected_mac):
        raise Refused("the rig tells neither the serial nor the MAC that the inventory expects: not written to")


def _plain(text: str) -> str:
    return text.strip().lower().replace("-", ":")
