import math

import pytest

from bort_kedro.core.shapes import BERT_BASE, KNOWN_SHAPES, BertShape
from bort_kedro.core.speed import speed_rows

CHOSEN = BertShape(2, 4, 128, 256)


def rows(**times_ms):
    shapes = {"chosen": CHOSEN, "bert_base": BERT_BASE}
    return speed_rows(
        {key: shapes[key] for key in times_ms},
        {key: (median, median, median) for key, median in times_ms.items()},
        vocabulary_size=50_265,
        max_positions=512,
        sequence_length=128,
    )


def test_ratios_are_the_references_time_and_operations_over_the_rows_own():
    chosen, base = rows(chosen=2.0, bert_base=150.0)
    assert (chosen["measured_vs_bert_base"], base["measured_vs_bert_base"]) == (75.0, 1.0)
    assert chosen["operations_vs_bert_base"] == pytest.approx(base["operations"] / chosen["operations"])
    assert base["operations_vs_bert_base"] == 1.0
    # Multiply-accumulates alone give 3.53; performance notes say 3.5.
    assert base["operations_vs_bert_large"] == pytest.approx(3.53, abs=0.01)


def test_a_reference_that_was_not_timed_is_nan_and_still_counted():
    (chosen,) = rows(chosen=2.0)
    assert math.isnan(chosen["measured_vs_bert_base"])
    assert math.isnan(chosen["measured_vs_bert_large"])
    assert chosen["operations_vs_bert_base"] > 100


def test_names_are_those_readers_know_and_one_row_is_chosen():
    found = rows(chosen=2.0, bert_base=150.0)
    assert [(row["name"], row["is_chosen"]) for row in found] == [
        ("chosen shape", True),
        ("BERT-base", False),
    ]


def test_parameters_are_those_of_an_encoder_without_a_head():
    (_, base) = rows(chosen=2.0, bert_base=150.0)
    # 124 M with this vocabulary, as in the performance notes.
    assert round(base["parameters"] / 1e6) == 124
    assert base["parameters_without_embeddings"] == 12 * (4 * (768**2 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768)


def test_known_shapes_are_listed_from_the_most_operations_down():
    def operations(shape):
        (row,) = speed_rows(
            {"chosen": shape},
            {"chosen": (1.0, 1.0, 1.0)},
            vocabulary_size=10,
            max_positions=128,
            sequence_length=128,
        )
        return row["operations"]

    sizes = [operations(known.shape) for known in KNOWN_SHAPES.values()]
    assert sizes == sorted(sizes, reverse=True)
