import json

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BertConfig, BertTokenizer, DebertaV2Tokenizer, PreTrainedTokenizerFast

from bort_kedro.errors import TokenizerError
from bort_kedro.text.tokenizer import special_frame, tokenizer_fingerprint, train_tokenizer, vocabulary_of
from bort_kedro.text.trimming import (
    count_ids,
    size_report,
    tokens_by_id,
    trim_tokenizer,
    trimming_report,
    vocabulary_map,
)

SENTENCES = [
    "The mean of the array is computed along the given axis.",
    "Return a new array of the given shape and type, filled with ones.",
    "The solver stops when the residual is smaller than the tolerance.",
    "Rows with missing values are dropped before the mean is computed.",
    "The estimator is fitted on the training set, then scored on the test set.",
    "A sparse matrix keeps only those values which are not zero; naïve ones keep all.",
]
COUNTED = SENTENCES[:2]
BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROLES = ("bos", "cls", "sep", "eos", "pad", "unk", "mask")


def byte_bpe():
    """As RoBERTa's, with 100 merges."""
    return train_tokenizer(SENTENCES * 3, vocabulary_size=361, max_positions=32)


def word_piece():
    """As BERT's, specials after the ordinary ids included."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=250, special_tokens=BERT_TOKENS, show_progress=False)
    tokenizer.train_from_iterator([text.lower() for text in SENTENCES] * 3, trainer)
    vocabulary = {token: number for token, number in tokenizer.get_vocab().items() if token not in BERT_TOKENS[2:]}
    ordered = sorted(vocabulary, key=vocabulary.get) + BERT_TOKENS[2:]
    return BertTokenizer(vocab={token: number for number, token in enumerate(ordered)}, model_max_length=32)


def unigram():
    """As DeBERTa-v2's: the mask token lies outside the model's own pieces."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]"], unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    pieces = [tuple(entry) for entry in json.loads(tokenizer.to_str())["model"]["vocab"]]
    return DebertaV2Tokenizer(vocab=pieces, unk_id=3, model_max_length=32)


KINDS = {"byte-level BPE": byte_bpe, "WordPiece": word_piece, "Unigram": unigram}


@pytest.fixture(scope="module", params=list(KINDS))
def whole(request):
    return KINDS[request.param]()


@pytest.fixture(scope="module")
def trimmed(whole):
    return trim_tokenizer(whole, count_ids(whole, COUNTED), min_count=1)


def tokens(tokenizer, *texts):
    return tokenizer.convert_ids_to_tokens(tokenizer(*texts)["input_ids"])


def bare(backend, **roles):
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def test_counts_are_those_of_the_ids_one_by_one(whole):
    expected = np.zeros(len(whole), dtype=np.int64)
    for text in SENTENCES:
        for number in whole(text, add_special_tokens=False)["input_ids"]:
            expected[number] += 1
    assert count_ids(whole, SENTENCES).tolist() == expected.tolist()
    assert count_ids(whole, []).tolist() == [0] * len(whole)


def test_special_tokens_written_in_a_text_count_as_text_and_settings_of_the_tokenizer_as_nothing():
    tokenizer = byte_bpe()
    tokenizer(["The mean"], truncation=True, max_length=3, padding="max_length")
    counts = count_ids(tokenizer, ["a<mask>", "the mean of the array"])
    assert counts[:5].tolist() == [0] * 5
    assert counts.sum() == 1 + len("<mask>") + len(byte_bpe().tokenize("the mean of the array"))


def test_counted_text_is_cut_into_the_same_tokens(whole, trimmed):
    assert len(trimmed) < len(whole)
    for text in COUNTED:
        assert tokens(trimmed, text) == tokens(whole, text)
    assert tokens(trimmed, *COUNTED) == tokens(whole, *COUNTED)


@pytest.mark.parametrize("seed", range(6))
def test_any_counted_part_of_a_corpus_is_cut_into_the_same_tokens(whole, seed):
    generator = np.random.default_rng(seed)
    words = " ".join(SENTENCES).split()
    texts = [" ".join(generator.choice(words, size=4)) for _ in range(5)]
    trimmed = trim_tokenizer(whole, count_ids(whole, texts), min_count=1)
    assert len(trimmed) < len(whole)
    assert [tokens(trimmed, text) for text in texts] == [tokens(whole, text) for text in texts]


