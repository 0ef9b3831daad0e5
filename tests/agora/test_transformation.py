from collections import Counter

import pytest
import torch
from pydantic import ValidationError
from transformers import BertConfig, BertForMaskedLM

from bort_kedro.agora.settings import TRANSFORMATIONS, TransformationSettings
from bort_kedro.agora.transformation import Transformation
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.tasks.units import Unit

TEXT = "The mean of the array is computed along axis"
OTHER = "Rows with missing values are dropped before scoring starts"
SINGLE, PAIR = Unit(((TEXT, None),)), Unit(((TEXT, OTHER),))
OPTIONS = (
    "the first option of four",
    "a second longer option of four",
    "the third option is this",
    "none of all these",
)
QUESTION = Unit(tuple((TEXT, option) for option in OPTIONS))
REST = {"changed_share": 0.3, "temperature": 1.0, "top_k": 50, "batch_tokens": 512, "max_tokens": 64}


@pytest.fixture(scope="module")
def masked_lm(tiny_tokenizer):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = BertConfig(vocab_size=300, max_position_embeddings=64, pad_token_id=1, type_vocab_size=1, **sizes)
        return Pretrained(BertForMaskedLM(config).eval(), tiny_tokenizer)


@pytest.fixture
def made(masked_lm):
    def make(units, *, copies=1, seed=0, **options):
        weights = options.pop("weights", dict.fromkeys(TRANSFORMATIONS, 1.0))
        protects_spans = options.pop("protects_spans", False)
        settings = TransformationSettings(weights=weights, **{**REST, **options})
        return Transformation(masked_lm, settings, protects_spans=protects_spans)(units, copies=copies, seed=seed)

    return make


def only(name):
    return {"weights": {name: 1.0}}


def texts_of(units, side):
    return [row[side] for unit in units for row in unit.rows]


def kind(text):
    """Which transformation made a text of TEXT, told by its words."""
    words, before = text.split(), TEXT.split()
    if len(words) < len(before):
        return "crop_words" if f" {text} " in f" {TEXT} " else "delete_words"
    if sorted(words) != sorted(before):
        return "masked_lm"
    moved = [place for place, word in enumerate(words) if word != before[place]]
    return "swap_words" if len(moved) == 2 else "shuffle_spans" if len(moved) == 4 else "unchanged"


def test_each_unit_gets_its_copies_in_order(made):
    units = [SINGLE, Unit(((OTHER, None),))]
    news = made(units, copies=3, **only("swap_words"))
    assert [sorted(unit.rows[0][0].split()) for unit in news] == [sorted(TEXT.split())] * 3 + [
        sorted(OTHER.split())
    ] * 3


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_each_transformation_is_drawn_by_its_name_and_changes_the_text(made, name):
    news = texts_of(made([SINGLE], copies=40, **only(name)), 0)
    # Leaving out the first or the last words is a crop too.
    assert {kind(text) for text in news} <= {name, "crop_words" if name == "delete_words" else name}
    assert name in {kind(text) for text in news}
    assert TEXT not in news


def test_a_new_text_says_how_it_was_made_and_of_what(made):
    news = made([SINGLE, PAIR], copies=50, weights={"masked_lm": 1, "swap_words": 1, "crop_words": 1})
    for place, new in enumerate(news):
        assert new.made_of is (SINGLE if place < 50 else PAIR)
    # A masked-LM head may put a word back.
    assert {(new.made_by, kind(new.rows[0][0])) for new in news[:50]} <= {
        ("masked_lm", "unchanged"),
        *((name, name) for name in ("masked_lm", "swap_words", "crop_words")),
    }
    assert len({new.made_by for new in news[:50]}) == 3


def test_the_mixture_follows_the_weights(made):
    news = made([SINGLE], copies=800, weights={"masked_lm": 3, "swap_words": 1, "crop_words": 4, "delete_words": 0})
    found = Counter(kind(text) for text in texts_of(news, 0))
    assert set(found) == {"masked_lm", "swap_words", "crop_words"}
    # Within four standard errors of a share of 800.
    assert [found[name] / 800 for name in ("masked_lm", "swap_words", "crop_words")] == pytest.approx(
        [3 / 8, 1 / 8, 4 / 8], abs=0.07
    )


