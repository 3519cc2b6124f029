"""The command `shedload`: runs the command line and turns every failure into words and an exit code.

0 done    1 failed, or something wants attention    2 wrong usage or configuration    130 interrupted
"""

import os
import sys
from collections.abc import Sequence

from controller.cli.app import app
from controller.cli.trouble import Trouble
from shedload.errors import ConfigError, ShedloadError, StoreError

FAILED, WRONG, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends in SystemExit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="shedload")
    except Exception as error:
        if "--debug" in given:
            raise
        sys.exit(_explain(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _explain(error: BaseException) -> int:
    """Say what went wrong, where, and what to do; returns the exit code."""
    match error:
        case ConfigError():
            return _say(str(error), WRONG)
        case Trouble():
            return _say(str(error), error.code)
        case StoreError():
            return _say(
                f"{error}\nStop the other daemon if one runs, or see that state_dir under [site] can be written.",
                FAILED,
            )
        case ShedloadError():
            return _say(str(error), FAILED)
        case BrokenPipeError():
            # Whoever read our output has enough; what Python still holds must not fail once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        case BaseExceptionGroup():
            codes = [_explain(inner) for inner in error.exceptions]
            return max(codes)
        case OSError():
            return _say(str(error), FAILED)
    return _say(f"internal error: {type(error).__name__}: {error}\nRun again with --debug to see where.", FAILED)


def _say(text: str, code: int) -> int:
    for line in text.splitlines():
        print(f"shedload: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
