"""The table of cells of a grid: its settings by the levels of their factors."""

from dataclasses import dataclass
from itertools import product

from flowercls.compare.grouping import Setting, level_order
from flowercls.evaluate.significance.factors import Factors


@dataclass(frozen=True)
class CellTable:
    """The settings of a grid, arranged by their levels.

    Attributes:
        row_factors: The factors of the rows.
        column_factor: The factor with most levels, the last of several.
        rows: By row: the level of each factor.
        columns: Levels of ``column_factor``.
        settings: By row and column: the name of the setting; None if it is missing.
    """

    row_factors: list[str]
    column_factor: str
    rows: list[dict[str, str]]
    columns: list[str]
    settings: list[list[str | None]]


def cell_table(factors: Factors, settings: list[Setting]) -> CellTable:
    """Arrange the settings of a grid, also of an incomplete one; rows and columns are in the order of their levels."""
    levels = {name: sorted({setting.levels[name] for setting in settings}, key=level_order) for name in factors.names}
    column_factor = max(reversed(factors.names), key=lambda name: len(levels[name]))
    row_factors = [name for name in factors.names if name != column_factor]
    found = {tuple(setting.levels[name] for name in factors.names): setting.name for setting in settings}
    rows = [dict(zip(row_factors, row, strict=True)) for row in product(*(levels[name] for name in row_factors))]
    cells = [
        [
            found.get(tuple({**row, column_factor: level}[name] for name in factors.names))
            for level in levels[column_factor]
        ]
        for row in rows
    ]
    return CellTable(row_factors, column_factor, rows, levels[column_factor], cells)
