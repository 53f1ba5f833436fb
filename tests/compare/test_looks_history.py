"""Looks: a verdict is remembered, and the next one on the same settings knows of it."""

import json
import os
import shutil

import pytest

from flowercls.compare.comparison import compare_runs
from flowercls.compare.comparison_files import comparison_folder, comparison_stem, write_comparison
from flowercls.compare.wording import verdict_lines
from flowercls.evaluate.significance.settings import ERROR_RATE
from flowercls.sweep.ledger import Ledger


def compare(*paths, out=None):
    """Compare and write all files but the picture, as the command does; return the comparison."""
    folder = comparison_folder(list(paths), out)
    comparison = compare_runs(list(paths), folder)
    write_comparison(comparison, comparison_stem(list(paths), folder))
    return comparison


@pytest.fixture
def seeds(run):
    """Write runs of two settings with some seeds, into a folder; return those folders."""

    def write(*numbers, folder='runs', settings=(0, 1), misses=5):
        return [
            run(f'{folder}/f{frozen}_{seed}', range(seed, seed + misses), num_photos=50, frozen=frozen, seed=seed)
            for frozen in settings
            for seed in numbers
        ]

    return write


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


def looks_of(folder, name='comparison'):
    return json.loads((folder / f'{name}.json').read_text())['looks']


# ---------------------------------------------------------------- which verdict is a look


def test_the_first_verdict_is_remembered_with_its_runs_and_bound(seeds, out):
    comparison = compare(*seeds(0, 1), out=out)
    assert (comparison.look.number, comparison.look.error_rate, comparison.look.is_controlled) == (1, ERROR_RATE, True)
    (look,) = looks_of(out)
    assert look['bound'] == ERROR_RATE and look['time'].endswith('+00:00')
    assert [run.partition('@')[0] for run in look['runs']] == ['f0_0', 'f0_1', 'f1_0', 'f1_1']
    assert all(len(run.partition('@')[2]) == 12 for run in look['runs'])
    assert verdict_lines(comparison)[0].startswith('frozen_stages=')


def test_the_same_runs_again_are_no_new_look_in_any_order_and_place(seeds, out, tmp_path):
    folders = seeds(0, 1)
    compare(*folders, out=out)
    shutil.copytree(tmp_path / 'runs', tmp_path / 'moved')
    comparison = compare(*(tmp_path / 'moved' / folder.name for folder in reversed(folders)), out=out)
    assert comparison.look.number == 1 and comparison.look.is_controlled
    assert looks_of(out) == looks_of(out, 'comparison-2')


def test_a_verdict_after_more_seeds_is_a_second_look(seeds, out):
    few = seeds(0, 1)
    compare(*few, out=out)
    more = [*few, *seeds(2)]
    second = compare(*more, out=out)
    assert (second.look.number, second.look.error_rate, second.look.is_controlled) == (2, ERROR_RATE, False)
    words = verdict_lines(second)
    assert words[0].startswith('Second look: its error rate is not controlled')
    assert not any('of 100' in line for line in words)
    assert len(looks_of(out, 'comparison-2')) == 2
    assert compare(*more, out=out).look.number == 2
    assert compare(*few, out=out).look.number == 1  # it was the first, and stays so
    assert compare(*more, *seeds(3), out=out).look.number == 3


def test_a_run_that_was_trained_again_is_another_run(run, seeds, out):
    folders = seeds(0, 1)
    compare(*folders, out=out)
    shutil.rmtree(folders[0])
    run('runs/f0_0', range(20, 30), num_photos=50)
    assert compare(*folders, out=out).look.number == 2


@pytest.mark.parametrize('settings', [(2, 3), (1, 2)])
def test_verdicts_on_other_settings_do_not_count(seeds, out, settings):
    """Also if one of them is compared again: nothing was said about this pair."""
    folders = {frozen: seeds(0, 1, settings=[frozen]) for frozen in range(4)}
    compare(*folders[0], *folders[1], out=out)
    first, second = settings
    assert compare(*folders[first], *folders[second], out=out).look.number == 1


