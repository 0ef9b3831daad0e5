import numpy as np

from bort_kedro.finetuning.rounds import Draw, Round


def test_the_first_round_trains_every_setting_on_the_train_split_alone():
    assert Round.first(3) == Round(number=0, settings=(0, 1, 2), is_replay=False, draws=(), mistakes_of=None)


def test_the_report_of_a_draw_counts_what_is_left_of_it():
    draw = Draw([], np.empty((0, 2)), num_sources=4, num_made=12, num_copies=1, num_repeated=2, num_beyond=3)
    assert draw.report().model_dump() == {
        "num_sources": 4,
        "num_made": 12,
        "num_copies": 1,
        "num_repeated": 2,
        "num_beyond": 3,
        "num_kept": 0,
    }
