"""Every row can be measured: tiny sizes, nothing asserted about time. Keeps the benchmark from rotting unseen."""

import math

import pytest

from shedload import hashing
from shedload.device import BoardReading, Identity, PoolReading, Telemetry
from tests.bench import __main__ as bench
from tests.bench.exchange import measure_exchange
from tests.bench.fields import missing_fields
from tests.bench.kernel import measure_decode, measure_scan
from tests.bench.machine import BenchError, Child, Watch, cores, resident_mb
from tests.bench.site import measure_site
from tests.bench.tarpit import measure_tarpits
from tests.support.peers import missing

pytestmark = pytest.mark.xdist_group("bench")  # fixed ports, and the cores are pinned


def measured(row):
    assert row.value is not None
    assert row.value > 0
    assert math.isfinite(row.value)
    if row.reference is not None:
        assert row.ratio == pytest.approx(row.value / row.reference_value)


@pytest.mark.slow
def test_an_exchange():
    measured(measure_exchange(1, 0.05))


def test_decoding_and_hashing():
    measured(measure_decode(1, 0.01))
    if hashing.backend == "hashlib":
        missing("the C extension was not built")
    measured(measure_scan(1, 0.01))


@pytest.mark.slow
def test_tar_pits():
    row = measure_tarpits(1, rigs=20, interval=1.0, warm_up=1.1, calm=0.6, storm=0.6, settle=0.0)
    measured(row)
    assert "readings of healthy rigs" in row.note


@pytest.mark.slow
def test_the_whole_daemon():
    rows = measure_site(rigs=20, warm_up=0.2, window=0.5, windows=1)
    assert [row.name for row in rows] == ["daemon_1000_cpu", "daemon_1000_rss"]
    assert rows[1].value > 10


def test_rows_have_the_names_that_were_agreed():
    assert sorted(name for names, _ in bench.GROUPS for name in names) == sorted(bench.ORDER)


def test_a_child_that_cannot_start_is_named():
    with pytest.raises(BenchError, match="no_such_task"):
        Child("tests.bench.kernel:no_such_task", {}, core=cores()[0])


def test_a_process_is_watched():
    with Child("tests.bench.kernel:decoding", {}, core=cores()[0]) as child:
        watch = Watch(child.pid)
        child.ask(which=1, seconds=0.1)
        assert watch.share() > 0
        assert resident_mb(child.pid) > 5


class Theirs:
    """What `missing_fields` needs of pyasic's models."""

    def __init__(self, **fields):
        self.__dict__.update(fields)
        type(self).model_fields = dict.fromkeys(fields)


class TheirRig(Theirs):
    pass


class TheirBoard(Theirs):
    pass


class TheirPool(Theirs):
    pass


def test_a_field_that_only_they_fill_is_named():
    data = TheirRig(
        ip="10.0.0.1", mac="02:51:7F:00:00:01", hostname="rig", uptime=7, voltage=12.5, wattage=None,
        hashboards=[TheirBoard(chips=114, missing=False), TheirBoard(chips=114, missing=False)],
        pools=[TheirPool(url="stratum+tcp://p:1", get_failures=0)],
    )  # fmt: skip
    ours = Telemetry(
        uptime=7.0,
        identity=Identity(mac="02:51:7f:00:00:01"),
        boards=(BoardReading(1, chips=114),),
        pools=(PoolReading(0, "stratum+tcp://p:1", "w"),),
    )
    filled, lacking = missing_fields(data, ours)
    assert {"mac", "hostname", "uptime", "voltage", "board.chips", "pool.url", "pool.get_failures"} <= filled
    assert lacking == {"hostname", "voltage", "board.chips", "pool.get_failures"}