def test_one_setting_alone_is_not_judged(seeds, out):
    comparison = compare(*seeds(0, 1, settings=[0]), out=out)
    assert looks_of(out) == [] and comparison.look.number == 1


# ---------------------------------------------------------------- where earlier verdicts are found


def test_the_folder_of_a_sweep_remembers_for_its_trials(sweep, run, out):
    compare(sweep)
    for frozen in (0, 1):
        run(f'sweep/trials/frozen{frozen}_seed2', range(2, 22), frozen=frozen, seed=2)
    trials = sorted((sweep / 'trials').iterdir())
    assert compare(*trials, out=out).look.number == 2  # the sweep itself is not named
    assert compare(sweep).look.number == 2
    assert [len(look['runs']) for look in looks_of(sweep)] == [4, 6]  # the first is not forgotten with its file


@pytest.mark.parametrize(('names', 'number'), [((0, 1), 1), ((0, 1, 2), 2), ((0, 2), 2)])
def test_a_comparison_of_an_older_version_is_a_look_at_the_runs_it_names(seeds, out, names, number):
    compare(*seeds(0, 1), out=out)
    content = json.loads((out / 'comparison.json').read_text())
    del content['looks']
    (out / 'comparison.json').write_text(json.dumps(content))
    os.utime(out / 'comparison.json', (10**9, 10**9))
    comparison = compare(*seeds(*names, folder='again'), out=out)
    assert comparison.look.number == number
    assert looks_of(out, 'comparison-2')[0]['time'].startswith('2001-09-09')


@pytest.mark.parametrize(
    'text',
    [
        *('', '[]', '{"looks": 3}', '{"settings": [{"runs": 3}]}', '{"looks": [{}]}', '[' * 100_000),
        '{"looks": [{"time": "now", "runs": [], "bound": 0.05}]}',
        '{"looks": [{"time": "2026-01-01T00:00:00.000+00:00", "runs": [], "bound": "x"}]}',
    ],
)
def test_a_damaged_comparison_is_named_and_not_counted(seeds, out, text):
    out.mkdir()
    (out / 'comparison.json').write_text(text)
    comparison = compare(*seeds(0, 1), out=out)
    assert comparison.look.number == 1
    assert any('comparison.json: cannot be read' in line for line in verdict_lines(comparison))


def test_files_of_other_names_are_not_looked_at(seeds, out):
    out.mkdir()
    (out / 'comparison_notes.json').write_text('mine')
    assert compare(*seeds(0, 1), out=out).look.unread == []


# ---------------------------------------------------------------- declared looks


@pytest.fixture
def train(run):
    """Add trials with a seed to the sweep, as the same command does when the sweep file lists more seeds."""

    def add(*new_seeds, settings=(0, 1)):
        for frozen in settings:
            for seed in new_seeds:
                run(f'sweep/trials/frozen{frozen}_seed{seed}', range(seed, 20 + seed), frozen=frozen, seed=seed)

    return add


@pytest.fixture
def declare(sweep):
    return Ledger(sweep / 'ledger.jsonl').plan_looks


def test_declared_looks_share_the_error_rate(sweep, train, declare):
    declare([2, 3, 5])
    looks = [compare(sweep).look]
    train(2)
    looks.append(compare(sweep).look)
    assert [(look.number, look.declared, look.is_declared) for look in looks] == [(n, (2, 3, 5), True) for n in (1, 2)]
    assert all(look.is_controlled and 0 < look.error_rate < ERROR_RATE for look in looks)
    assert [look['bound'] for look in looks_of(sweep)] == [look.error_rate for look in looks]


def test_settings_that_are_added_at_a_declared_look_make_another_look_of_it(sweep, train, declare):
    declare([2, 3])
    first = compare(sweep).look
    train(0, 1, settings=[2])
    added = compare(sweep)
    assert (first.is_declared, added.look.is_declared, added.look.number) == (True, False, 2)
    assert 'not controlled; ' in verdict_lines(added)[0] and 'settings were added' in verdict_lines(added)[0]
    train(2, settings=[0, 1, 2])
    assert compare(sweep).look.is_declared


