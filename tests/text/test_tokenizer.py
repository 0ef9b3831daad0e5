import pytest
from transformers import BertConfig, BertForMaskedLM

from bort_kedro.errors import TokenizerError
from bort_kedro.text import pieces
from bort_kedro.text.tokenization import DocumentEncoder, word_starts
from bort_kedro.text.tokenizer import num_ids, open_tokenizer, special_frame, train_tokenizer, vocabulary_of
from bort_kedro.text.trimming import count_ids, size_report, trim_tokenizer, vocabulary_map

TEXTS = ["The mean of the array is computed along the axis.", "The sum of the array is computed."] * 5


@pytest.fixture(scope="module")
def trained():
    return train_tokenizer(TEXTS, vocabulary_size=280, max_positions=32)


def test_special_tokens_have_the_ids_of_roberta_and_pairs_its_frame(trained):
    vocabulary = vocabulary_of(trained)
    assert (vocabulary.size, vocabulary.mask_id, vocabulary.pad_id) == (280, 4, 1)
    assert vocabulary.special_ids == (0, 1, 2, 3, 4)
    one, other = (trained(text, add_special_tokens=False)["input_ids"] for text in ("The mean", "The sum"))
    assert trained("The mean", "The sum")["input_ids"] == [0, *one, 2, 2, *other, 2]
    assert "token_type_ids" not in trained("The mean")


def test_any_text_comes_back_from_its_ids(trained):
    text = " naïve 漢字 \t x²"
    assert trained.decode(trained(text, add_special_tokens=False)["input_ids"]) == text


def test_training_twice_gives_the_same_tokenizer(trained):
    again = train_tokenizer(TEXTS[::-1], vocabulary_size=280, max_positions=32)
    assert vocabulary_of(again) == vocabulary_of(trained)


def test_a_run_without_white_space_is_trained_on_as_words_of_a_thousand_characters():
    run = "0123456789" * 250
    in_words = " ".join((run[:1000], run[1000:2000], run[2000:]))
    long, short = (train_tokenizer([*TEXTS, text], vocabulary_size=290, max_positions=32) for text in (run, in_words))
    assert vocabulary_of(long) == vocabulary_of(short)


def test_training_in_pieces_gives_the_tokenizer_of_the_whole(trained, monkeypatch):
    monkeypatch.setattr(pieces, "CHARACTERS_OF_PIECE", 10)
    assert vocabulary_of(train_tokenizer(TEXTS, vocabulary_size=280, max_positions=32)) == vocabulary_of(trained)


def test_special_frame_is_what_stands_around_a_sequence(trained):
    assert special_frame(trained) == ([0], [2])


def test_a_vocabulary_larger_than_the_corpus_supports_names_the_size_it_reached():
    with pytest.raises(TokenizerError) as caught:
        train_tokenizer(TEXTS, vocabulary_size=5000, max_positions=32)
    message = str(caught.value)
    assert "A vocabulary of 5000 ids is more than the corpus supports" in message
    reached = int(message.split("found ")[1].split(",", maxsplit=1)[0])
    assert f"to at most {reached}" in message
    assert train_tokenizer(TEXTS, vocabulary_size=reached, max_positions=32).vocab_size == reached


def test_a_folder_without_a_tokenizer_says_what_was_expected(tmp_path):
    with pytest.raises(TokenizerError, match=r"folder with tokenizer.json. Change `pretrained`"):
        open_tokenizer(str(tmp_path), max_positions=32)


def test_a_tokenizer_without_a_mask_token_is_refused(trained, tmp_path):
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=trained.backend_tokenizer, pad_token="<pad>").save_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match="it has no mask token"):
        open_tokenizer(str(tmp_path), max_positions=32)


def test_a_folder_of_weights_alone_has_no_tokenizer_to_give(tmp_path):
    BertForMaskedLM(
        BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
    ).save_pretrained(tmp_path)
    with pytest.raises(TokenizerError) as caught:
        open_tokenizer(str(tmp_path), max_positions=32)
    assert str(caught.value) == (
        f"The tokenizer `{tmp_path}` cannot serve masked-LM training: it has no tokens but special ones. Choose "
        "another as `pretrained` under params:corpus.tokenizer."
    )


def test_a_vocabulary_with_repeated_lines_has_ids_up_to_its_last(tmp_path):
    # BERT numbers tokens by their lines; of a token that stands on two, the last counts.
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sum", "$", "mean", "$", "axis"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    opened = open_tokenizer(str(tmp_path), max_positions=32)
    assert (len(opened), num_ids(opened), vocabulary_of(opened).size) == (9, 10, 10)
    assert DocumentEncoder(opened, sequence_length=8).blocks(["axis $ mean"]).ids.tolist() == [2, 9, 8, 7, 3]
    assert word_starts(opened).shape == (10,)
    trimmed = trim_tokenizer(opened, count_ids(opened, ["axis $ axis"]), min_count=1)
    assert size_report(opened, opened) == {
        "ids_before": 10,
        "ids_after": 10,
        "embedding_parameters_saved_per_hidden_unit": 0,
    }
    # Whole words stay where their characters have no pieces; the empty place goes.
    assert trimmed.convert_ids_to_tokens(range(num_ids(trimmed))) == [*words[:6], "mean", "$", "axis"]
    assert vocabulary_map(opened, opened).kept.tolist() == list(range(10))
    assert vocabulary_map(trimmed, opened).kept.tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]
