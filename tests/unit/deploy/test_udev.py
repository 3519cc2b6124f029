"""The shipped udev rules, evaluated here against the devices of the field: names, group, and hands off the rest.

udev itself is not at hand on every machine, so this reads the rules as udev(7) says: one rule a line, all matches must
hold, then the assignments happen; GOTO jumps forward.
"""

import fnmatch
import re
from pathlib import Path

import pytest

RULES = Path(__file__).parents[3] / "deploy" / "99-shedload-serial.rules"
PART = re.compile(r'([A-Z]+)(?:\{(\w+)\})?(==|!=|\+=|:=|=)"([^"]*)"')
KNOWN = {"ACTION", "SUBSYSTEM", "ENV", "GOTO", "LABEL", "GROUP", "MODE", "SYMLINK"}

MINERS = [
    # vendor, model, text of the chip as udev gives it, our word for it; ids by cgminer, mujina and the boards' firmware
    ("c0de", "cafe", "Bitaxe", "bitaxe"),
    ("c0de", "cafe", "BitaxeBonanza", "bitaxe"),
    ("c0de", "b17d", "BitaxeBonanza", "birds"),
    ("1209", "256f", "EmberOne00", "emberone"),
    ("10c4", "ea60", "Compac_BM1384_Bitcoin_Miner", "compac"),
    ("10c4", "ea60", "2Pac_BM1384_Bitcoin_Miner", "2pac"),
    ("10c4", "ea60", "Terminus_BM1384_Bitcoin_Miner", "terminus"),
    ("0403", "6015", "NewPac_Bitcoin_Miner", "newpac"),
    ("0403", "6015", "R606_Bitcoin_Miner", "r606"),
    ("0403", "6015", "CompacF_Bitcoin_Miner", "compacf"),
    ("0403", "6015", "R909_Bitcoin_Miner", "r909"),
    ("10c4", "ea70", "GekkoScience_Compac_A1", "gekko"),
    ("0403", "6014", "Cairnsmore1", "cairnsmore"),
    ("1fc9", "0083", "AVA", "ava"),
]
OTHERS = [
    ("10c4", "ea60", "CP2102_USB_to_UART_Bridge_Controller"),  # a Block Erupter, or a weather station
    ("0403", "6001", "FT232R_USB_UART"),
    ("067b", "2303", "USB-Serial_Controller"),
    ("0403", "6015", "FT230X_Basic_UART"),
    ("2341", "0043", "Arduino_Uno"),
    ("04d8", "00de", "MCP2210_USB_to_SPI_Master"),
]


