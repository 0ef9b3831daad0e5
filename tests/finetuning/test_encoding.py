"""Ids against those of the tokenizers themselves, and what is cut against what each task can spare."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import BertConfig, BertTokenizer, DebertaV2Config, RobertaConfig, RobertaTokenizer

from bort_kedro.errors import ConfigurationError
from bort_kedro.finetuning.encoding import TaskEncoder
from bort_kedro.finetuning.forms import NO_OPTION
from bort_kedro.tasks.spans import CLOSE, OPEN
from bort_kedro.tasks.table import RIGHT, TASKS, WRONG, Truncation, own_task
from bort_kedro.tasks.units import Unit

WORDS = "the mean of array is are un ##able ##s bank was closed river row value and or not a b c d e f g ? . ,"
PAIRS = [
    ("The mean of the array", "is not closed."),
    ("The [ bank ] was closed", "the river banks"),
    ("unable", "a, b or c?"),
    ("the mean", ""),
    ("", "value"),
    ("unheard  of words\tand ünïcode", "漢字"),
]
SINGLES = [("The mean of the array is closed.", None), ("a", None), ("", None)]
RTE, BOOLQ, WSC, WIC, COLA, STSB, COPA, RACE = (
    TASKS[name] for name in ("rte", "boolq", "wsc", "wic", "cola", "stsb", "copa", "race_middle")
)


@pytest.fixture(scope="session")
def word_piece():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", OPEN, CLOSE, *WORDS.split()]
    return BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})


@pytest.fixture(scope="session")
def roberta():
    """With merges of its own, which know words by the blank before them."""
    trained = ByteLevelBPETokenizer()
    texts = ["the mean of the array is closed and the river bank was not closed"] * 5
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(texts, vocab_size=320, special_tokens=special, show_progress=False)
    model = json.loads(trained.to_str())["model"]
    return RobertaTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])


@pytest.fixture(params=["word_piece", "roberta", "tiny_tokenizer"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def encoder_of(tokenizer, task, *, max_tokens=64, labels=None, config=None):
    config = config or BertConfig(max_position_embeddings=64, type_vocab_size=2)
    pretrained = SimpleNamespace(model=SimpleNamespace(config=config), tokenizer=tokenizer)
    return TaskEncoder(pretrained, task, task.labels if labels is None else labels, max_tokens=max_tokens)


def units_of(*rows):
    return [Unit((row,)) for row in rows]


def as_text(tokenizer, ids):
    return " ".join(tokenizer.convert_ids_to_tokens(ids))


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("task", [RTE, BOOLQ, WIC, STSB], ids=lambda task: task.name)
def test_what_fits_gets_the_ids_and_types_of_the_tokenizer_itself(tokenizer, task):
    rows = PAIRS + SINGLES
    encoded = encoder_of(tokenizer, task)(units_of(*rows))
    for place, (text, pair) in enumerate(rows):
        # As lists of one, since a call with an empty pair alone takes it for none.
        expected = tokenizer([text], None if pair is None else [pair], return_token_type_ids=True)
        assert encoded.input_ids[place].tolist() == expected["input_ids"][0]
        assert encoded.token_type_ids[place].tolist() == expected["token_type_ids"][0]
    assert encoded.num_truncated == 0
    assert len(encoded) == encoded.num_units == len(rows)


def test_types_of_a_pair_are_two_where_the_tokenizer_tells_them_apart(word_piece):
    encoded = encoder_of(word_piece, RTE)(units_of(("the mean", "not a b")))
    assert encoded.token_type_ids[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("config", "has_types"),
    [
        (BertConfig(type_vocab_size=2), True),
        (BertConfig(type_vocab_size=1), False),
        (RobertaConfig(type_vocab_size=1), False),
        (DebertaV2Config(type_vocab_size=0), False),
    ],
    ids=["two types", "one type", "roberta", "deberta-v2"],
)
def test_types_are_left_out_where_the_encoder_knows_one_at_most(word_piece, config, has_types):
    encoded = encoder_of(word_piece, RTE, config=config)(units_of(*PAIRS))
    assert (encoded.token_type_ids is not None) == has_types
    assert ("token_type_ids" in encoded.batch([0, 1])) == has_types


def test_settings_that_another_call_left_on_the_tokenizer_change_nothing(word_piece):
    expected = encoder_of(word_piece, RTE)(units_of(*PAIRS))
    word_piece(PAIRS[0][0], truncation=True, max_length=3, padding="max_length")
    assert word_piece.backend_tokenizer.truncation
    assert encoder_of(word_piece, RTE)(units_of(*PAIRS)).fingerprint == expected.fingerprint


def test_longest_first_cuts_as_the_tokenizer_does_where_one_text_is_the_longer(tokenizer):
    for text, pair in [("the mean " * 20, "is closed"), ("is closed", "the mean " * 20), ("the mean " * 20, None)]:
        encoded = encoder_of(tokenizer, RTE, max_tokens=16)(units_of((text, pair)))
        expected = tokenizer(text, pair, truncation="longest_first", max_length=16)["input_ids"]
        assert encoded.input_ids[0].tolist() == expected
        assert (len(expected), encoded.num_truncated) == (16, 1)


def test_the_passage_is_cut_and_the_question_stays_whole(tokenizer):
    passage, question = "the river bank was closed " * 10, "is the array not closed?"
    encoded = encoder_of(tokenizer, BOOLQ, max_tokens=40)(units_of((passage, question)))
    expected = tokenizer(passage, question, truncation="only_first", max_length=40)["input_ids"]
    assert encoded.input_ids[0].tolist() == expected
    first, second = ids_of(tokenizer, passage), ids_of(tokenizer, question)
    ids = encoded.input_ids[0].tolist()
    assert ids[-1 - len(second) : -1] == second
    kept = 40 - len(second) - tokenizer.num_special_tokens_to_add(pair=True)
    assert 0 < kept < len(first)
    assert ids[1 : 1 + kept] == first[:kept]


def test_a_question_that_is_too_long_alone_leaves_one_token_of_the_passage(word_piece):
    encoded = encoder_of(word_piece, BOOLQ, max_tokens=10)(units_of(("the mean", "a b c d e f g a b c d")))
    assert as_text(word_piece, encoded.input_ids[0]) == "[CLS] the [SEP] a b c d e f [SEP]"
    assert encoded.token_type_ids[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]


def test_the_pair_is_cut_where_the_task_says_so(word_piece):
    task = replace(RTE, truncation=Truncation.TEXT_PAIR)
    encoded = encoder_of(word_piece, task, max_tokens=10)(units_of(("a b c d", "the mean of the array")))
    assert as_text(word_piece, encoded.input_ids[0]) == "[CLS] a b c d [SEP] the mean of [SEP]"


def test_among_equals_the_text_loses_the_odd_token(word_piece):
    encoded = encoder_of(word_piece, RTE, max_tokens=10)(units_of(("a b c d e", "d e f g a")))
    assert as_text(word_piece, encoded.input_ids[0]) == "[CLS] a b c [SEP] d e f g [SEP]"


def test_a_cut_text_with_spans_keeps_the_window_around_its_marks(word_piece):
    text = "a a a a a a a a b c [ river ] d [ bank ] e f g g g g g g"
    encoded = encoder_of(word_piece, WSC, max_tokens=15)(units_of((text, None)))
    # Marks at 10 to 16 of 24 tokens have their middle at 13; of thirteen tokens six stand before it.
    expected = "[CLS] a b c [ river ] d [ bank ] e f g [SEP]"
    assert as_text(word_piece, encoded.input_ids[0]) == expected
    assert encoded.num_truncated == 1


def test_both_texts_of_a_pair_keep_their_marks(tokenizer):
    text = "the mean of ünïcode " * 12 + "[ bank ]" + " was closed" * 12
    pair = "was closed " * 30 + "the [ river bank ]"
    encoded = encoder_of(tokenizer, WIC, max_tokens=45)(units_of((text, pair)))
    ids = encoded.input_ids[0].tolist()
    assert (len(ids), encoded.num_truncated) == (45, 1)
    decoded = tokenizer.decode(ids).replace(" ", "")
    assert "[bank]" in decoded
    assert "[riverbank]" in decoded


def test_marks_are_not_looked_for_where_a_task_has_no_spans(word_piece):
    encoded = encoder_of(word_piece, COLA, max_tokens=6)(units_of(("a b c d e f [ g ]", None)))
    assert as_text(word_piece, encoded.input_ids[0]) == "[CLS] a b c d [SEP]"


def test_rows_that_lost_tokens_are_counted(tokenizer):
    rows = [("the mean", None), ("the mean " * 40, None), ("a", "b"), ("a", "the mean " * 40), ("the mean " * 40, "b")]
    encoded = encoder_of(tokenizer, RTE, max_tokens=16)(units_of(*rows))
    assert encoded.num_truncated == 3
    assert [len(ids) == 16 for ids in encoded.input_ids] == [False, True, False, True, True]


def test_a_text_of_exactly_the_longest_input_is_not_cut(word_piece):
    encoder = encoder_of(word_piece, COLA, max_tokens=6)
    assert encoder(units_of(("a b c d", None))).num_truncated == 0
    assert encoder(units_of(("a b c d e", None))).num_truncated == 1


def test_longer_inputs_than_the_encoder_takes_are_refused(word_piece):
    with pytest.raises(ConfigurationError) as caught:
        encoder_of(word_piece, RTE, max_tokens=64, config=BertConfig(max_position_embeddings=32))
    assert str(caught.value) == (
        "Task `rte`: max_tokens is 64, but the encoder has 32 positions. Set max_tokens to at most 32 in "
        "params:finetune.training, or for a teacher in params:finetune.teacher.training; or pretrain with more "
        "(max_positions under params:corpus)."
    )
    config = RobertaConfig(max_position_embeddings=66, pad_token_id=1)
    assert encoder_of(word_piece, RTE, max_tokens=64, config=config)
    with pytest.raises(ConfigurationError, match="max_tokens is 65, but the encoder has 64 positions"):
        encoder_of(word_piece, RTE, max_tokens=65, config=config)


def test_labels_become_distributions_in_the_order_of_the_outputs(word_piece):
    task = replace(RTE, labels=())
    encoder = encoder_of(word_piece, task, labels=["no", "maybe", "yes"])
    encoded = encoder(units_of(*SINGLES, ("b", None)), ["maybe", "no", None, "yes"])
    assert encoded.targets.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert encoded.targets.dtype == np.float32
    assert encoder(units_of(*SINGLES)).targets.tolist() == [[0, 0, 0]] * 3


def test_numbers_become_targets_of_one_column(word_piece):
    encoded = encoder_of(word_piece, STSB, labels=())(units_of(*SINGLES), ["4.25", None, "-1e0"])
    assert encoded.targets.tolist() == [[4.25], [0.0], [-1.0]]


QUESTIONS = [
    Unit((("the mean", "a"), ("the mean", "a b c"))),
    Unit((("c", "a"), ("c", "b"), ("c", "c d e f"))),
    Unit((("river bank", "a"), ("river bank", "b"))),
]
RIGHTS = [WRONG, RIGHT, RIGHT, WRONG, RIGHT, None, None]


@pytest.fixture
def questions(word_piece):
    return encoder_of(word_piece, RACE, labels=())(QUESTIONS, RIGHTS)


def test_options_of_a_question_share_what_is_right(questions):
    assert questions.targets.tolist() == [[0], [1], [0.5], [0], [0.5], [0], [0]]
    assert questions.starts.tolist() == [0, 2, 5, 7]
    assert (len(questions), questions.num_units) == (7, 3)


TAGGED = own_task("tagged", files={"train": "a.conll", "dev": "b.conll"}, form="token_classification", labels=["A"])
# 5 words in 7 tokens; 1; 10 words in 13.
TEXTS = ["unable is the array rivers", "bank", "the unable river was closed , a b unable unables"]
TAGS = ["B-A O O O B-A", None, "O B-A I-A O O O O O B-A B-A"]


@pytest.fixture
def tagged(word_piece):
    units = [Unit(((text, None),)) for text in TEXTS]
    return encoder_of(word_piece, TAGGED, max_tokens=8)(units, TAGS)


def test_first_tokens_answer_for_their_words_and_no_token_of_a_long_text_is_lost(tagged, word_piece):
    texts = [word_piece.convert_ids_to_tokens(ids)[1:-1] for ids in tagged.input_ids]
    # Windows of 6 tokens begin every 3.
    whole = word_piece.tokenize(TEXTS[2])
    assert texts[:3] == [word_piece.tokenize(TEXTS[0])[:6], word_piece.tokenize(TEXTS[0])[3:], ["bank"]]
    assert texts[3:] == [whole[0:6], whole[3:9], whole[6:12], whole[9:]]
    assert tagged.starts.tolist() == [0, 2, 3, 7]
    assert tagged.target_starts.tolist() == [0, 5, 6, 16]
    answering = [
        [word_piece.convert_ids_to_tokens(int(ids[place])) for place in places]
        for ids, places in zip(tagged.input_ids, tagged.answering, strict=True)
    ]
    assert [token for tokens in answering for token in tokens] == [
        *("un", "is", "the", "array", "river", "bank"),
        *("the", "un", "river", "was", "closed", ",", "a", "b", "un", "un"),
    ]
    assert list(map(len, answering)) == [3, 2, 1, 3, 3, 3, 1]
    assert tagged.num_truncated == 0


def test_targets_of_tagged_words_are_their_tags_and_nothing_where_none_are_known(tagged):
    names = ["O", "B-A", "I-A"]
    said = [names[int(row.argmax())] if row.sum() else None for row in tagged.targets]
    assert said == [*TAGS[0].split(), None, *TAGS[2].split()]
    assert tagged.targets.sum() == 15


def test_a_batch_of_tagged_words_says_where_their_tokens_are(tagged):
    batch = tagged.batch([2, 1])
    assert batch["input_ids"].shape == (5, 8)
    assert batch["targets"].tolist() == tagged.targets[[*range(6, 16), 5]].tolist()
    found = batch["input_ids"].flatten()[batch["answering"]].tolist()
    assert found == [int(tagged.input_ids[row][place]) for row in (3, 4, 5, 6, 2) for place in tagged.answering[row]]


def test_windows_of_one_text_need_not_stand_in_one_batch(tagged):
    assert tagged.unit_lengths.tolist() == [16, 3, 32]
    batch_at, num_steps = (
        tagged.training_batches(batch_tokens=16, seed=0),
        tagged.steps_per_epoch(batch_tokens=16, seed=0),
    )
    batches = [batch_at(step) for step in range(num_steps)]
    assert max(batch["input_ids"].numel() for batch in batches) <= 16
    assert sum(len(batch["input_ids"]) for batch in batches) == len(tagged) == 7
    assert sum(len(batch["targets"]) for batch in batches) == len(tagged.targets) == 16
    assert tagged.divided.target_starts.tolist() == [0, 3, 5, 6, 9, 12, 15, 16]


def test_tagged_examples_are_joined_and_told_apart_by_which_tokens_answer(tagged, word_piece):
    joined = tagged.joined(tagged)
    assert joined.target_starts.tolist() == [0, 5, 6, 16, 21, 22, 32]
    assert joined.batch([5])["targets"].tolist() == tagged.batch([2])["targets"].tolist()
    places = [places.copy() for places in tagged.answering]
    assert replace(tagged, answering=places).fingerprint == tagged.fingerprint
    places[0][0] += 1
    assert replace(tagged, answering=places).fingerprint != tagged.fingerprint


def test_length_of_a_question_is_its_longest_row_times_its_rows(questions):
    assert [len(ids) for ids in questions.input_ids] == [6, 8, 5, 5, 8, 6, 6]
    assert questions.unit_lengths.tolist() == [16, 24, 12]


def test_a_batch_holds_whole_questions_and_says_where_their_options_are(questions):
    batch = questions.batch([1, 0])
    assert batch["option_rows"].tolist() == [[0, 1, 2], [3, 4, NO_OPTION]]
    assert batch["targets"].tolist() == [[0.5], [0], [0.5], [0], [1]]
    assert batch["input_ids"].shape == batch["token_type_ids"].shape == (5, 8)
    assert batch["attention_mask"].sum(1).tolist() == [5, 5, 8, 6, 8]
    for place, row in enumerate([2, 3, 4, 0, 1]):
        length = len(questions.input_ids[row])
        assert batch["input_ids"][place, :length].tolist() == questions.input_ids[row].tolist()
        assert batch["token_type_ids"][place, :length].tolist() == questions.token_type_ids[row].tolist()
        assert not batch["token_type_ids"][place, length:].any()


def test_a_batch_pads_to_its_longest_row_with_the_id_for_it(tiny_tokenizer):
    encoded = encoder_of(tiny_tokenizer, COLA)(units_of(("the mean of the array", None), ("a", None)), ["1", "0"])
    longest, shortest = (len(ids) for ids in encoded.input_ids)
    batch = encoded.batch([1, 0])
    assert batch["input_ids"].shape == (2, longest)
    assert batch["input_ids"][0, shortest:].tolist() == [tiny_tokenizer.pad_token_id] * (longest - shortest)
    assert batch["attention_mask"].tolist() == [[1] * shortest + [0] * (longest - shortest), [1] * longest]
    assert batch["targets"].tolist() == [[1, 0], [0, 1]]
    # A row by itself is a question with one option.
    assert batch["option_rows"].tolist() == [[0], [1]]
    assert {name: value.dtype for name, value in batch.items()} == {
        "input_ids": torch.int64,
        "attention_mask": torch.int64,
        "token_type_ids": torch.int64,
        "targets": torch.float32,
        "option_rows": torch.int64,
    }


def test_a_batch_says_what_the_tokenizer_says_with_padding(tokenizer):
    encoded = encoder_of(tokenizer, RTE)(units_of(*PAIRS))
    expected = tokenizer(
        [text for text, _ in PAIRS],
        [pair for _, pair in PAIRS],
        padding=True,
        return_token_type_ids=True,
        return_tensors="pt",
    )
    batch = encoded.batch(range(len(PAIRS)))
    assert all(torch.equal(batch[name], expected[name]) for name in ("input_ids", "attention_mask"))
    assert torch.equal(batch["token_type_ids"] * batch["attention_mask"], expected["token_type_ids"])


def test_batches_hold_every_unit_once_within_their_tokens(word_piece):
    generator = np.random.default_rng(0)
    rows = [("a " * int(generator.integers(1, 30)), None) for _ in range(60)]
    encoded = encoder_of(word_piece, COLA)(units_of(*rows), ["1", "0"] * 30)
    batches = encoded.batches(batch_tokens=100)
    assert sorted(unit for batch in batches for unit in batch) == list(range(60))
    assert all(encoded.batch(units)["input_ids"].numel() <= 100 for units in batches)
    assert len(batches) < 25


def test_training_batches_are_a_function_of_the_step_and_see_every_unit_in_an_epoch(questions):
    batch_of = questions.training_batches(batch_tokens=24, seed=4)
    steps = questions.steps_per_epoch(batch_tokens=24, seed=4)
    # 24 tokens hold a question of three options, or one of two.
    assert steps == 3
    seen = [batch_of(step)["input_ids"].tolist() for step in range(2 * steps)]
    again = questions.training_batches(batch_tokens=24, seed=4)
    assert [again(step)["input_ids"].tolist() for step in reversed(range(2 * steps))] == seen[::-1]
    for epoch in (seen[:steps], seen[steps:]):
        assert sorted(len(batch) for batch in epoch) == [2, 2, 3]


def test_nothing_has_no_batch_and_no_unit(word_piece):
    empty = encoder_of(word_piece, RTE)([])
    assert (len(empty), empty.num_units, empty.num_truncated) == (0, 0, 0)
    assert empty.targets.shape == (0, 2)
    assert empty.batches(batch_tokens=100) == []


def test_joined_examples_are_these_and_then_those(word_piece, questions):
    others = encoder_of(word_piece, RACE, labels=(), max_tokens=6)(QUESTIONS[:1], [RIGHT, WRONG])
    joined = questions.joined(others)
    assert joined.starts.tolist() == [0, 2, 5, 7, 9]
    assert joined.targets.tolist() == [*questions.targets.tolist(), [1], [0]]
    assert joined.num_truncated == questions.num_truncated + others.num_truncated == 1
    first, second = joined.batch([3, 0]), others.batch([0])
    assert torch.equal(first["input_ids"][:2, :6], second["input_ids"])
    assert torch.equal(first["token_type_ids"][:2, :6], second["token_type_ids"])
    assert torch.equal(first["targets"][:2], second["targets"])
    assert (len(questions), len(others)) == (7, 2)


def test_answered_examples_have_the_same_texts_and_other_targets(questions):
    beliefs = np.linspace(0, 1, 7)
    answered = questions.answered(beliefs)
    assert answered.targets.tolist() == beliefs.astype(np.float32)[:, None].tolist()
    assert answered.targets.dtype == np.float32
    assert answered.input_ids is questions.input_ids
    assert questions.targets[1, 0] == 1.0


def test_targets_of_another_shape_are_refused(questions):
    with pytest.raises(ValueError, match="reshape"):
        questions.answered(np.zeros(6))


def test_the_fingerprint_changes_with_any_id_and_any_target_and_any_border(word_piece):
    def fingerprint(units, labels, task=RACE):
        return encoder_of(word_piece, task, labels=())(units, labels).fingerprint

    first, second, third = QUESTIONS
    one_word = Unit((("the mean", "a"), ("the mean", "a b d")))
    moved_border = [Unit((*first.rows, second.rows[0])), Unit(second.rows[1:]), third]
    prints = [
        fingerprint(QUESTIONS, RIGHTS),
        fingerprint([one_word, second, third], RIGHTS),
        fingerprint([second, first, third], RIGHTS),
        fingerprint(moved_border, [None] * 7),
        fingerprint(QUESTIONS, [None] * 7),
        fingerprint(QUESTIONS, [RIGHT, *RIGHTS[1:]]),
        fingerprint(QUESTIONS, [*RIGHTS[:-1], RIGHT]),
        fingerprint(QUESTIONS[:2], RIGHTS[:5]),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(QUESTIONS, RIGHTS) == prints[0]


def test_the_fingerprint_tells_where_a_row_ends(questions):
    first, second, *others = questions.input_ids
    moved = replace(questions, input_ids=[first[:-1], np.concatenate([first[-1:], second]), *others])
    assert moved.fingerprint != questions.fingerprint


def test_the_fingerprint_of_joined_examples_is_that_of_all_encoded_at_once(word_piece, questions):
    encoder = encoder_of(word_piece, RACE, labels=())
    parts = encoder(QUESTIONS[:2], RIGHTS[:5]).joined(encoder(QUESTIONS[2:], RIGHTS[5:]))
    assert parts.fingerprint == questions.fingerprint
