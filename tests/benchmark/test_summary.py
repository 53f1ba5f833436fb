"""Medians, ratios and the table, by hand."""

import io

import pytest
from rich.console import Console

from flowercls.benchmark.cases import CASES, Case, cases_named
from flowercls.benchmark.summary import as_table, summarise


def rounds(*rates, waited=0.0):
    memory = {'memory': 3 * 2**30, 'worker_memory': 0, 'gpu_memory': 0}
    first = {'imports_s': 1.0, 'first_step_s': 2.5, 'again_s': 1.25}
    return [first, *({'photos': rate * 2, 'seconds': 2.0, 'waited': waited, **memory} for rate in rates)]


ANSWERS = {'stock': rounds(1, 2, 4), 'ours': rounds(6, 8, 12, waited=0.1), 'bare': rounds(8, 8, 12)}


def test_ratios_are_medians_over_rounds_in_turns():
    found = summarise(ANSWERS)
    assert found['to_stock'] == 4.0 and found['to_bare'] == 1.0  # of 6, 4, 3 and 0.75, 1, 1
    ours = found['contestants']['ours']
    assert (ours['median'], ours['lowest'], ours['highest']) == (8, 6, 12)
    assert ours['waiting'] == pytest.approx(0.05)


def test_without_a_contestant_there_is_no_ratio():
    assert summarise({'ours': ANSWERS['ours']})['to_stock'] is None


def test_the_table_has_a_row_a_case():
    out = io.StringIO()
    Console(file=out, width=160).print(
        as_table({'full': summarise(ANSWERS), 'frozen 3': summarise({'ours': rounds(5)})})
    )
    lines = out.getvalue().splitlines()
    (full,) = [line for line in lines if 'full' in line]
    assert [cell.strip() for cell in full.strip('│').split('│')] == [
        'full', '2.0 (1.0-4.0)', '8.0 (6.0-12.0)', '8.0 (8.0-12.0)', '4.00', '1.00', '5.0 %', '2.5 s, 1.2 s', '3.0 GiB',
    ]  # fmt: skip


def test_cases_are_known_by_their_names():
    assert cases_named(['frozen-3-cached', 'full']) == [Case(3, cached=True), Case(0)]
    assert cases_named(None) == list(CASES) and len(CASES) == 9