def test_ids_are_numbered_anew_in_the_order_they_had(whole, trimmed):
    kept = set(tokens_by_id(trimmed))
    assert tokens_by_id(trimmed) == [token for token in tokens_by_id(whole) if token in kept]
    assert sorted(trimmed.get_vocab().values()) == list(range(len(trimmed)))


def test_only_ids_counted_often_enough_and_what_text_falls_back_on_stay():
    tokenizer = word_piece()
    counts = count_ids(tokenizer, SENTENCES)
    kept = set(trim_tokenizer(tokenizer, counts, min_count=2).get_vocab())
    for token, number in tokenizer.get_vocab().items():
        is_single = len(token.removeprefix("##")) == 1
        assert (token in kept) == (counts[number] >= 2 or is_single or token in BERT_TOKENS), token


def test_roles_frames_and_settings_are_kept(whole, trimmed):
    for role in ROLES:
        assert getattr(trimmed, f"{role}_token") == getattr(whole, f"{role}_token")
    assert trimmed.model_max_length == 32
    assert trimmed.model_input_names == whole.model_input_names
    assert set(trimmed("one", "two")) == set(whole("one", "two"))
    frames = [
        [tokenizer.convert_ids_to_tokens(part) for part in special_frame(tokenizer)] for tokenizer in (whole, trimmed)
    ]
    assert frames[0] == frames[1]
    specials = [
        sorted(tokenizer.convert_ids_to_tokens(vocabulary_of(tokenizer).special_ids)) for tokenizer in (whole, trimmed)
    ]
    assert specials[0] == specials[1]


def test_special_tokens_are_found_in_text_as_before(whole, trimmed):
    text = f"the {whole.mask_token} of the array"
    assert tokens(trimmed, text) == tokens(whole, text)
    assert trimmed.mask_token_id in trimmed(text)["input_ids"]


@pytest.mark.parametrize("is_beside_a_model", [False, True])
def test_a_saved_tokenizer_opens_as_it_was(trimmed, is_beside_a_model, tmp_path):
    trimmed.save_pretrained(tmp_path)
    if is_beside_a_model:
        BertConfig(vocab_size=len(trimmed)).save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer_fingerprint(opened) == tokenizer_fingerprint(trimmed)
    assert vocabulary_of(opened) == vocabulary_of(trimmed)
    assert opened.special_tokens_map == trimmed.special_tokens_map
    assert opened.model_max_length == trimmed.model_max_length
    assert opened.model_input_names == trimmed.model_input_names
    assert tokens(opened, *SENTENCES[:2]) == tokens(trimmed, *SENTENCES[:2])


def test_other_text_stays_known(whole, trimmed):
    for text in SENTENCES[2:]:
        assert whole.unk_token not in whole.tokenize(text)
        assert trimmed.unk_token not in trimmed.tokenize(text)
        assert len(trimmed.tokenize(text)) > len(whole.tokenize(text))


def test_any_text_comes_back_from_the_ids_of_a_byte_level_tokenizer():
    whole = byte_bpe()
    trimmed = trim_tokenizer(whole, np.zeros(len(whole), dtype=np.int64), min_count=1)
    assert len(trimmed) == 5 + 256
    for text in [" naïve 漢字 \t x²\n", " \U0001f600 a b", " a tiny test\x00"]:
        assert trimmed.decode(trimmed(text, add_special_tokens=False)["input_ids"]) == text


def test_every_way_to_make_a_kept_token_stays_with_its_parts_and_no_other_merge():
    pieces = ["<unk>", *"abcd", "ab", "bc", "cd", "abc", "abcd", "dd"]
    merges = [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc"), ("c", "d"), ("ab", "cd"), ("d", "d")]
    model = models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=merges)
    tokenizer = bare(Tokenizer(model), unk_token="<unk>")
    counts = np.zeros(len(pieces), dtype=np.int64)
    counts[pieces.index("abc")] = 1
    trimmed = trim_tokenizer(tokenizer, counts, min_count=1)
    assert tokens_by_id(trimmed) == ["<unk>", *"abcd", "ab", "bc", "abc"]
    layout = json.loads(trimmed.backend_tokenizer.to_str())
    assert layout["model"]["merges"] == [["b", "c"], ["a", "b"], ["ab", "c"], ["a", "bc"]]
    assert trimmed.tokenize("abcabd") == ["abc", "ab", "d"]


