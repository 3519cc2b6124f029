"""What the configuration accepts, and what it says about everything else."""

import json
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller import config_checks
from controller.config import ConfigProblems, describe, load, load_installation, warnings_of
from controller.plan import Control
from controller.settings import HttpMeter, MqttMeter
from shedload.errors import ConfigError

CANARY = "hunter2-canary"

CSV_PRICE = """\
[price]
source = "csv"
file = "p.csv"
start_column = "t"
price_columns = ["p"]
unit = "MWh"
currency = "USD"
"""


def test_defaults(read, tmp_path):
    config = read()
    assert config.site.power_cap == 10_000
    assert config.site.ramp_up_per_minute == pytest.approx(300)  # 3 % of the cap
    assert config.site.inventory == tmp_path / "slots.csv"
    assert config.site.state_dir == tmp_path / "state"
    assert config.polling.interval_s == 10
    assert config.control.without_price == "hold"
    assert config.meter.source == "none"
    assert (config.api.host, config.api.port, config.api.loopback) == ("127.0.0.1", 9477, True)
    assert config.mqtt is None
    assert config.log.format == "auto"
    assert config.controls() == {}


def test_nothing_can_be_changed_later(read):
    config = read()
    with pytest.raises(Exception, match="frozen"):
        config.site.power_cap_kw = 20


def test_everything(read, tmp_path):
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "secret").chmod(0o600)
    config = read(
        """
        [groups.a]
        control = "auto"
        feeder = "f"
        [feeders.f]
        cap_kw = 5
        [credentials.root]
        user = "root"
        password_file = "secret"
        [[pools]]
        url = "stratum+ssl://b.example:3334"
        user = "w.b"
        priority = 2
        [[pools]]
        url = "stratum+tcp://[::1]:3333"
        user = "w.a"
        password_file = "secret"
        priority = 1
        [meter]
        source = "http"
        url = "http://192.168.1.9/status"
        field = "emeters.0.power"
        unit = "kW"
        scale = -2
        [api]
        listen = "[::]:9477"
        token_file = "secret"
        [mqtt]
        host = "broker"
        tls = true
        """
    )
    assert config.controls() == {"a": Control.AUTO}
    assert config.feeders["f"].cap == 5000
    assert config.credentials["root"].credential().password.startswith("0123")
    preferred = config.pools_by_priority[0]
    assert (preferred.host, preferred.port, preferred.tls) == ("::1", 3333, False)
    assert preferred.target().password.startswith("0123")
    assert isinstance(config.meter, HttpMeter)
    assert config.meter.watts(1.5) == -3000
    assert config.mqtt is not None
    assert config.mqtt.broker_port == 8883
    assert config.api.token() == "0123456789abcdef0123456789abcdef"


