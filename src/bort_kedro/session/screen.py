"""Tables and sentences that fit one screen: the most important rows, sentences and columns, none of them wrapped."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "
# Of a table, for which all sentences but the first give way.
ROWS_BEFORE_SENTENCES = 3


@dataclass(frozen=True)
class Section:
    """A table with its sentences.

    Args:
        rows: Cells, the most important row first; that one is always shown.
        last: A row beneath them that is always shown.
        sentences: Beneath the table, the most important first, as far as there is room.
        by_rank: Columns that a narrow terminal may leave out, the most important first.
    """

    title: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    last: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    by_rank: tuple[str, ...] = ()

    @property
    def num_lines(self) -> int:
        """Lines that it takes in any case."""
        return 1 + bool(self.header) + bool(self.rows) + bool(self.last)

    def lines(self, room: int, width: int) -> list[str]:
        """As many lines as there is room for, those of `num_lines` among them."""
        columns, left_out = self._columns(width)
        first, *others = [*self.sentences, f"A wider terminal shows {', '.join(left_out)}, too." if left_out else ""]
        room -= self.num_lines
        beneath = _fitting([first], room, width)
        in_any_case = min(len(self.rows), ROWS_BEFORE_SENTENCES) - 1
        beneath += _fitting(others, room - len(beneath) - in_any_case, width)
        rows = self.rows[: 1 + room - len(beneath)]
        title = self.title if len(rows) == len(self.rows) else f"{self.title} ({len(rows)} of {len(self.rows)})"
        table = [row for row in (self.header, *rows, self.last) if row]
        return [title, *_aligned([[row[place] for place in columns] for row in table]), *beneath]

    def _columns(self, width: int) -> tuple[list[int], list[str]]:
        """Places of the columns that fit, and names of the others."""
        table = [row for row in (self.header, *self.rows, self.last) if row]
        widths = [max(map(len, cells)) + len(GAP) for cells in zip(*table, strict=True)]
        shown = {place for place, name in enumerate(self.header) if name not in self.by_rank}
        left_out = []
        for name in (name for name in self.by_rank if name in self.header):
            place = self.header.index(name)
            if sum(widths[each] for each in shown | {place}) - len(GAP) <= width:
                shown.add(place)
            else:
                left_out.append(name)
        return sorted(shown), left_out


def _fitting(sentences: Sequence[str], room: int, width: int) -> list[str]:
    """Lines of the sentences that fit whole."""
    fitting: list[str] = []
    for sentence in sentences:
        lines = textwrap.wrap(sentence, width)
        fitting += lines if len(fitting) + len(lines) <= room else []
    return fitting


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Numbers to the right, words to the left."""
    columns = []
    for head, *cells in zip(*table, strict=True):
        width = max(map(len, (head, *cells)))
        are_numbers = all(cell[:1] in "+-–0123456789" for cell in cells)
        columns.append([text.rjust(width) if are_numbers else text.ljust(width) for text in (head, *cells)])
    return [GAP.join(cells).rstrip() for cells in zip(*columns, strict=True)]


def screen(sections: Sequence[Section], ends: Sequence[str], *, height: int, width: int) -> list[str]:
    """Lines of all sections, the later ones first where there is little room, and those at the end in any case."""
    room = height - len(ends) - sum(each.num_lines for each in sections)
    shown: list[list[str]] = []
    for section in reversed(sections):
        lines = section.lines(section.num_lines + max(0, room), width)
        room -= len(lines) - section.num_lines
        shown.insert(0, lines)
    return [*(line for lines in shown for line in lines), *ends]