class Rules:
    """The rules of a file, ready to be applied to a device's properties."""

    def __init__(self, text: str) -> None:
        self.rules = [self._parse(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]

    @staticmethod
    def _parse(line: str) -> list[tuple[str, str, str, str]]:
        parts = PART.findall(line)
        assert ", ".join(f'{k}{f"{{{s}}}" if s else ""}{op}"{v}"' for k, s, op, v in parts) == line, line
        assert {key for key, *_ in parts} <= KNOWN, line
        return parts

    def apply(self, device: dict[str, str], action: str = "add") -> dict[str, list[str]]:
        """What the device gets: SYMLINK, GROUP, MODE, and what was put into its properties."""
        env, got, label = dict(device), {"SYMLINK": [], "GROUP": [], "MODE": []}, ""
        for rule in self.rules:
            if label:
                label = "" if ("LABEL", "", "=", label) in rule else label
                continue
            if not all(self._holds(part, env, action) for part in rule if part[2] in {"==", "!="}):
                continue
            for key, sub, operator, value in rule:
                if operator in {"==", "!="}:
                    continue
                value = re.sub(r"\$env\{(\w+)\}", lambda match: env.get(match[1], ""), value)
                if key == "ENV":
                    env[sub] = value
                elif key == "GOTO":
                    label = value
                elif key in got:
                    got[key].append(value)
        assert not label, f"there is no LABEL {label}"
        return {**got, "IGNORED": [env.get("ID_MM_DEVICE_IGNORE", "")]}

    @staticmethod
    def _holds(part: tuple[str, str, str, str], env: dict[str, str], action: str) -> bool:
        key, sub, operator, pattern = part
        value = {"ACTION": action, "SUBSYSTEM": env["SUBSYSTEM"]}.get(key, env.get(sub, ""))
        found = any(fnmatch.fnmatchcase(value, alternative) for alternative in pattern.split("|"))
        return found == (operator == "==")


RULESET = Rules(RULES.read_text())


def tty(vendor: str, model: str, text: str, **properties: str) -> dict[str, str]:
    return {
        "SUBSYSTEM": "tty",
        "ID_VENDOR_ID": vendor,
        "ID_MODEL_ID": model,
        "ID_MODEL": text,
        "ID_SERIAL_SHORT": "4000123456",
        "ID_USB_INTERFACE_NUM": "00",
        "ID_PATH_TAG": "pci-0000_00_14_0-usb-0_1_1_0",
        **properties,
    }


@pytest.mark.parametrize(("vendor", "model", "text", "word"), MINERS)
def test_miners_get_stable_names(vendor: str, model: str, text: str, word: str) -> None:
    got = RULESET.apply(tty(vendor, model, text))
    assert got["SYMLINK"] == [
        "shedload/port-pci-0000_00_14_0-usb-0_1_1_0",
        f"shedload/{word}-4000123456-if00",
    ]
    assert (got["GROUP"], got["MODE"], got["IGNORED"]) == (["dialout"], ["0660"], ["1"])


@pytest.mark.parametrize(("vendor", "model", "text"), OTHERS)
def test_whatever_else_is_plugged_in_is_left_alone(vendor: str, model: str, text: str) -> None:
    got = RULESET.apply(tty(vendor, model, text))
    assert got == {"SYMLINK": [], "GROUP": [], "MODE": [], "IGNORED": [""]}


def test_two_ports_of_one_board_have_two_names() -> None:
    first = RULESET.apply(tty("c0de", "cafe", "Bitaxe"))
    other = RULESET.apply(tty("c0de", "cafe", "Bitaxe", ID_USB_INTERFACE_NUM="02", ID_PATH_TAG="port-2"))
    assert not set(first["SYMLINK"]) & set(other["SYMLINK"])


@pytest.mark.parametrize("serial", ["", "0001"])
def test_without_a_serial_number_only_the_port_names_the_device(serial: str) -> None:
    got = RULESET.apply(tty("10c4", "ea60", "Compac_BM1384_Bitcoin_Miner", ID_SERIAL_SHORT=serial))
    assert got["SYMLINK"] == ["shedload/port-pci-0000_00_14_0-usb-0_1_1_0"]


def test_modem_managers_are_kept_off_the_usb_device_too() -> None:
    device = {**tty("c0de", "cafe", "Bitaxe"), "SUBSYSTEM": "usb", "DEVTYPE": "usb_device"}
    got = RULESET.apply(device)
    assert (got["IGNORED"], got["SYMLINK"], got["MODE"]) == (["1"], [], [])


def test_a_device_that_goes_needs_nothing() -> None:
    assert RULESET.apply(tty("c0de", "cafe", "Bitaxe"), action="remove")["SYMLINK"] == []


def test_the_lines_to_be_uncommented_are_rules() -> None:
    text = re.sub(r"^#ENV", "ENV", RULES.read_text(), flags=re.MULTILINE)
    opened = Rules(text)
    assert opened.apply(tty("10c4", "ea60", "CP2102_USB_to_UART_Bridge_Controller"))["SYMLINK"]
    named = opened.apply(tty("10c4", "ea60", "2Pac_BM1384_Bitcoin_Miner"))["SYMLINK"]
    assert "shedload/2pac-4000123456-if00" in named