@pytest.mark.parametrize(
    "marks", [{"end_of_word_suffix": "</w>"}, {"continuing_subword_prefix": "@@"}], ids=["suffix", "prefix"]
)
def test_pieces_marked_by_their_place_in_a_word_are_trimmed_with_their_merges(marks):
    backend = Tokenizer(models.BPE(unk_token="<unk>", **marks))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False, **marks)
    backend.train_from_iterator(SENTENCES * 3, trainer)
    whole = bare(backend, unk_token="<unk>")
    trimmed = trim_tokenizer(whole, count_ids(whole, COUNTED), min_count=1)
    assert len(trimmed) < len(whole)
    assert [trimmed.tokenize(text) for text in COUNTED] == [whole.tokenize(text) for text in COUNTED]
    assert all("<unk>" not in trimmed.tokenize(text) for text in SENTENCES)


def test_byte_pieces_stay_where_a_model_falls_back_on_them():
    pieces = ["<unk>", *(f"<0x{number:02X}>" for number in range(256)), *"<0x>ABCDEF123456789", "ab", "a", "b"]
    model = models.BPE(
        {piece: n for n, piece in enumerate(pieces)}, [("a", "b")], unk_token="<unk>", byte_fallback=True
    )
    backend = Tokenizer(model)
    backend.decoder = decoders.ByteFallback()
    whole = bare(backend, unk_token="<unk>")
    trimmed = trim_tokenizer(whole, np.zeros(len(pieces), dtype=np.int64), min_count=1)
    assert set(pieces) - set(tokens_by_id(trimmed)) == {"ab"}
    assert trimmed.tokenize("abé") == ["a", "b", "<0xC3>", "<0xA9>"]


def test_a_piece_whose_characters_have_no_pieces_of_their_own_stays():
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2, "ab": 3, "ax": 4}, unk_token="[UNK]"))
    trimmed = trim_tokenizer(bare(backend, unk_token="[UNK]"), np.zeros(5, dtype=np.int64), min_count=1)
    assert tokens_by_id(trimmed) == ["[UNK]", "a", "##b", "ax"]


def test_the_price_of_an_unknown_character_in_a_unigram_model_stays():
    # The price is that of the least likely piece and 10 more: "qq" sets it, though no counted text has it.
    scores = {"<unk>": 0.0, "a": -1.0, "b": -1.0, "c": -30.0, "q": -2.0, "aXb": -15.0, "bc": -1.0, "qq": -60.0}
    whole = bare(Tokenizer(models.Unigram(list(scores.items()), unk_id=0)), unk_token="<unk>")
    assert whole.tokenize("aXbc") == ["aXb", "c"]
    without = [entry for entry in scores.items() if entry[0] != "qq"]
    assert Tokenizer(models.Unigram(without, unk_id=0)).encode("aXbc").tokens == ["a", "X", "bc"]
    trimmed = trim_tokenizer(whole, count_ids(whole, ["aXbc"]), min_count=1)
    assert tokens_by_id(trimmed) == ["<unk>", "a", "b", "c", "q", "aXb", "qq"]
    assert trimmed.tokenize("aXbc") == ["aXb", "c"]


def test_the_unknown_piece_of_a_unigram_model_keeps_its_part_at_another_id():
    scores = {"zz": -1.0, "z": -2.0, "[UNK]": 0.0, "a": -1.0}
    whole = bare(Tokenizer(models.Unigram(list(scores.items()), unk_id=2)), unk_token="[UNK]")
    trimmed = trim_tokenizer(whole, count_ids(whole, ["a"]), min_count=1)
    assert tokens_by_id(trimmed) == ["z", "[UNK]", "a"]
    assert trimmed("zéa")["input_ids"] == [0, 1, 2]


def test_added_tokens_follow_the_count_unless_special_and_frames_follow_their_tokens():
    whole = byte_bpe()
    whole.add_tokens(["axis-one", AddedToken("axis-two", normalized=False)])
    whole.add_special_tokens({"extra_special_tokens": ["<topic>"]})
    whole.backend_tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(),
            processors.TemplateProcessing(
                single="<topic> $A </s>",
                special_tokens=[("<topic>", whole.convert_tokens_to_ids("<topic>")), ("</s>", 2)],
            ),
        ]
    )
    trimmed = trim_tokenizer(whole, count_ids(whole, ["the axis-two"]), min_count=1)
    assert tokens_by_id(trimmed)[-2:] == ["axis-two", "<topic>"]
    assert tokens(trimmed, "the axis-two") == tokens(whole, "the axis-two")
    assert tokens(trimmed, "the axis-two")[0] == "<topic>"
    assert trimmed.all_special_tokens == whole.all_special_tokens