def test_pools_without_priority_keep_their_order(read):
    config = read(
        '\n[[pools]]\nurl = "stratum+tcp://a:1"\nuser = "x"\n[[pools]]\nurl = "stratum+tcp://b:1"\nuser = "x"\n'
    )
    assert [pool.host for pool in config.pools_by_priority] == ["a", "b"]
    assert config.pools[0].target().password == "x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[control]\nmin_onn_s = 3",
            'shedload.toml:9: control.min_onn_s: unknown key; did you mean "min_on_s"?',
        ),
        ("power_cap_kw = 4", None),  # under [site] already: TOML itself refuses
        ("[polling]\ninterval_s = 'fast'", 'shedload.toml:9: polling.interval_s: "fast" is not a number'),
        ("[control]\nmin_on_s = '5 min'", "write seconds as a bare number: min_on_s = 300"),
        ("[control]\nmax_attempts = 2.5", "shedload.toml:9: control.max_attempts: 2.5 is of the wrong type"),
        ("[control]\nmax_attempts = true", "write a whole number"),
        ("[control]\noff_above = nan", "control.off_above"),
        ("[control]\noff_above = 0.9", "0.9 is out of range; must be at least 1"),
        ("[control]\non_below = 0", "0 is out of range; must be above 0"),
        ("[control]\nwithout_price = 'holt'", 'did you mean "hold"? choices: hold, run, sleep'),
        ("[control]\ninterval_s = 5\nallocate_interval_s = 9", "shedload.toml:10: control.allocate_interval_s"),
        ("[polling]\ninterval_s = 100", "stale_after_s"),
        ("[groups.a]\ncontrol = 'AUTO'", 'shedload.toml:9: groups.a.control: "AUTO" is not a choice; did you mean'),
        ("[groups.'a b']", "groups.a b: "),
        ("[groups.a]\nfeeder = 'f1'\n[feeders.f2]\ncap_kw = 1", 'feeder "f1" is not configured; did you mean "f2"?'),
        ("[feeders.f]\ncap_kw = -3", "-3 is out of range; must be above 0 kilowatts"),
        ("[feeders.f]", "feeders.f.cap_kw: is missing; add cap_kw = a number of kilowatts"),
        ("[meter]\nsource = 'htp'", 'meter.source: "htp" is not a choice; did you mean "http"?'),
        ("[meter]\nurl = 'http://x'", "meter.source: is missing; choices: none, http, mqtt"),
        ("[meter]\nsource = 'http'", "meter.url: is missing"),
        ("[meter]\nsource = 'http'\nurl = 'ftp://x'", "does not start with http://"),
        ("[meter]\nsource = 'http'\nurl = 'http://x'\nscale = 0", "makes every reading zero"),
        ("[meter]\nsource = 'mqtt'", "set meter_topic under [mqtt]"),
        ("[mqtt]\nhost = 'b'\nroot = 'a/#'", "is not a plain MQTT topic"),
        ("[mqtt]\nhost = 'b'\nca_file = 'none.pem'", "there is no file"),
        ("[[pools]]\nurl = 'http://a:1'\nuser = 'u'", "pools[1].url"),
        ("[[pools]]\nurl = 'stratum+tcp://a'\nuser = 'u'", "names no port"),
        ("[[pools]]\nurl = 'stratum+tcp://a:99999'\nuser = 'u'", "is not an address"),
        ("[[pools]]\nurl = 'stratum+tcp://a:1'\nuser = 'u,v'", "comma"),
        ("[[pools]]\nurl = 'stratum+tcp://a:1'\nuser = 'u\\nv'", None),
        ('[[pools]]\nurl = "stratum+tcp://a:1"\nuser = "u\\nv"', "has control characters"),
        (
            "[[pools]]\nurl = 'stratum+tcp://a:1'\nuser = 'u'\n[[pools]]\nurl = 'stratum+tcp://a:1'\nuser = 'u'",
            "shedload.toml:12: pools[2].url: repeats pool 1",
        ),
        ("[pools]\nurl = 'x'", "[[double brackets]]"),
        ("[api]\nlisten = '0.0.0.0:9477'", "set token_file, or insecure_without_token = true"),
        ("[api]\nlisten = 'localhost'", "is not host:port"),
        ("[api]\nlisten = '1.2.3.4:99999'", "is not host:port"),
        ("[credentials.a]\nuser = 'root'", "credentials.a.password_file: is missing"),
        ("[credentials.a]\nuser = 'root'\npassword_file = 'none'", "shedload.toml:10: credentials.a.password_file: "),
        ("[log]\nlevel = 'verbose'", "choices: debug, info, warning, error"),
        ("[pricee]\nsource = 'fixed'", 'unknown key; did you mean "price"?'),
        ("[price]\nsource = 'entsoe'", "choices: fixed, schedule, csv"),
        ("[price]\nsource = 'fixed'\nprice_per_kwh = '5 ct'", "shedload.toml:10: price.price_per_kwh"),
        ("[price]\nsource = 'fixed'\nprice_per_kwh = 0.05\ncurrency = 'EUR'", "shedload.toml:8: price: "),
        (CSV_PRICE, "p.csv: there is no such file"),
        ("[tariff]\nvat_percent = '19%'", "write percent as a bare number: vat_percent = 19"),
        ("[economics]", "hashprice_per_ph_day: is missing"),
    ],
)  # fmt: skip
def test_problems(problems, text, said):
    found = problems(text)
    if said is None:
        assert len(found) == 1
        assert ("is not TOML" in found[0]) or ("control characters" in found[0]) or ("backslash" in found[0])
    else:
        assert any(said in problem for problem in found), found
    assert all(problem.startswith("shedload.toml:") for problem in found), found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('power_cap_kw = "5 MW"', '"5 MW" is not a number; write kilowatts as a bare number: power_cap_kw = 5000'),
        ("power_cap_w = 5000", 'unknown key; did you mean "power_cap_kw"?'),
        ("power_cap_kw = 5e9", "5000000000.0 is out of range; must be at most 2e+06 kilowatts"),
        ("power_cap_kw = 10\nbase_load_kw = 10", "10 leaves nothing for rigs beside base_load_kw = 10"),
        ("power_cap_kw = 0", "0 is out of range"),
    ],
)
def test_impossible_caps(problems, line, said):
    from tests.unit.config.conftest import MINIMAL

    found = problems(base=MINIMAL.replace("power_cap_kw = 10", line))
    assert any(said in problem and "shedload.toml:5: site." in problem for problem in found), found


