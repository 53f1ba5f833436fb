"""Pieces of sentences and of tables: lists of names, p-values, numbers of points."""

from collections.abc import Sequence

NUM_NAMED = 3  # names in a sentence; the rest is counted


def named(names: Sequence[str]) -> str:
    """Return names in a row, of which only the first are told: ``lr=1, depth=50; lr=2, depth=50 and 12 more``."""
    first = '; '.join(names[:NUM_NAMED])
    return f'{first} and {len(names) - NUM_NAMED:,} more' if len(names) > NUM_NAMED else first


def p_text(p_value: float) -> str:
    """Return a p-value for a table: ``0.16``, or the bound ``< 0.001``."""
    return '< 0.001' if p_value < 0.001 else f'{p_value:.2g}'


def p_equation(p_value: float) -> str:
    """Return a p-value for a sentence: ``p = 0.16`` or ``p < 0.001``."""
    text = p_text(p_value)
    return f'p {text}' if text.startswith('<') else f'p = {text}'
