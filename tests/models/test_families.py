"""Every family of backbones in a tiny size: cut, trained through its parts, and frozen in all six ways."""

import pytest

from helpers.families import FAMILIES, build, photos

# At every run two of the six ways to freeze; the others are 80 trainings more.
FROZEN = [pytest.param(n, marks=() if n in (2, 'all') else pytest.mark.slow) for n in (0, 1, 2, 3, 4, 'all')]


@pytest.mark.parametrize('family', FAMILIES)
def test_prefix_and_suffix_are_the_backbone_bit_for_bit(family, check_cuts):
    check_cuts(build(family).eval().backbone, photos())


@pytest.mark.parametrize('family', FAMILIES)
def test_training_through_the_parts_is_the_backbones_own(family, check_cuts_in_training):
    check_cuts_in_training(lambda: build(family), photos())


@pytest.mark.parametrize('frozen', FROZEN)
@pytest.mark.parametrize('family', FAMILIES)
def test_training_moves_what_is_trainable_and_nothing_else(family, frozen, check_freezing):
    check_freezing(build(family, frozen), photos(4))
