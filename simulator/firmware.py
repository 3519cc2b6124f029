"""Stock firmware builds that a simulated Antminer can run, as data; each quirk was seen on real machines."""

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.models import Generation


@dataclass(frozen=True, slots=True)
class Firmware:
    """One build. The switches say where it departs from the plain form."""

    compile_time: str
    filesystem: str
    kernel: str
    miner: str = "49.0.1.3"  # VERSION.Miner and INFO.miner_version
    generation: Generation = Generation.NEW
    new_api: bool = False  # answers the web's shape on the socket when asked with "new_api": true
    joins: bool = False  # takes "summary+pools"
    glued: bool = False  # writes }{ between STATS[0] and STATS[1]
    first_chain: int = 1
    first_fan: int = 1
    config_open: bool = False  # answers `config` although it is in no api-group
    chain_power: bool = False  # has the draw in STATS[1]
    devs_rate: bool = False  # devs carries GH/s under the names of MH/s; otherwise zero
    temperature_key: str = "Temperature"
    scientific_total: bool = False  # Total MH as 1.2009939119E+13
    missing_fan_ctrl: bool = False  # get_miner_conf has no value behind bitmain-fan-ctrl
    mode_key: str = "miner-mode"  # the key that a write is read for
    whole_configuration: bool = False  # a write that leaves a key out is an error
    text_modes: bool = False  # a mode that is not a string is passed over
    first_challenge_drop: bool = False  # hangs up on the first request of a client without a nonce


FIRMWARES: Mapping[str, Firmware] = {
    "s9-2019": Firmware(
        compile_time="Mon Nov 25 17:20:55 CST 2019",
        filesystem="Mon Nov 25 17:20:55 CST 2019",
        kernel="Linux 3.14.0-xilinx-gb190cb0-dirty #57 SMP PREEMPT Fri Dec 9 14:49:22 CST 2016",
        miner="16.8.1.3",
        generation=Generation.OLD,
        joins=True,
        glued=True,
        first_chain=6,
        first_fan=3,
    ),
    "s17-2020": Firmware(
        compile_time="Thu May 28 19:47:29 CST 2020",
        filesystem="Thu May 28 19:47:29 CST 2020",
        kernel="Linux 4.6.0-xilinx-g03c746f7 #1 SMP PREEMPT Fri Jul 27 11:17:51 CST 2018",
        generation=Generation.X17,
        joins=True,
        glued=True,
    ),
    "s19-2020": Firmware(
        compile_time="Fri Dec 11 11:15:40 CST 2020",
        filesystem="Fri Dec 11 11:15:40 CST 2020",
        kernel="Linux 4.6.0-xilinx-g03c746f7 #1 SMP PREEMPT Mon Aug 31 11:04:12 CST 2020",
        temperature_key="Tenperature",
    ),
    "s19-2022": Firmware(
        compile_time="Tue Dec  6 16:12:30 CST 2022",
        filesystem="Tue Dec  6 16:12:30 CST 2022",
        kernel="Linux 4.6.0-xilinx-g03c746f7 #1 SMP PREEMPT Tue Dec 6 15:58:02 CST 2022",
        temperature_key="Tenperature",
    ),
    "s19-2023": Firmware(
        compile_time="Fri Sep 15 14:33:49 CST 2023",
        filesystem="Fri Sep 15 14:33:49 CST 2023",
        kernel="Linux 4.9.38-tag- #1 SMP PREEMPT Fri Sep 15 14:20:11 CST 2023",
        miner="uart_trans.1.3",
        new_api=True,
        devs_rate=True,
    ),
    "s21-2024": Firmware(
        compile_time="Thu Jul 11 16:38:25 CST 2024",
        filesystem="Thu Jul 11 16:38:25 CST 2024",
        kernel="Linux 4.9.113 #1 SMP PREEMPT Thu Jul 11 17:01:13 CST 2024",
        miner="uart_trans.1.3",
        new_api=True,
        config_open=True,
        chain_power=True,
        devs_rate=True,
        scientific_total=True,
    ),
    "s21-2025": Firmware(
        compile_time="Thu Oct 9 18:55:45 CST 2025",
        filesystem="FR-1.12(251009-S21)",
        kernel="Linux 4.9.113 #1 SMP PREEMPT Thu Oct 9 18:55:45 CST 2025",
        miner="uart_trans.1.3",
        new_api=True,
        config_open=True,
        chain_power=True,
        devs_rate=True,
        mode_key="bitmain-work-mode",
        whole_configuration=True,
    ),
}

QUIRKS = frozenset(
    name for name, value in Firmware.__dataclass_fields__.items() if value.type is bool or value.type == "bool"
)
"""Switches that a farm file may turn on for a group of rigs."""
