"""Where output goes: results on stdout, everything else on stderr; colour only on a terminal."""

import sys

import orjson
from rich.console import Console

PLAIN_WIDTH = 120
"""Columns where no terminal says how many it has: tables in a log should not be cut to 80."""


def out() -> Console:
    """For results."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, soft_wrap=False)


def err() -> Console:
    """For progress, questions and remarks."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH, highlight=False)


def say_json(value: object) -> None:
    """A result for programs."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
