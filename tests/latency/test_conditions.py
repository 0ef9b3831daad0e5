import math

import numpy as np
import pytest

from bort_kedro.encoders.costs import count_head_operations, count_operations, count_parameters
from bort_kedro.encoders.shapes import BERT_BASE, BORT, KNOWN_SHAPES, BertShape
from bort_kedro.latency.conditions import (
    Condition,
    Latency,
    conditions_of,
    median_interval,
    speed_rows,
    speed_table_rows,
)
from bort_kedro.reporting.paper_claims import speed_claim_rows
from project_parameters import parameters

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


def test_with_a_head_its_weights_and_operations_count_on_both_sides_of_a_ratio():
    times = {"chosen": (2.0, 2.0, 2.0)}
    sizes = {"vocabulary_size": 100, "max_positions": 32, "sequence_length": 16}
    (plain,) = speed_rows({"chosen": CHOSEN}, times, **sizes)
    (row,) = speed_rows({"chosen": CHOSEN}, times, **sizes, has_head=True)
    weights = count_parameters(CHOSEN, vocabulary_size=100, max_positions=32)
    assert row["parameters"] - plain["parameters"] == weights.masked_lm_head == 128 * 128 + 128 + 256 + 100
    assert (row["bytes"], row["parameters"]) == (4 * weights.total, weights.total)

    def operations(shape):
        head = count_head_operations(shape, vocabulary_size=100, num_positions=16).total
        return count_operations(shape, sequence_length=16).total + head

    assert row["operations"] == operations(CHOSEN)
    assert row["operations_vs_bert_base"] == operations(BERT_BASE) / operations(CHOSEN)


def test_conditions_are_every_combination_with_the_first_of_each_list_first():
    lists = {"batch_sizes": [1, 8], "sequence_lengths": [128, 32], "num_threads": [1, 2], "with_head": True}
    found = conditions_of(parameters().evaluate.speed.changed(**lists), ["cpu", "cuda"])
    assert found[:3] == [Condition(1, 128, 1), Condition(1, 128, 1, has_head=True), Condition(1, 32, 1)]
    # On CUDA the number of CPU threads is the first alone.
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2 + 2 * 2 * 2
    assert {each.num_threads for each in found if each.device == "cuda"} == {1}


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # Ranks of the usual tables, such as Conover 1999, Practical Nonparametric Statistics, table A3.
    [(6, 1, 6), (9, 2, 8), (15, 4, 12), (20, 6, 15)],
)
def test_interval_of_a_median_is_between_the_ranks_of_the_tables(count, low, high):
    assert median_interval([float(value) for value in range(count, 0, -1)]) == (low, high)


@pytest.mark.slow
def test_interval_of_a_median_holds_it_as_often_as_it_says():
    draws = np.random.default_rng(0).exponential(size=(400, 9))
    held = [low <= math.log(2) <= high for low, high in map(median_interval, draws)]
    # Of nine, the second and the eighth hold the median with a chance of 1 - 2 * 10 / 2^9 = 0.961.
    assert np.mean(held) == pytest.approx(0.961, abs=0.03)


def test_five_values_are_too_few_for_an_interval():
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None


def test_table_has_a_row_for_each_shape_and_condition_with_what_was_measured():
    first, second = Condition(1, 128, 1), Condition(8, 32, 2, has_head=True)
    latencies = {
        first: [Latency(2.0, 1.9, 2.2, 6, 1.8, 2.4), Latency(150.0, 149.0, 151.0, 6, 148.0, 155.0)],
        second: [Latency(16.0, 15.0, 17.0, 3), Latency(320.0, 319.0, 321.0, 3)],
    }
    table = speed_table_rows(
        {"chosen": CHOSEN, "bert_base": BERT_BASE},
        latencies,
        {first: [10, 20], second: [30, 40]},
        vocabulary_size=50_265,
        max_positions=512,
    )
    assert [(row["name"], row["is_reference"], row["peak_memory_bytes"]) for row in table] == [
        ("chosen shape", True, 10),
        ("BERT-base", True, 20),
        ("chosen shape", False, 30),
        ("BERT-base", False, 40),
    ]
    assert [row["throughput"] for row in table] == [500.0, pytest.approx(1000 / 150), 500.0, 25.0]
    assert (table[0]["interval_low_ms"], table[0]["interval_high_ms"]) == (1.8, 2.4)
    assert math.isnan(table[2]["interval_low_ms"])
    assert [row["measured_vs_bert_base"] for row in table] == [75.0, 1.0, 20.0, 1.0]
    condition = {
        name: table[2][name] for name in ("batch_size", "sequence_length", "num_threads", "has_head", "device")
    }
    assert condition == {
        "batch_size": 8,
        "sequence_length": 32,
        "num_threads": 2,
        "has_head": True,
        "device": "cpu",
    }


def test_each_published_speed_up_is_shown_for_each_bort_with_the_nearest_marked():
    rows = speed_claim_rows([BORT.to_row() | {"measured_vs_bert_large": 12.0, "measured_vs_bert_base": 3.0}])
    assert [(row["published"], row["name"], row["is_nearest"]) for row in rows] == [
        (20, "Bort as released", False),
        (20, "Bort, H and I exchanged", True),
        (20, "Bort, released alternative", False),
        (7.9, "Bort as released", False),
        (7.9, "Bort, H and I exchanged", False),
        (7.9, "Bort, released alternative", True),
    ]
    # As in the performance notes, by matrix products: 12.8, 18.7, 28.0 and 3.6, 5.3, 7.9.
    assert [round(row["counted"], 1) for row in rows] == [12.8, 18.6, 28.0, 3.6, 5.3, 7.9]
    assert (rows[0]["measured"], rows[3]["measured"]) == (12.0, 3.0)
    assert all(math.isnan(rows[number]["measured"]) for number in (1, 2, 4, 5))