@pytest.mark.parametrize("name", ["masked_lm", "swap_words"])
def test_text_pair_or_both_change_equally_often(made, name):
    news = made([PAIR], copies=600, **only(name))
    found = Counter((text != TEXT, pair != OTHER) for text, pair in (unit.rows[0] for unit in news))
    found.pop((False, False), None)
    changed_one = [found[True, False] / 600, found[False, True] / 600]
    assert changed_one == pytest.approx([1 / 3] * 2, abs=0.09)
    assert sum(found.values()) == 600


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_shared_text_changes_alike_in_all_options_and_an_option_alone(made, name):
    seen = Counter()
    for unit in made([QUESTION], copies=60, **only(name)):
        (shared,) = {text for text, _ in unit.rows}
        changed = [new != old for (_, new), old in zip(unit.rows, OPTIONS, strict=True)]
        assert sum(changed) <= 1
        seen[shared != TEXT, any(changed)] += 1
    assert set(seen) == {(True, False), (False, True), (True, True)}


def test_a_shared_text_that_is_too_short_is_left_to_the_options(made):
    question = Unit(tuple(("Too short here", option) for option in OPTIONS))
    news = made([question], copies=40)
    assert {text for unit in news for text, _ in unit.rows} == {"Too short here"}
    assert all(unit != question for unit in news)


def test_options_without_a_shared_text_change_one_at_a_time(made):
    unit = Unit(tuple((option, None) for option in OPTIONS))
    for new in made([unit], copies=40, **only("swap_words")):
        assert sum(row != old for row, old in zip(new.rows, unit.rows, strict=True)) == 1


def test_marked_spans_stay_where_they_are_protected(made):
    marked = "The mean of [ the array ] is computed along [ an axis ] at once"
    news = texts_of(made([Unit(((marked, None),))], copies=100, protects_spans=True), 0)
    assert all("[ the array ]" in text and "[ an axis ]" in text for text in news)
    assert all(text.index("[ the array ]") < text.index("[ an axis ]") for text in news)
    assert len(set(news)) > 40
    bare = texts_of(made([Unit(((marked, None),))], copies=100), 0)
    assert not all("[ the array ]" in text for text in bare)


def test_a_unit_too_short_for_anything_comes_back_as_it_was(made):
    unit = Unit((("", None),))
    assert made([unit], copies=20) == [unit] * 20


@pytest.mark.parametrize("batch_tokens", [16, 100, 4096])
def test_new_units_depend_on_seed_place_and_copy_alone(made, batch_tokens):
    units = [SINGLE, PAIR, QUESTION, Unit(((OTHER + " " + TEXT, TEXT),))]
    news = made(units, copies=5, seed=4, batch_tokens=batch_tokens)
    assert news == made(units, copies=5, seed=4)
    assert news[:5] == made(units[:1], copies=5, seed=4)
    assert news[::5] == made(units, copies=1, seed=4)
    assert news != made(units, copies=5, seed=5)
    # Equal sources at different places get different copies.
    twice = made([SINGLE, SINGLE], copies=5, seed=4)
    assert twice[:5] != twice[5:]


def test_the_order_of_the_weights_does_not_matter(made):
    weights = {"masked_lm": 2.0, "swap_words": 1.0, "crop_words": 1.0}
    backwards = dict(reversed(weights.items()))
    assert made([SINGLE, PAIR], copies=9, weights=weights) == made([SINGLE, PAIR], copies=9, weights=backwards)


def test_no_units_make_none(made):
    assert made([], copies=3) == []


@pytest.mark.parametrize("weights", [{}, {"masked_lm": 0}, {"swap_words": -1, "masked_lm": 3}, {"synonyms": 1}])
def test_weights_that_choose_nothing_are_refused(weights):
    with pytest.raises(ValidationError) as caught:
        TransformationSettings(weights=weights, **REST)
    floats = {name: float(weight) for name, weight in weights.items()}
    assert [fault["msg"] for fault in caught.value.errors()] == [
        f"Value error, weights is {floats}, allowed are masked_lm, "
        "swap_words, delete_words, crop_words, shuffle_spans, none below 0 and one at least above it"
    ]
