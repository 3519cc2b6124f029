"""What may stand in a cell of the inventory; each reader gives the value in its plain form or says what is wrong."""

import ipaddress
import re

from controller.fields import NAME

MAX_CELL_CHARACTERS = 500
"""The longest sensible cell is a row of options."""

NAMED = re.compile(NAME)
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST = re.compile(rf"{LABEL}(?:\.{LABEL})*\.?")
HOST_AND_PORT = re.compile(r"([^:\[\]/\s]+)(?::([0-9]{1,5}))?")
IPV6_AND_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?")
DEVICE = re.compile(r"/[A-Za-z0-9_.:+@=,/-]+")
MAC = re.compile(r"[0-9A-Fa-f]{2}([:-]?)(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")
OPTION = re.compile(r"\s*([a-z][a-z0-9_]{0,39})\s*=\s*([^;]*)")
FORMULA = ("=", "+", "-", "@")
ADDRESS_FORMS = "write host, host:port, [IPv6]:port or the path of a serial device"


class CellError(Exception):
    """The cell's content is wrong; texts follow the cell's own words."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(problem)


def name(cell: str) -> str:
    """A name that is fit for logs, labels and topics."""
    if NAMED.fullmatch(cell) is None:
        raise CellError(
            "is not a valid name",
            "use letters, digits, dots, dashes and underscores, at most 64, a letter or digit first",
        )
    return cell


def text(cell: str) -> str:
    """Free text that no spreadsheet program takes for a formula."""
    if len(cell) > MAX_CELL_CHARACTERS:
        raise CellError(f"has {len(cell)} characters", f"at most {MAX_CELL_CHARACTERS} fit")
    if not cell.isprintable():
        raise CellError("has control characters", "type it afresh")
    if cell.startswith(FORMULA):
        raise CellError("starts like a formula", "begin with a letter or digit")
    return cell


def address(cell: str) -> str:
    """Host, host:port, [IPv6]:port or a device path; host names in lower case."""
    if DEVICE.fullmatch(cell):
        return cell
    if match := IPV6_AND_PORT.fullmatch(cell):
        host = f"[{_ip(match[1])}]"
    elif (match := HOST_AND_PORT.fullmatch(cell)) and HOST.fullmatch(match[1]) and len(match[1]) <= 253:
        numeric = match[1].replace(".", "").isdigit()
        host = _ip(match[1]) if numeric else match[1].lower().rstrip(".")
    else:
        raise CellError("is not an address", ADDRESS_FORMS)
    if match[2] is None:
        return host
    if not 1 <= int(match[2]) <= 65535:
        raise CellError("has no valid port", "ports go from 1 to 65535")
    return f"{host}:{int(match[2])}"


def mac(cell: str) -> str:
    """A MAC address, in lower case with colons."""
    if MAC.fullmatch(cell) is None:
        raise CellError("is not a MAC address", "write it as aa:bb:cc:dd:ee:ff")
    digits = cell.replace(":", "").replace("-", "").lower()
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))


def options(cell: str) -> dict[str, str]:
    """`key=value;key=value` as a dictionary."""
    found: dict[str, str] = {}
    for part in cell.split(";"):
        if not part.strip():
            continue
        match = OPTION.fullmatch(part)
        if match is None:
            raise CellError("is not a list of options", "write key=value;key=value, keys in lower case")
        if match[1] in found:
            raise CellError(f"sets {match[1]} twice", "remove one of the two")
        found[match[1]] = match[2].strip()
    return found


def checked_options(cell: str) -> str:
    """The cell itself, once `options` can read it."""
    options(text(cell))
    return cell


def _ip(host: str) -> str:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        raise CellError("is not an address", ADDRESS_FORMS) from None
    if ip.is_unspecified or ip.is_multicast or host == "255.255.255.255":
        raise CellError("is not the address of one machine", ADDRESS_FORMS)
    return str(ip)
