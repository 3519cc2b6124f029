"""Bar charts over time with a line across them, from block characters: any terminal of 80 columns shows them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

EIGHTHS = " ▁▂▃▄▅▆▇█"
LINE = "━"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the bar's value and the line's, None where unknown; `style` is the bar's colour."""

    value: float | None
    line: float | None = None
    style: str = "green"


def chart(columns: Sequence[Column], rows: int, top: float, line_style: str) -> list[Text]:
    """Rows from top to bottom, one character a column; `top` is the value at the upper edge."""
    lines = []
    for row in range(rows - 1, -1, -1):
        text = Text()
        for column in columns:
            fill = 0.0 if column.value is None else min(1.0, max(0.0, column.value / top * rows - row))
            if column.line is not None and min(rows - 1, int(max(0.0, column.line) / top * rows)) == row:
                text.append(LINE, f"{line_style} on {column.style}" if fill > 0.5 else line_style)
            else:
                text.append(EIGHTHS[round(fill * 8)], column.style)
        lines.append(text)
    return lines


def binned(samples: Iterable[tuple[float, float | None]], columns: int, end: float) -> list[float | None]:
    """Means of (x, value) over equal pieces of 0 to `end`; a piece without a value is None."""
    sums, counts = [0.0] * columns, [0] * columns
    for x, value in samples:
        place = int(x / end * columns)
        if value is not None and 0 <= place < columns:
            sums[place] += value
            counts[place] += 1
    return [total / count if count else None for total, count in zip(sums, counts, strict=True)]


def hours_axis(columns: int) -> Text:
    """Hours of a day under a chart."""
    marks = [" "] * (columns + 2)
    for hour in range(0, 24, 3 if columns >= 48 else 6):
        at = int(hour / 24 * columns)
        marks[at : at + 2] = f"{hour:02d}"
    return Text("".join(marks)[:columns], "dim")
