"""What is measured: how much of the network is frozen, and whether the frozen part's output is kept."""

from dataclasses import dataclass

STOCK, OURS, BARE = 'stock', 'ours', 'bare'
CONTESTANTS = (STOCK, OURS, BARE)


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        frozen: As ``model.frozen_stages``.
        cached: Whether the frozen part's output is kept; mmpretrain cannot, and trains as without.
    """

    frozen: int | str
    cached: bool = False

    @property
    def name(self) -> str:
        """``full``, ``frozen 3``, ``frozen all cached``; as on the command line, with ``-`` for a blank."""
        kind = f'frozen {self.frozen}' if self.frozen else 'full'
        return f'{kind} cached' if self.cached else kind


CASES = (*map(Case, (0, 1, 2, 3, 'all')), *(Case(frozen, cached=True) for frozen in (1, 2, 3, 'all')))


def cases_named(names: list[str] | None) -> list[Case]:
    """The cases of the names on the command line; all of them for None.

    Raises:
        KeyError: if there is no such case.
    """
    known = {case.name.replace(' ', '-'): case for case in CASES}
    return list(CASES) if names is None else [known[name] for name in names]
