from dataclasses import asdict
from itertools import product

import pytest

from bort_kedro.finetuning.settings import ThetaSettings
from bort_kedro.finetuning.theta import HyperparameterSet, build_theta

LISTS = {
    "learning_rates": (1e-5, 1e-4, 1e-3),
    "weight_decays": (0.0, 0.1),
    "warmup_shares": (0.06, 0.1),
    "batch_tokens": (512, 1024),
    "seeds": (0, 1, 2),
}
EVERY = [HyperparameterSet(*values) for values in product(*LISTS.values())]


def theta(max_sets=None, draw_seed=0, **changes):
    settings = ThetaSettings(**{**LISTS, **changes}, max_sets=max_sets)
    return build_theta(settings, draw_seed=draw_seed)


def test_every_combination_stands_once_with_learning_rates_slowest_and_seeds_fastest():
    built = theta(weight_decays=(0.0,), warmup_shares=(0.06,), batch_tokens=(512,), seeds=(7, 8))
    assert built == (
        HyperparameterSet(learning_rate=1e-5, weight_decay=0.0, warmup_share=0.06, batch_tokens=512, seed=7),
        HyperparameterSet(learning_rate=1e-5, weight_decay=0.0, warmup_share=0.06, batch_tokens=512, seed=8),
        HyperparameterSet(learning_rate=1e-4, weight_decay=0.0, warmup_share=0.06, batch_tokens=512, seed=7),
        HyperparameterSet(learning_rate=1e-4, weight_decay=0.0, warmup_share=0.06, batch_tokens=512, seed=8),
        HyperparameterSet(learning_rate=1e-3, weight_decay=0.0, warmup_share=0.06, batch_tokens=512, seed=7),
        HyperparameterSet(learning_rate=1e-3, weight_decay=0.0, warmup_share=0.06, batch_tokens=512, seed=8),
    )


def test_the_lists_are_varied_in_the_order_of_the_fields():
    built = theta()
    assert list(built) == EVERY
    assert (len(built), len(set(built))) == (3 * 2 * 2 * 2 * 3, 72)
    assert [(each.warmup_share, each.batch_tokens, each.seed) for each in built[:7]] == [
        (0.06, 512, 0),
        (0.06, 512, 1),
        (0.06, 512, 2),
        (0.06, 1024, 0),
        (0.06, 1024, 1),
        (0.06, 1024, 2),
        (0.1, 512, 0),
    ]


@pytest.mark.parametrize("max_sets", [72, 1000])
def test_a_limit_that_nothing_exceeds_leaves_every_combination(max_sets):
    assert list(theta(max_sets)) == EVERY


@pytest.mark.parametrize("max_sets", [1, 5, 71])
def test_so_many_are_drawn_without_repetition_in_the_order_of_all(max_sets):
    places = [EVERY.index(each) for each in theta(max_sets)]
    assert len(places) == max_sets
    assert places == sorted(set(places))


def test_a_draw_follows_its_seed():
    assert theta(6, draw_seed=3) == theta(6, draw_seed=3)
    assert len({theta(6, draw_seed=seed) for seed in range(20)}) == 20


def test_every_combination_is_as_likely_to_be_drawn():
    counts = dict.fromkeys(EVERY, 0)
    for seed in range(300):
        for each in theta(36, draw_seed=seed):
            counts[each] += 1
    # Binomial of 300 draws with share 1/2: mean 150, standard deviation 8.7; five of them over 72 combinations.
    assert all(abs(count - 150) < 5 * 8.7 for count in counts.values())


def test_a_row_names_what_varies():
    assert asdict(EVERY[0]) == {
        "learning_rate": 1e-5,
        "weight_decay": 0.0,
        "warmup_share": 0.06,
        "batch_tokens": 512,
        "seed": 0,
    }
