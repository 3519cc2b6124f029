"""The daemon's start and end, and how it falls."""

import asyncio
import stat
from types import SimpleNamespace

import pytest

from controller.daemon import LEDGER, open_rigs, own_token
from drivers.io import Io
from shedload.device import RigName, RigSpec
from shedload.errors import ConfigError
from simulator.rig import RigState as Truth
from tests.scenarios.test_limits import CHEAP
from tests.support.virtual import network, run_virtual, virtual, virtual_loop
from tests.support.whole import Wanted, daemon_of, farm_of, whole

SMALL = Wanted(price=CHEAP, scale=1, s19=1, s21=1)
DEAR = Wanted(price='source = "fixed"\nprice_per_kwh = 0.5', scale=1, s19=2, s21=2)


@virtual
async def test_a_stop_leaves_rigs_as_they_are_and_the_books_on_disk(tmp_path):
    async with farm_of(SMALL) as farm:
        async with daemon_of(tmp_path, SMALL, farm) as site:
            await site.plant(60)
        assert site.truly(Truth.HASHING) == set(farm.rigs)
        assert set(site.writes().values()) == {0}
        assert site.store.fact(LEDGER)["energy_joules"] > 0
        assert network().connections(port=4028) == []


@virtual
async def test_a_stop_in_the_middle_of_a_command_says_what_it_knows(tmp_path):
    async with whole(tmp_path, DEAR) as site:
        await site.until(lambda: site.status()["commands"].get("planned", 0) > 0, 60)
    states = {record.state.value for record in site.store.records.values()}
    assert states
    assert states <= {"unknown", "sent", "expired", "confirmed"}
    assert not any(number > 0 and number not in site.store.records for number in site.daemon.actuator._verbs)


@virtual
async def test_a_stop_right_at_the_start_is_clean(tmp_path):
    async with whole(tmp_path, SMALL):
        pass


@virtual
async def test_a_disk_that_hangs_does_not_keep_it_from_stopping(tmp_path):
    async with whole(tmp_path, DEAR) as site:
        await site.until(lambda: site.status()["commands"].get("sent", 0) > 0, 60)

        async def hang(*_args):
            await asyncio.sleep(1e6)

        for name in ("settle", "remember", "intend", "heartbeat", "prove"):
            setattr(site.store, name, hang)
        await site.plant(20)
        began = virtual_loop().time()
    assert virtual_loop().time() - began < 25


def test_a_job_that_fails_ends_the_daemon_loudly(tmp_path):
    async def live():
        async with farm_of(SMALL) as farm, daemon_of(tmp_path, SMALL, farm) as site:

            async def broken():
                raise ZeroDivisionError("a bug")

            site.daemon.controller.cycle = broken
            try:
                await site.plant(30)
            finally:
                events.extend(site.events)

    events = []
    with pytest.raises(BaseExceptionGroup) as caught:
        run_virtual(live())
    assert caught.group_contains(ZeroDivisionError)
    failed = [entry for entry in events if entry["event"] == "job_failed"]
    assert [(entry["level"], entry["job"]) for entry in failed] == [("critical", "control")]
    assert "ZeroDivisionError" in failed[0]["error"]


def test_a_port_that_is_taken_is_told_and_nothing_is_left(tmp_path):
    async def live():
        async with farm_of(SMALL) as farm, daemon_of(tmp_path / "one", SMALL, farm) as site:
            port = site.daemon.port
            with pytest.raises(OSError, match=r"in use|already"):
                await again(tmp_path / "two", farm, port)
            await site.plant(5)

    async def again(folder, farm, port):
        from tests.support import whole as support

        write = support.write_installation

        def with_port(*args):
            path = write(*args)
            path.write_text(path.read_text().replace('"127.0.0.1:0"', f'"127.0.0.1:{port}"'))
            return path

        support.write_installation = with_port
        try:
            async with daemon_of(folder, SMALL, farm):
                pass
        finally:
            support.write_installation = write

    run_virtual(live())


def test_the_token_is_made_once_and_only_its_owner_reads_it(tmp_path):
    folder = tmp_path / "state"
    token = own_token(folder)
    assert len(token) >= 32
    path = folder / "api.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert own_token(folder) == token
    assert [item.name for item in folder.iterdir()] == ["api.token"]


@pytest.mark.parametrize("content", ["", "\n", "  "])
def test_an_empty_token_file_lets_nobody_in(tmp_path, content):
    (tmp_path / "api.token").write_text(content)
    assert len(own_token(tmp_path)) >= 32


def _open_to_all(path):
    path.write_text("a-token-that-others-have-read\n")
    path.chmod(0o644)


def _two_lines(path):
    path.write_text("one\ntwo\n")
    path.chmod(0o600)


def _bytes(path):
    path.write_bytes(b"\xff\xfe\0")
    path.chmod(0o600)


@pytest.mark.parametrize("spoil", [_open_to_all, _two_lines, _bytes, lambda path: path.mkdir()])
def test_a_token_file_that_cannot_be_trusted_is_a_named_error(tmp_path, spoil):
    spoil(tmp_path / "api.token")
    with pytest.raises(ConfigError, match=r"api\.token") as caught:
        own_token(tmp_path)
    assert "others-have-read" not in str(caught.value)


def test_a_token_file_that_is_a_loop_of_links_is_replaced(tmp_path):
    path = tmp_path / "api.token"
    path.symlink_to(path)
    token = own_token(tmp_path)
    assert not path.is_symlink()
    assert own_token(tmp_path) == token


@virtual
async def test_an_option_that_a_driver_does_not_take_names_its_slot():
    spec = RigSpec(RigName("s19-007"), "antminer", "127.0.0.1", options={"rpc_port": "x"})
    async with Io() as io:
        with pytest.raises(ConfigError, match=r"slot s19-007: .*rpc_port"):
            open_rigs(SimpleNamespace(specs=lambda: [spec]), io)
