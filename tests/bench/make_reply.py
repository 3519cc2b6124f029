"""Makes `data/s19pro-stats-16-slots.json`: the recorded S19 Pro reply with the chain slots that older builds list.

Run once, `python -m tests.bench.make_reply`; the file it wrote is committed.
"""

import json
from pathlib import Path

from tests.bench.machine import ROOT

CAPTURE = ROOT / "tests/captures/antminer/s19pro-rpc-2022-12-with-s21-sysinfo.json"
TARGET = Path(__file__).parent / "data" / "s19pro-stats-16-slots.json"
SLOTS, FANS = 16, 8


def main() -> None:
    """Write the file."""
    reply = json.loads(CAPTURE.read_text())["responses"]["rpc:stats"]
    row = reply["STATS"][1]
    for fan in range(5, FANS + 1):
        row[f"fan{fan}"] = 0
    for slot in range(1, SLOTS + 1):
        for name, empty in EMPTY.items():
            row.setdefault(f"{name}{slot}", empty)
        if row[f"chain_acn{slot}"]:
            row[f"chain_rateideal{slot}"] = "36666.67"
            row[f"freq_avg{slot}"] = 525.0
            row[f"chain_avgrate{slot}"] = row[f"chain_rate{slot}"]
            row[f"chain_xtime{slot}"] = "{}"
    TARGET.write_text(json.dumps(reply, separators=(",", ":"), sort_keys=False))


EMPTY = {
    "chain_acn": 0, "chain_acs": "", "chain_hw": 0, "chain_rate": "", "freq": 0, "freq_avg": 0.0,
    "temp_pcb": "0-0-0-0", "temp_chip": "0-0-0-0", "temp_pic": "0-0-0-0",
    "chain_rateideal": "", "chain_avgrate": "", "chain_xtime": "{}", "chain_offside_": "0", "chain_opencore_": "0",
}  # fmt: skip

if __name__ == "__main__":
    main()
