"""One process of a benchmark: `python -m tests.bench.child MODULE:TASK CORE OPTIONS`, on uvloop, pinned to one core.

Says one line of JSON when ready, then answers each line that comes in, and ends when its input does.
"""

import asyncio
import importlib
import json
import os
import sys
from typing import Any

import uvloop


def main(arguments: list[str]) -> None:
    """Run the task until the end of the input."""
    place, core, options = arguments
    os.sched_setaffinity(0, {int(core)})
    module, _, name = place.partition(":")
    task = getattr(importlib.import_module(module), name)
    uvloop.run(_serve(task, json.loads(options)))


async def _serve(task: Any, options: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with task(**options) as answer:
            _say({"ready": True})
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                _say(await answer(**json.loads(line)))
    except Exception as error:
        _say({"error": f"{type(error).__name__}: {error}"})
        raise


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
