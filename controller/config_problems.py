"""Turns what pydantic found into sentences for the operator: which line and key, what stands there, what would do.

ValidationError + text --> explain() --> ConfigError ... --> ConfigProblems
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from controller.config_schema import choices_at, keys_at, section_with
from controller.toml_lines import Place, TomlLines
from shedload.errors import ConfigError

MAX_SHOWN = 60
"""Characters of a wrong value that are quoted."""

SECRET_WORDS = ("passw", "token", "secret", "credential")
"""The value of a key with such a word in it is never quoted."""

UNITS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "_kw": ("kilowatts", {"w": 1e-3, "kw": 1.0, "mw": 1e3, "gw": 1e6}),
    "_kw_per_min": ("kilowatts per minute", {"w": 1e-3, "kw": 1.0, "mw": 1e3}),
    "_s": ("seconds", {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}),
    "_c": ("degrees Celsius", {"c": 1.0, "°c": 1.0}),
    "_percent": ("percent", {"%": 1.0}),
}
"""Ends of keys: the unit they stand for, and the units that can be turned into it."""

QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([^\s0-9/]+).*", re.DOTALL)


class ConfigProblems(ConfigError):
    """Everything that is wrong with a file; as text one problem a line, `problems` has them one by one."""

    def __init__(self, problems: Sequence[ConfigError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.where, first.problem, first.remedy)

    def __str__(self) -> str:
        return "\n".join(ConfigError.__str__(problem) for problem in self.problems)


class Locator:
    """Names places of one file: `file:line: section.key`."""

    def __init__(self, path: Path, table: Mapping[str, Any], lines: TomlLines) -> None:
        self.path = path
        self.table = table
        self._lines = lines

    def where(self, place: Place) -> str:
        """File, line and key of a place."""
        line = self._lines.line(place)
        position = str(self.path) if line is None else f"{self.path}:{line}"
        return f"{position}: {_dotted(place)}" if place else position

    def problem(self, place: Place, problem: str, remedy: str = "") -> ConfigError:
        """An error at a place."""
        return ConfigError(self.where(place), problem, remedy)


def explain(error: ValidationError, locator: Locator) -> list[ConfigError]:
    """Every problem in the order of the file's sections, without quoting anything secret."""
    return [_explain(details, locator) for details in error.errors(include_url=False)]


def _explain(details: ErrorDetails, locator: Locator) -> ConfigError:
    kind = details["type"]
    context: Mapping[str, Any] = details.get("ctx", {})
    place = _place(details["loc"], locator.table)
    if kind == "missing":
        place = (*place, details["loc"][-1])
    elif kind.startswith("union_tag"):
        place = (*place, str(context["discriminator"]).strip("'"))
    elif key := context.get("key"):
        return locator.problem((*place, key), str(context["problem"]), str(context["remedy"]))
    shown = _shown(place, context.get("tag", details["input"]))
    tell = SENTENCES.get(kind, _other)
    problem, remedy = tell(place, shown, {**context, "message": details["msg"], "input": details["input"]})
    return locator.problem(place, problem, remedy)


def _place(loc: Sequence[str | int], table: Any) -> Place:
    """The keys that really stand in the file: pydantic also names the chosen member of a union and validators."""
    place: Place = ()
    node, chosen = table, False
    for part in loc:
        if isinstance(node, dict) and not chosen and node.get("source") == part:
            chosen = True
        elif _holds(node, part):
            place, node, chosen = (*place, part), node[part], False
    return place


def _holds(node: Any, part: str | int) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and 0 <= part < len(node)


def _dotted(place: Place) -> str:
    """Keys with dots; an element of an array by its number from 1, as people count."""
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _shown(place: Place, value: Any) -> str:
    """The value as text, bounded and on one line; empty where it is secret or a whole table."""
    if any(word in str(part).lower() for part in place for word in SECRET_WORDS):
        return ""
    if not isinstance(value, str | int | float | bool):
        return ""
    text = json.dumps(value, ensure_ascii=not (isinstance(value, str) and value.isprintable()))
    text = re.sub(r"//.*@", "//***@", text)
    text = re.sub(r"(//[^?]*\?).*(?=\")", r"\1***", text)  # a query may hold a token
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _unknown_key(place: Place, _shown: str, _context: Mapping[str, Any]) -> tuple[str, str]:
    key = str(place[-1])
    known = keys_at(place[:-1])
    if close := get_close_matches(key, known, n=1, cutoff=0.6):
        return "unknown key", f'did you mean "{close[0]}"?'
    if section := section_with(key):
        return "unknown key here", f"it belongs under [{section}]"
    return "unknown key", f"known here: {', '.join(sorted(known))}" if known else ""


