"""Drivers by name, and what the inventory may say of where a rig is."""

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import pytest

import drivers
from drivers._address import Endpoint, endpoint, port_option
from shedload.device import API_VERSION
from shedload.errors import ConfigError


@pytest.mark.parametrize("name", ["antminer", "cgminer"])
def test_built_in_drivers(name):
    assert name in drivers.names()
    module = drivers.load(name)
    assert module.api_version == API_VERSION
    assert callable(module.open)


def test_private_modules_are_no_drivers():
    assert not [name for name in drivers.names() if name.startswith(("_", "meter_")) or name == "io"]
    for name in ("_tcp", "io", "../antminer", ""):
        with pytest.raises(ConfigError):
            drivers.load(name)


def test_unknown_driver_names_the_known_ones():
    with pytest.raises(ConfigError, match="antminer") as caught:
        drivers.load("whatsminor")
    assert "whatsminor" in caught.value.where


@pytest.mark.parametrize(("version", "fits"), [(API_VERSION, True), (API_VERSION + 1, False), (None, False)])
def test_drivers_of_third_parties(monkeypatch, version, fits):
    module = ModuleType("their_driver")
    module.api_version = version
    module.open = lambda spec, io: None
    monkeypatch.setitem(sys.modules, "their_driver", module)
    theirs = EntryPoints([EntryPoint("theirs", "their_driver", drivers.ENTRY_POINTS)])
    monkeypatch.setattr(drivers, "entry_points", theirs.select)
    assert "theirs" in drivers.names()
    if fits:
        assert drivers.load("theirs") is module
    else:
        with pytest.raises(ConfigError, match="version"):
            drivers.load("theirs")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.3.17", Endpoint("10.0.3.17", 4028)),
        ("10.0.3.17:4029", Endpoint("10.0.3.17", 4029)),
        ("rig.example", Endpoint("rig.example", 4028)),
        ("fe80::1", Endpoint("fe80::1", 4028)),
        ("[fe80::1]:99", Endpoint("fe80::1", 99)),
    ],
)
def test_addresses(text, found):
    assert endpoint(text, 4028) == found


@pytest.mark.parametrize("text", ["", "10.0.0.1:", "10.0.0.1:x", "10.0.0.1:70000", "a b", "http://x", "root@x", "x:-1"])
def test_bad_addresses(text):
    if text == "10.0.0.1:":
        assert endpoint(text, 4028).port == 4028
        return
    with pytest.raises(ConfigError):
        endpoint(text, 4028)


def test_endpoints_as_text():
    assert str(Endpoint("::1", 80)) == "[::1]:80"
    assert str(Endpoint("10.0.0.1", 80)) == "10.0.0.1:80"


def test_ports_from_options():
    assert port_option({"web_port": "8080"}, "web_port", 80) == 8080
    assert port_option({}, "web_port", 80) == 80
    with pytest.raises(ConfigError, match="web_port"):
        port_option({"web_port": "0"}, "web_port", 80)