def test_padding_and_truncation_of_an_earlier_call_do_not_travel():
    tokenizer = byte_bpe()
    before = tokenizer_fingerprint(trim_tokenizer(tokenizer, count_ids(tokenizer, COUNTED), min_count=1))
    tokenizer(["The mean"], truncation=True, max_length=3, padding="max_length")
    assert tokenizer_fingerprint(trim_tokenizer(tokenizer, count_ids(tokenizer, COUNTED), min_count=1)) == before


def test_teacher_ids_of_a_trimmed_text_are_the_teachers_own(whole, trimmed):
    found = vocabulary_map(trimmed, whole)
    assert (found.num_teacher_ids, found.rest_id) == (len(whole), trimmed.unk_token_id)
    ids = torch.tensor(trimmed(*COUNTED)["input_ids"])
    assert found.to_teacher_ids(ids).tolist() == whole(*COUNTED)["input_ids"]
    assert vocabulary_map(whole, whole).is_identity


def test_the_report_counts_by_hand():
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2, "ab": 3, "##bb": 4}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    whole = bare(backend, unk_token="[UNK]")
    counts = count_ids(whole, ["ab ab a", "abb"])
    assert counts.tolist() == [0, 1, 1, 3, 0]
    trimmed = trim_tokenizer(whole, counts, min_count=4)
    # "ab" takes two tokens now, and "abb" three for two.
    report = trimming_report(
        whole, trimmed, train_counts=counts, train_texts=["ab ab a", "abb"], held_out_texts=["ab a"]
    )
    assert report == {
        "ids_before": 5,
        "ids_after": 3,
        "embedding_parameters_saved_per_hidden_unit": 2,
        "train": {"tokens_before": 5, "tokens_after": 8, "growth": pytest.approx(0.6)},
        "held_out": {
            "tokens_before": 2,
            "tokens_after": 3,
            "growth": pytest.approx(0.5),
            "share_of_dropped_ids": pytest.approx(0.5),
        },
    }
    assert size_report(whole, whole)["embedding_parameters_saved_per_hidden_unit"] == 0


def test_a_tokenizer_without_an_unknown_token_is_refused():
    tokenizer = bare(Tokenizer(models.BPE({"a": 0}, [])))
    with pytest.raises(TokenizerError) as caught:
        trim_tokenizer(tokenizer, np.ones(1, dtype=np.int64), min_count=1)
    assert str(caught.value) == (
        "The tokenizer has no unknown token, and a trimmed vocabulary needs one for what was dropped. Set "
        "params:corpus.tokenizer.min_count to null, or choose a tokenizer with an unknown token."
    )


def test_a_tokenizer_of_another_kind_is_refused():
    tokenizer = bare(Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")), unk_token="[UNK]")
    with pytest.raises(TokenizerError) as caught:
        trim_tokenizer(tokenizer, np.ones(2, dtype=np.int64), min_count=1)
    assert str(caught.value) == (
        "A tokenizer of kind WordLevel cannot be trimmed, only one of BPE, WordPiece, Unigram. Set "
        "params:corpus.tokenizer.min_count to null, or choose another tokenizer."
    )


def test_counts_of_another_tokenizer_are_refused():
    with pytest.raises(ValueError, match="12 counts for a tokenizer of 361 ids"):
        trim_tokenizer(byte_bpe(), np.ones(12, dtype=np.int64), min_count=1)


def test_a_teacher_that_lacks_tokens_of_the_student_is_refused():
    student = bare(Tokenizer(models.BPE({"[UNK]": 0, "a": 1, "médian": 2}, [])), unk_token="[UNK]")
    teacher = bare(Tokenizer(models.BPE({"a": 0, "b": 1, "[UNK]": 2}, [])), unk_token="[UNK]")
    with pytest.raises(TokenizerError) as caught:
        vocabulary_map(student, teacher)
    assert str(caught.value) == (
        "The student's tokenizer is no part of the teacher's: the teacher lacks 1 of the student's 3 tokens, such as "
        "'médian'. The corpus was made with another tokenizer than that of params:search.maximum_point: run `kedro run "
        "--pipelines corpus` and what depends on it again."
    )