def test_a_declared_look_may_be_skipped(sweep, train, declare):
    declare([2, 3])
    train(2)
    look = compare(sweep).look
    assert (look.number, look.is_declared) == (2, True)
    words = verdict_lines(compare(sweep))[0]
    assert words.startswith('Look 2 of 2 (2, 3 seeds): 5 % holds over all looks') and 'not controlled' not in words


def test_a_failed_trial_makes_an_undeclared_look_and_spoils_no_declared_one(sweep, train, declare):
    """The sweep compares what has finished; then --retry-failed adds the trial that is missing."""
    declare([3, 5])
    train(2, settings=[0])
    incomplete = compare(sweep)
    assert (incomplete.look.is_declared, incomplete.look.is_controlled) == (False, False)
    assert 'not controlled; declared are looks at 3, 5 seeds' in verdict_lines(incomplete)[0]
    train(2, settings=[1])
    complete = compare(sweep).look
    assert (complete.number, complete.is_declared, complete.is_controlled) == (1, True, True)


def test_looks_that_are_declared_after_a_verdict_do_not_count(sweep, train, declare):
    compare(sweep)
    declare([2, 3])
    train(2)
    comparison = compare(sweep)
    assert (comparison.look.number, comparison.look.declared, comparison.look.late) == (2, None, (2, 3))
    assert 'looks at 2, 3 seeds were declared only after a verdict' in verdict_lines(comparison)[0]


def test_a_plan_is_neither_changed_nor_withdrawn_after_a_verdict(sweep, train, declare):
    declare([2, 3])
    first = compare(sweep).look
    declare([2, 3, 4])
    train(2)
    second = compare(sweep).look
    assert (second.declared, second.is_declared, second.late) == ((2, 3), True, (2, 3, 4))
    declare([])
    assert compare(sweep).look.declared == first.declared
    train(3)
    assert not compare(sweep).look.is_declared


def test_a_plan_may_be_changed_before_the_first_verdict(sweep, declare):
    declare([3])
    declare([2, 4])
    assert compare(sweep).look.declared == (2, 4)
    declare([])
    shutil.rmtree(sweep / 'trials' / 'frozen1_seed1')
    for file in sweep.glob('comparison.*'):
        file.unlink()
    assert compare(sweep).look.declared is None


def test_a_part_of_what_was_judged_is_no_declared_look(sweep, run, declare, out):
    declare([2])
    for seed in (0, 1):
        run(f'sweep/trials/frozen2_seed{seed}', range(30), frozen=2, seed=seed)
    assert compare(sweep).look.is_declared
    for seed in (0, 1):
        shutil.rmtree(sweep / 'trials' / f'frozen2_seed{seed}')
    look = compare(sweep).look
    assert (look.number, look.is_declared, look.is_controlled) == (2, False, False)


def test_a_run_from_elsewhere_was_not_declared(sweep, run, declare, out):
    declare([2])
    others = [run(f'other{seed}', range(9), frozen=3, seed=seed) for seed in (0, 1)]
    look = compare(sweep, *others, out=out).look
    assert (look.declared, look.is_declared, look.is_controlled) == (None, False, True)


@pytest.mark.parametrize(('plans', 'expected'), [(([2, 3], [2, 3]), (2, 3)), (([2, 3], [2, 4]), None)])
def test_several_sweeps_declare_what_all_of_them_declare(sweep, run, declare, out, plans, expected):
    """The second one is trained elsewhere, after the first was judged."""
    declare(plans[0])
    compare(sweep)
    for frozen in (0, 1):
        run(f'more/trials/frozen{frozen}_seed2', range(2, 22), frozen=frozen, seed=2)
    Ledger(sweep.parent / 'more' / 'ledger.jsonl').plan_looks(plans[1])
    look = compare(sweep, sweep.parent / 'more', out=out).look
    assert (look.declared, look.is_declared) == (expected, expected is not None)