def test_every_problem_is_listed_at_once(problems):
    found = problems("[control]\nmin_on_s = -1\nmax_atempts = 1\n[log]\nlevel = 1\n[feeders.a]\ncap_kw = 'x'\n")
    assert len(found) == 4


def test_a_key_in_the_wrong_section(problems):
    assert problems("[polling]\nmin_off_s = 3\n") == [
        "shedload.toml:9: polling.min_off_s: unknown key here; it belongs under [control]"
    ]


def test_error_is_a_config_error_with_parts(read):
    with pytest.raises(ConfigError) as caught:
        read("[log]\nlevel = 'x'")
    assert caught.value.where.endswith("shedload.toml:9: log.level")
    assert caught.value.problem == '"x" is not a choice'
    assert caught.value.remedy == "choices: debug, info, warning, error"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[site]\nname = \n", ":2:8: is not TOML: Invalid value"),
        (b"[site\n", ":1:6: is not TOML"),
        (b"a = [1,\n", "is not TOML"),
        (b"[a]\n[a]\n", ":2:3: is not TOML"),
        (b"[site]\nname = '\xff'\n", ":2: is not UTF-8 text"),
        (b"", "site: the section is missing; add [site]"),
        (b"a = " + b"[" * 5000, "is not TOML"),
        (b"[site]\npower_cap_kw = " + b"9" * 5000, "numbers"),
        (b"#" * 2_000_000, "is larger than"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, content, said):
    path = tmp_path / "shedload.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigProblems) as caught:
        load(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_byte_order_mark_and_windows_line_ends_are_fine(read, problems):
    from tests.unit.config.conftest import MINIMAL

    windows = "\ufeff" + MINIMAL.replace("\n", "\r\n")
    assert read(base=windows).site.name == "home"
    assert problems("[log]\r\nlevel = 3\r\n", base=windows)[0].startswith("shedload.toml:9: log.level")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ConfigProblems, match="there is no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigProblems, match="is not a regular file"):
        load(tmp_path)


def test_service_folders(read, problems, tmp_path):
    text = '[credentials.a]\nuser = "root"\npassword_file = "${CREDENTIALS_DIRECTORY}/a"\n'
    assert "CREDENTIALS_DIRECTORY is not set" in problems(text)[0]
    (tmp_path / "a").write_text("secret")
    (tmp_path / "a").chmod(0o440)
    config = read(text, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert config.credentials["a"].credential().password == "secret"


def test_a_password_file_open_to_all_is_refused(problems, tmp_path):
    (tmp_path / "pass").write_text(CANARY)
    (tmp_path / "pass").chmod(0o644)
    found = problems('[credentials.a]\nuser = "root"\npassword_file = "pass"\n')
    assert len(found) == 1
    assert "is open to every user (mode 0644); run: chmod 600" in found[0]


def test_a_password_in_a_configuration_that_all_can_read_is_refused(problems, read):
    text = f'[credentials.a]\nuser = "root"\npassword = "{CANARY}"\n'
    assert "every user can read" in problems(text, mode=0o644)[0]
    assert "better in a file" in warnings_of(read(text))[0]


def test_short_tokens_are_refused(problems, tmp_path):
    (tmp_path / "token").write_text("short")
    (tmp_path / "token").chmod(0o600)
    assert "fewer than 16 characters" in problems('[api]\ntoken_file = "token"\n')[0]


@pytest.mark.parametrize(
    "text",
    [
        f'[credentials.a]\nuser = "root"\npasswrod = "{CANARY}"',
        f'[credentials.a]\nuser = 4\npassword = "{CANARY}"',
        f'[credentials.a]\nuser = "root"\npassword = ["{CANARY}"]',
        f'[credentials]\na = "{CANARY}"',
        f'credentials = "{CANARY}"',
        f'[credentials]\npassword = "{CANARY}"',
        f'[api]\ntoken = "{CANARY}"',
        f'[api]\nlisten = 3\ntoken_file = ["{CANARY}"]',
        f'[[pools]]\nurl = "stratum+tcp://u:{CANARY}@a:1"\nuser = "u"',
        f'[[pools]]\nurl = "stratum+tcp://u:/{CANARY}@a:1"\nuser = "u"',
        f'[meter]\nsource = "http"\nurl = "http://u:{CANARY}@a"',
        f'[meter]\nsource = "http"\nurl = "ftp://a/?x=1&token={CANARY}"',
        f'[mqtt]\nhost = 3\npassword = "{CANARY}"',
        f'[mqtt]\nhost = "b"\npassword = "{CANARY}"\npassword_file = "x"',
        f'[site.name]\npassword = "{CANARY}"',
    ],
)
def test_no_secret_in_any_error(read, text):
    from tests.unit.config.conftest import MINIMAL

    base = MINIMAL.replace('name = "home"\n', "") if text.startswith("[site") else MINIMAL
    with pytest.raises(ConfigProblems) as caught:
        read(text, base=base if not text.startswith("credentials =") else text + "\n" + base)
    assert CANARY not in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_no_secret_in_repr_dump_or_description(read):
    config = read(f'[credentials.a]\nuser = "root"\npassword = "{CANARY}"\n[mqtt]\nhost = "b"\npassword = "{CANARY}"\n')
    for text in (repr(config), str(config), config.model_dump_json(), json.dumps(describe(config))):
        assert CANARY not in text
    assert describe(config)["credentials"]["a"]["password"] == "**********"
    assert CANARY not in repr(config.credentials["a"].credential())


def test_warnings(read):
    found = warnings_of(
        read(
            '[feeders.f]\ncap_kw = 50\n[[pools]]\nurl = "stratum+tcp://a:1"\nuser = "u"\n'
            '[api]\nlisten = "0.0.0.0:1"\ninsecure_without_token = true\n'
        )
    )
    assert [text.split(":")[0] for text in found] == ["feeders.f.cap_kw", "pools[1].url", "api.listen"]


GAPPED = (
    '[price]\nsource = "csv"\nfile = "prices.csv"\nstart_column = "start"\nprice_columns = ["price"]\n'
    'unit = "MWh"\ncurrency = "USD"\n'
)


def write_gapped_prices(folder):
    rows = "".join(f"2026-01-01T{hour:02d}:00Z,50\n" for hour in (0, 1, 4, 5, 6))
    (folder / "prices.csv").write_text("start,price\n" + rows)


def test_a_price_file_with_gaps_is_a_problem(problems, tmp_path):
    write_gapped_prices(tmp_path)
    (told,) = problems(GAPPED)
    assert "price.file: prices.csv has no price from 2026-01-01 02:00 to 2026-01-01 04:00 UTC" in told
    assert "allow_gaps = true" in told


def test_gaps_that_are_allowed_are_advice(read, tmp_path):
    write_gapped_prices(tmp_path)
    (told,) = [text for text in warnings_of(read(GAPPED + "allow_gaps = true\n")) if text.startswith("price.file")]
    assert "no price from 2026-01-01 02:00 to 2026-01-01 04:00 UTC" in told


def advice(tmp_path, rows, more=""):
    """What is advised on an inventory; group g is automatic."""
    from tests.unit.config.conftest import MINIMAL

    (tmp_path / "slots.csv").write_text("name,group,driver,address,credential,model\n" + rows)
    config = tmp_path / "shedload.toml"
    config.write_text(MINIMAL + '[groups.g]\ncontrol = "auto"\n[groups.seen]\n' + more)
    return load_installation(config, ("antminer",), {}).warnings


def test_an_inventory_without_rigs_is_told(tmp_path):
    assert advice(tmp_path, "") == ("site.inventory: names no rig; `shedload scan RANGE` finds those of a network",)


def test_a_model_without_nameplate_is_told(tmp_path):
    rows = "a,seen,antminer,10.0.0.1,,Antminer S19k Pri\nb,seen,antminer,10.0.0.2,,Antminer S21\n"
    (told,) = advice(tmp_path, rows)
    assert 'no nameplate of model "Antminer S19k Pri"' in told
    assert "did you mean" in told


def test_automatic_rigs_without_a_credential_are_told(tmp_path):
    rows = "a,g,antminer,10.0.0.1,,\nb,g,antminer,10.0.0.2,,\nc,seen,antminer,10.0.0.3,,\n"
    (told,) = advice(tmp_path, rows)
    assert told.startswith("groups.g: auto, but 2 of its rigs have no credential, a the first")


def test_mqtt_meter_with_its_topic(read):
    config = read('[meter]\nsource = "mqtt"\n[mqtt]\nhost = "b"\nmeter_topic = "site/power"\n')
    assert isinstance(config.meter, MqttMeter)


def test_old_time_zone_data_is_refused(read, monkeypatch):
    monkeypatch.setattr(config_checks, "ALMATY_OFFSET", config_checks.ALMATY_OFFSET * 2)
    with pytest.raises(ConfigProblems, match="time zone data of this machine is older than 2024a"):
        read()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    table=st.dictionaries(
        st.sampled_from(["site", "control", "meter", "price", "pools", "groups", "mqtt", "x"]),
        st.recursive(
            st.one_of(st.integers(-5, 5), st.booleans(), st.sampled_from(["", "mqtt", "a b"])),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(st.sampled_from(["source", "name", "url", "0", "a"]), inner, max_size=3),
            ),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_any_table_gives_a_config_or_named_problems(tmp_path, table):
    path = tmp_path / "any.toml"
    path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in table.items()))
    with pytest.raises(ConfigProblems) as caught:  # [site] is never complete
        load(path, {})
    assert all(str(problem).startswith(str(path)) for problem in caught.value.problems)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def test_paths_are_relative_to_the_file(read, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert read().site.inventory == tmp_path / "slots.csv"
    assert Path("/var/lib/x") == read(base=_with_state("/var/lib/x")).site.state_dir


def _with_state(folder: str) -> str:
    from tests.unit.config.conftest import MINIMAL

    return MINIMAL.replace('"state"', f'"{folder}"')
