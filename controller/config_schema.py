"""Which keys and choices the settings have at a place: food for "did you mean"."""

from functools import cache
from typing import Any

from controller.settings import Config
from controller.toml_lines import Place


@cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()


def keys_at(place: Place) -> tuple[str, ...]:
    """Keys that may stand in the table at a place, of all variants where the table has several."""
    keys: dict[str, None] = {}
    for node in _nodes(place):
        keys.update(dict.fromkeys(node.get("properties", {})))
    return tuple(keys)


def choices_at(place: Place) -> tuple[str, ...]:
    """Words that a key takes, empty where it takes any."""
    choices: dict[str, None] = {}
    for node in _nodes(place):
        values = node.get("enum", [node["const"]] if "const" in node else [])
        choices.update(dict.fromkeys(str(value) for value in values))
    return tuple(choices)


def section_with(key: str) -> str | None:
    """The first section that has such a key."""
    for section in keys_at(()):
        if key in keys_at((section,)):
            return section
    return None


def _nodes(place: Place) -> list[dict[str, Any]]:
    nodes = _variants(_schema())
    for part in place:
        nodes = [variant for node in nodes for child in _children(node, part) for variant in _variants(child)]
    return nodes


def _children(node: dict[str, Any], part: str | int) -> list[dict[str, Any]]:
    if isinstance(part, int):
        return [node["items"]] if "items" in node else []
    if part in node.get("properties", {}):
        return [node["properties"][part]]
    rest = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), None)
    return [rest] if isinstance(rest, dict) else []


def _variants(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The node itself, or what its references and unions stand for."""
    if "$ref" in node:
        return _variants(_schema()["$defs"][node["$ref"].rsplit("/", 1)[-1]])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in node:
            return [variant for member in node[union] for variant in _variants(member)]
    return [node]