def _missing(place: Place, _shown: str, _context: Mapping[str, Any]) -> tuple[str, str]:
    key = str(place[-1])
    if len(place) == 1:
        return "the section is missing", f"add [{key}]"
    choices = choices_at(place)
    return "is missing", f"add {key} = {' or '.join(choices) if choices else _wanted(key)}"


def _wanted(key: str) -> str:
    unit = _unit(key)
    return f"a number of {unit[0]}" if unit else "..."


def _number(place: Place, shown: str, context: Mapping[str, Any]) -> tuple[str, str]:
    key = str(place[-1])
    problem = f"{shown} is not a number" if shown else "is not a number"
    if (unit := _unit(key)) is None:
        return problem, "write a bare number without quotes"
    name, factors = unit
    match = QUANTITY.fullmatch(context["input"]) if isinstance(context["input"], str) else None
    factor = factors.get(match[2].lower()) if match else None
    example = f": {key} = {float(match[1]) * factor:g}" if match and factor else ""
    return problem, f"write {name} as a bare number{example}"


def _unit(key: str) -> tuple[str, Mapping[str, float]] | None:
    for end in sorted(UNITS, key=len, reverse=True):
        if key.endswith(end):
            return UNITS[end]
    return None


def _choice(place: Place, shown: str, context: Mapping[str, Any]) -> tuple[str, str]:
    choices = choices_at(place) or tuple(re.findall(r"'([^']*)'", str(context.get("expected_tags", ""))))
    close = get_close_matches(str(context.get("tag", context["input"])).lower(), choices, n=1, cutoff=0.5)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return f"{shown} is not a choice".lstrip(), f"{hint}choices: {', '.join(choices)}"


def _no_tag(place: Place, _shown: str, _context: Mapping[str, Any]) -> tuple[str, str]:
    return "is missing", f"choices: {', '.join(choices_at(place))}"


def _limit(words: str, bound: str) -> Callable[[Place, str, Mapping[str, Any]], tuple[str, str]]:
    def tell(place: Place, shown: str, context: Mapping[str, Any]) -> tuple[str, str]:
        unit = _unit(str(place[-1]))
        return f"{shown} is out of range".lstrip(), f"{words} {context[bound]:g}{f' {unit[0]}' if unit else ''}"

    return tell


def _pattern(_place: Place, shown: str, context: Mapping[str, Any]) -> tuple[str, str]:
    problem = f"{shown} is not a valid name".lstrip()
    if "A-Z]{3}" in context["pattern"]:
        return f"{shown} is not a currency".lstrip(), 'use three capital letters such as "USD" or "KZT"'
    return problem, "use letters, digits, dots, dashes and underscores, at most 64, a letter or digit first"


def _wrong_type(wanted: str) -> Callable[[Place, str, Mapping[str, Any]], tuple[str, str]]:
    def tell(_place: Place, shown: str, _context: Mapping[str, Any]) -> tuple[str, str]:
        return f"{shown or 'the value'} is of the wrong type", f"write {wanted}"

    return tell


def _setting(_place: Place, shown: str, context: Mapping[str, Any]) -> tuple[str, str]:
    return f"{shown} {context['problem']}".lstrip(), str(context["remedy"])


def _other(_place: Place, shown: str, context: Mapping[str, Any]) -> tuple[str, str]:
    message = str(context["message"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{shown}: {message}" if shown else message, ""


SENTENCES: Mapping[str, Callable[[Place, str, Mapping[str, Any]], tuple[str, str]]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "float_type": _number,
    "float_parsing": _number,
    "int_type": _wrong_type("a whole number without quotes"),
    "int_from_float": _wrong_type("a whole number without quotes"),
    "finite_number": _number,
    "enum": _choice,
    "literal_error": _choice,
    "union_tag_invalid": _choice,
    "union_tag_not_found": _no_tag,
    "greater_than": _limit("must be above", "gt"),
    "greater_than_equal": _limit("must be at least", "ge"),
    "less_than": _limit("must be below", "lt"),
    "less_than_equal": _limit("must be at most", "le"),
    "string_pattern_mismatch": _pattern,
    "string_type": _wrong_type("text in quotes"),
    "bool_type": _wrong_type("true or false"),
    "dict_type": _wrong_type("a table"),
    "model_type": _wrong_type("a table"),
    "model_attributes_type": _wrong_type("a table"),
    "tuple_type": _wrong_type("a list, or [[double brackets]] for a list of tables"),
    "list_type": _wrong_type("a list in [brackets]"),
    "setting": _setting,
}
