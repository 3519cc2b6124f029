"""Rows of the inventory, and what is said about wrong ones."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.config import ConfigProblems, load_installation
from controller.inventory import COLUMNS, MAX_PROBLEMS, Slot, read_inventory, spec_of
from shedload.device import Credential

HEAD = "name,group,driver,address,credential,feeder,mac,owner,options\n"
GOOD = "r1,a,antminer,10.0.0.1,root,,,,\n"


def read_path(path: Path) -> tuple[Slot, ...]:
    return read_inventory(
        path,
        drivers=["antminer", "cgminer", "icarus"],
        groups={"a": "f1", "b": None},
        feeders=["f1", "f2"],
        credentials=["root"],
    )


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str | bytes], tuple[Slot, ...]]:
    def read_text(text: str | bytes) -> tuple[Slot, ...]:
        path = tmp_path / "slots.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_path(path)

    return read_text


@pytest.fixture
def problems(read, tmp_path) -> Callable[[str | bytes], list[str]]:
    def problems_of(text: str | bytes) -> list[str]:
        with pytest.raises(ConfigProblems) as caught:
            read(text)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return problems_of


def test_a_row(read):
    (slot,) = read(
        "# our hall\n\n" + ",".join(COLUMNS) + "\n"
        'h1-r1-3, eki ,h1,r1,3,a,f2,L2,"Steppe, LLP",antminer,10.0.0.7:4028,root,SN1,AA-BB-CC-00-11-22,Antminer S21,'
        "web_port=8080; realm = x=y ;\n"
    )
    assert slot == Slot(
        name="h1-r1-3",
        site="eki",
        hall="h1",
        rack="r1",
        position="3",
        group="a",
        feeder="f2",
        phase="L2",
        owner="Steppe, LLP",
        driver="antminer",
        address="10.0.0.7:4028",
        credential="root",
        serial="SN1",
        mac="aa:bb:cc:00:11:22",
        model="Antminer S21",
        options={"web_port": "8080", "realm": "x=y"},
    )


def test_empty_cells_and_the_group_s_feeder(read):
    first, second, third = read(HEAD + GOOD + "r2,b,icarus,/dev/serial/by-id/usb-1,,,,,\nr3,a,cgminer,[::1]:4028\n")
    assert (first.feeder, first.owner, first.credential) == ("f1", None, "root")
    assert (second.feeder, second.address) == ("", "/dev/serial/by-id/usb-1")
    assert (third.feeder, third.address, third.options) == ("f1", "[::1]:4028", {})


def test_spec(read):
    (slot,) = read(HEAD + "r1,a,antminer,RIG-1.Local,root,,aabbcc001122,,x=1\n")
    spec = spec_of(slot, {"root": Credential("root", "pw")})
    assert (spec.name, spec.driver, spec.address) == ("r1", "antminer", "rig-1.local")
    assert (spec.expected_mac, spec.expected_serial, spec.options) == ("aa:bb:cc:00:11:22", None, {"x": "1"})
    assert spec.credential == Credential("root", "pw")
    assert "pw" not in repr(spec)


def test_what_spreadsheets_make_is_read(read):
    text = "\ufeff" + (HEAD + GOOD).replace("\n", "\r\n").replace("r1", '"r1"')
    assert read(text)[0].name == "r1"
    assert read(HEAD) == ()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("r1,b,antminer,10.0.0.2", 'slots.csv:3:1: name "r1" stands in line 2 too'),
        ("R1,b,antminer,10.0.0.2", 'name "R1" stands in line 2 too'),
        ("r2,b,antminer,10.0.0.1", 'slots.csv:3:15: address "10.0.0.1" stands in line 2 too'),
        ("r2,c,antminer,10.0.0.2", 'slots.csv:3:4: group "c" is unknown; known: a, b'),
        ("r2,b,antminr,10.0.0.2", 'driver "antminr" is unknown; did you mean "antminer"? known: antminer, cgminer'),
        ("r2,b,antminer,10.0.0.2,rot", 'credential "rot" is unknown; did you mean "root"?'),
        ("r2,b,antminer,10.0.0.2,,f3", 'feeder "f3" is unknown; did you mean'),
        ("r2,b,antminer,10.0.0.256", 'slots.csv:3:15: address "10.0.0.256" is not an address'),
        ("r2,b,antminer,10.0.0", "is not an address"),
        ("r2,b,antminer,0.0.0.0", "is not the address of one machine"),
        ("r2,b,antminer,224.0.0.1", "is not the address of one machine"),
        ("r2,b,antminer,10.0.0.2:0", "has no valid port"),
        ("r2,b,antminer,10.0.0.2:99999", "has no valid port"),
        ("r2,b,antminer,http://10.0.0.2", "is not an address"),
        ("r2,b,antminer,a b", "is not an address"),
        ("r2,b,antminer,-x.example", "is not an address"),
        ("r2,b,antminer,[::g]", "is not an address"),
        ("r2,b,antminer,10.0.0.2,,,aa:bb:cc:dd:ee", 'slots.csv:3:26: mac "aa:bb:cc:dd:ee" is not a MAC address'),
        ("r2,b,antminer,10.0.0.2,,,aa:bb-cc:dd:ee:ff", "is not a MAC address"),
        ("=r2,b,antminer,10.0.0.2", "is not a valid name"),
        ("r 2,b,antminer,10.0.0.2", "is not a valid name"),
        ("r2" * 40 + ",b,antminer,10.0.0.2", "at most 64"),
        ("r2,b,antminer,10.0.0.2,,,,=cmd()", 'slots.csv:3:27: owner "=cmd()" starts like a formula'),
        ("r2,b,antminer,10.0.0.2,,,,\x1b[31mred", "owner '\\x1b[31mred' has control characters"),
        ("r2,b,antminer,10.0.0.2,,,," + "x" * 600, "has 600 characters"),
        ("r2,b,antminer,10.0.0.2,,,,,novalue", "is not a list of options"),
        ("r2,b,antminer,10.0.0.2,,,,,a=1;a=2", "sets a twice"),
        (",b,antminer,10.0.0.2", "slots.csv:3:1: name is empty; every slot needs one"),
        ("r2,b,antminer", "address is empty"),
        ("r2,b,antminer,10.0.0.2,,,,,,,", "has 11 cells for 9 columns"),
        ('r2,b,antminer,"10.0.0.2', "slots.csv:3: a quoted cell does not end where it should"),
        ('r2,b,antminer,"10.0.0.2"x', "a quoted cell does not end"),
    ],
)  # fmt: skip
def test_wrong_rows(problems, row, said):
    found = problems(HEAD + GOOD + row + "\nr9,b,antminer,10.0.0.9\n")
    assert len(found) == 1, found
    assert said in found[0]
    assert found[0].startswith("slots.csv:3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "slots.csv: is empty; begin with the line name,site,hall"),
        ("# only a comment\n", "is empty"),
        ("name;group;driver;address\n", "slots.csv:1: cells are separated by ';'; save the table as CSV with commas"),
        ("name\tgroup\tdriver\taddress\n", "cells are separated by '\\t'"),
        ("name,grup,driver,address\n", 'slots.csv:1:6: unknown column "grup"; did you mean "group"?'),
        ("name,driver,address\n", 'the column "group" is missing'),
        ("name,group,driver,address,name\n", 'slots.csv:1:27: the column "name" stands twice'),
        (HEAD.encode() + b"r\xff", "slots.csv:2: is not UTF-8 text; save the file as UTF-8"),
        ((HEAD + GOOD).encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_wrong_files(problems, text, said):
    assert any(said in problem for problem in problems(text))


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigProblems, match="there is no such file; create the inventory"):
        read_path(tmp_path / "none.csv")
    with pytest.raises(ConfigProblems, match="is not a regular file"):
        read_path(tmp_path)


def test_every_problem_is_listed_up_to_a_bound(problems):
    assert len(problems(HEAD + "r1,x,y,z z\n")) == 3
    many = problems(HEAD + "".join(f"r{number},nowhere,antminer,10.1.0.{number}\n" for number in range(1, 200)))
    assert len(many) == MAX_PROBLEMS + 1
    assert "reading stopped" in many[-1]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: (HEAD + text).encode())))
def test_any_bytes_give_slots_or_named_problems(tmp_path, content):
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    found = _slots_or_problems(path)
    assert all(isinstance(item, Slot) or str(item).startswith(str(path)) for item in found)
    assert all("\n" not in str(item) and str(item).isprintable() for item in found)


def _slots_or_problems(path):
    try:
        return read_path(path)
    except ConfigProblems as error:
        return error.problems


@pytest.mark.slow
def test_fifty_thousand_rows(tmp_path):
    path = tmp_path / "slots.csv"
    rows = (
        f"h{n // 5000}-r{n // 50 % 100}-{n % 50},eki,h{n // 5000},r{n // 50 % 100},{n % 50},a,f1,L{n % 3 + 1},house,"
        "antminer,"
        f"10.{n // 62500}.{n // 250 % 250}.{n % 250 + 1},root,,02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x},"
        "Antminer S21,web_port=80\n"
        for n in range(50_000)
    )
    path.write_text(",".join(COLUMNS) + "\n" + "".join(rows))
    start = time.process_time()
    assert len(read_path(path)) == 50_000
    assert time.process_time() - start < 4.0  # the aim is 2 s; twice that for a machine that does other work


INSTALLATION = """\
[site]
name = "home"
currency = "USD"
timezone = "UTC"
power_cap_kw = 0.06
base_load_kw = 0.02
inventory = "slots.csv"
state_dir = "state"
[groups.a]
"""


def test_an_installation(tmp_path):
    (tmp_path / "shedload.toml").write_text(INSTALLATION)
    (tmp_path / "slots.csv").write_text("name,group,driver,address\nr1,a,antminer,10.0.0.1\n")
    installation = load_installation(tmp_path / "shedload.toml", ["antminer"], {})
    assert [spec.name for spec in installation.specs()] == ["r1"]
    assert installation.warnings == ()


def test_a_cap_that_even_sleep_breaks(tmp_path):
    (tmp_path / "shedload.toml").write_text(INSTALLATION)
    (tmp_path / "slots.csv").write_text("name,group,driver,address\nr1,a,antminer,10.0.0.1\nr2,a,antminer,10.0.0.2\n")
    with pytest.raises(ConfigProblems, match=r"shedload.toml:5: site.power_cap_kw: 0.06 cannot be kept: all asleep"):
        load_installation(tmp_path / "shedload.toml", ["antminer"], {})


def test_serial_rigs_need_a_pool(tmp_path):
    (tmp_path / "shedload.toml").write_text(INSTALLATION)
    (tmp_path / "slots.csv").write_text("name,group,driver,address\nr1,a,icarus,/dev/ttyS0\n")
    with pytest.raises(ConfigProblems, match="no pool for 1 serial rigs"):
        load_installation(tmp_path / "shedload.toml", ["icarus"], {})
