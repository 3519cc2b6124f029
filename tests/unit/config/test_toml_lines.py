"""Lines of keys, for everything that TOML lets one write."""

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from controller.toml_lines import TomlLines

TEXT = '''\
# comment with [brackets] and a = b
top = 1
[a]
x = """
y = not a key
[z]
""" # still the value
y = [
  1, # ]
  "]",
]
b.c = 2
"quoted key" = 'lit # eral'

[[pools]]
url = "a"
[pools.extra]
k = { i = 1, j = "}" }
[[pools]]

  url = "b"
[ a . d ]
e = \'\'\'
[f]
\'\'\'
g = 1
'''


def test_lines():
    lines = TomlLines(TEXT)
    assert lines.line(("top",)) == 2
    assert lines.line(("a",)) == 3
    assert lines.line(("a", "x")) == 4
    assert lines.line(("a", "y")) == 8
    assert lines.line(("a", "b", "c")) == 12
    assert lines.line(("a", "quoted key")) == 13
    assert lines.line(("pools", 0)) == 15
    assert lines.line(("pools", 0, "url")) == 16
    assert lines.line(("pools", 0, "extra")) == 17
    assert lines.line(("pools", 0, "extra", "k", "i")) == 18
    assert lines.line(("pools", 1)) == 19
    assert lines.line(("pools", 1, "url")) == 21
    assert lines.line(("a", "d")) == 22
    assert lines.line(("a", "d", "g")) == 26


def test_the_nearest_place_stands_for_what_is_missing():
    lines = TomlLines(TEXT)
    assert lines.line(("a", "missing")) == 3
    assert lines.line(("pools", 1, "user")) == 19
    assert lines.line(("nowhere",)) is None
    assert lines.line(()) is None


KEY = st.text(st.sampled_from("ab_-\"'#=.[] é"), min_size=1, max_size=5)
VALUE = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(st.sampled_from("ab\"'#=[]{}\\\n "), max_size=12),
    st.lists(st.integers(), max_size=3),
)


@given(st.dictionaries(KEY, VALUE, max_size=6), st.booleans())
def test_every_key_is_found_where_it_was_written(table, multi_line):
    lines, places, number = [], {}, 1
    for key, value in table.items():
        shown = json.dumps(value)
        if multi_line and isinstance(value, list):
            shown = shown.replace("]", "\n]").replace(", ", ", # ]\n")
        elif multi_line and isinstance(value, str):
            shown = '"""' + value.replace("\\", "\\\\").replace('"', '\\"') + '"""'
        lines.append(f"{json.dumps(key)} = {shown} # end\n")
        places[key] = number
        number += lines[-1].count("\n")
    text = "".join(lines)
    assert tomllib.loads(text) is not None
    found = TomlLines(text)
    assert {key: found.line((key,)) for key in table} == places
