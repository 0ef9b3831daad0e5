from collections import Counter

import pandas as pd
import pytest

from bort_kedro.errors import CorpusError, TokenizerError
from bort_kedro.pipelines.corpus.nodes import make_tokenizer, split_documents, tokenize_documents
from bort_kedro.text.settings import CorpusSettings
from project_parameters import parameters

# A search that trains its maximum point.
TRAINED = parameters().search
WORDS = ["mean", "array", "axis", "sum", "shape", "value", "index", "row", "column", "matrix"]


@pytest.fixture
def corpus():
    return CorpusSettings(
        seed=0,
        splits={"validation": 0.1, "test": 0.1, "tasks": 0.2},
        tokenizer={"pretrained": None, "vocabulary_size": 280, "min_count": None},
        sequence_length=8,
        packing="documents",
        max_positions=16,
    )


@pytest.fixture
def raw_corpus():
    rows = [
        (f"d{n}", "numpy", " ".join(f"the {WORDS[(n + k) % 10]} of the {WORDS[(n * k) % 10]}" for k in range(4)))
        for n in range(20)
    ]
    return pd.DataFrame(rows, columns=["document_id", "source", "text"])


def test_manifest_counts_what_was_read(raw_corpus, corpus):
    raw_corpus.attrs["versions"] = {"numpy": "2.4"}
    documents, manifest = split_documents(raw_corpus, corpus)
    assert manifest["versions"] == {"numpy": "2.4"}
    assert (manifest["documents"], manifest["words"]) == (20, 20 * 20)
    assert manifest["documents_by_split"] == {"train": 12, "validation": 2, "test": 2, "tasks": 4}
    assert documents["text"].tolist() == raw_corpus["text"].tolist()


def test_manifest_hash_follows_the_text(raw_corpus, corpus):
    _, before = split_documents(raw_corpus, corpus)
    _, same = split_documents(raw_corpus.copy(), corpus)
    raw_corpus.loc[3, "text"] += "."
    _, after = split_documents(raw_corpus, corpus)
    assert before["sha256"] == same["sha256"] != after["sha256"]


def test_blocks_hold_every_token_of_the_pretraining_splits_and_none_of_the_tasks(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer, _ = make_tokenizer(documents, corpus, TRAINED)
    tokens = tokenize_documents(documents, tokenizer, corpus)
    assert set(tokens.splits) == {"train", "validation", "test"}
    for split, blocks in tokens.splits.items():
        texts = documents.loc[documents["split"] == split, "text"]
        expected = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
        inner = [int(i) for n in range(len(blocks)) for i in blocks[n][1:-1]]
        assert inner == expected
        assert all(blocks[n][0] == 0 and blocks[n][-1] == 2 for n in range(len(blocks)))
        assert blocks.lengths.max() <= 8


def test_no_block_crosses_documents(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer, _ = make_tokenizer(documents, corpus, TRAINED)
    blocks = tokenize_documents(documents, tokenizer, corpus).splits["train"]
    texts = documents.loc[documents["split"] == "train", "text"]
    expected = sum(-(-len(tokenizer(text, add_special_tokens=False)["input_ids"]) // 6) for text in texts)
    assert len(blocks) == expected


def test_joined_blocks_hold_the_pieces_of_the_documents_in_order_as_many_as_fit(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer, _ = make_tokenizer(documents, corpus, TRAINED)
    wide = corpus.model_copy(update={"sequence_length": 100})
    apart = tokenize_documents(documents, tokenizer, wide).splits["train"]
    joined = tokenize_documents(documents, tokenizer, wide.model_copy(update={"packing": "joined"})).splits["train"]
    assert (apart.joined, joined.joined) == (False, True)
    assert joined.ids.tolist() == apart.ids.tolist()
    assert len(joined) < len(apart)
    assert joined.lengths.max() <= 100
    assert set(joined.offsets.tolist()) <= set(apart.offsets.tolist())
    first_pieces = [int(apart.lengths[apart.offsets[:-1] == start][0]) for start in joined.offsets[1:-1]]
    assert all(length + first > 100 for length, first in zip(joined.lengths, first_pieces, strict=False))


def test_tokens_say_which_ids_begin_a_word_and_a_text(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer, _ = make_tokenizer(documents, corpus, TRAINED)
    tokens = tokenize_documents(documents, tokenizer, corpus)
    assert tokens.vocabulary.start_id == 0
    begins = tokenizer.convert_ids_to_tokens(tokens.word_starts.nonzero()[0].tolist())
    assert "Ġthe" in begins
    assert all(token[0] in "ĠĉĊč" for token in begins)


def test_a_corpus_smaller_than_one_block_says_how_many_tokens_it_has(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer, _ = make_tokenizer(documents, corpus, TRAINED)
    documents["text"] = "the"
    large = corpus.model_copy(update={"sequence_length": 400})
    with pytest.raises(CorpusError) as caught:
        tokenize_documents(documents, tokenizer, large)
    assert "The training split has 36 tokens, fewer than one block of 400" in str(caught.value)
    assert "params:corpus.sequence_length" in str(caught.value)


def with_tokenizer(corpus, **changes):
    return corpus.model_copy(update={"tokenizer": corpus.tokenizer.model_copy(update=changes)})


def token_counts(documents, tokenizer, *splits):
    texts = documents.loc[documents["split"].isin(splits), "text"]
    return Counter(i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_tokenizer_of_the_corpus_keeps_all_its_ids_unless_told_otherwise(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    tokenizer, report = make_tokenizer(documents, corpus, TRAINED)
    assert len(tokenizer) == 280
    assert report == {"ids_before": 280, "ids_after": 280, "embedding_parameters_saved_per_hidden_unit": 0}


def test_the_vocabulary_report_counts_what_trimming_saved_and_cost(raw_corpus, corpus):
    documents, _ = split_documents(raw_corpus, corpus)
    whole, _ = make_tokenizer(documents, corpus, TRAINED)
    trimmed, report = make_tokenizer(documents, with_tokenizer(corpus, min_count=25), TRAINED)
    before, after = (
        [token_counts(documents, tokenizer, *splits) for splits in (("train",), ("validation", "test"))]
        for tokenizer in (whole, trimmed)
    )
    dropped = sum(before[1][number] for token, number in whole.get_vocab().items() if token not in trimmed.get_vocab())
    assert dropped > 0
    assert 261 < len(trimmed) < 280
    assert report == {
        "ids_before": 280,
        "ids_after": len(trimmed),
        "embedding_parameters_saved_per_hidden_unit": 280 - len(trimmed),
        "train": {
            "tokens_before": before[0].total(),
            "tokens_after": after[0].total(),
            "growth": pytest.approx(after[0].total() / before[0].total() - 1),
        },
        "held_out": {
            "tokens_before": before[1].total(),
            "tokens_after": after[1].total(),
            "growth": pytest.approx(after[1].total() / before[1].total() - 1),
            "share_of_dropped_ids": pytest.approx(dropped / before[1].total()),
        },
    }
    assert report["held_out"]["growth"] > 0


def test_all_take_the_tokenizer_of_an_encoder_that_is_the_maximum_point(raw_corpus, corpus, tiny_tokenizer, tmp_path):
    documents, _ = split_documents(raw_corpus, corpus)
    encoder = parameters(search={"maximum_point": str(tmp_path)}).search
    tiny_tokenizer.save_pretrained(tmp_path)
    taken, report = make_tokenizer(documents, corpus, encoder)
    assert taken.get_vocab() == tiny_tokenizer.get_vocab()
    assert (report["ids_before"], taken.model_max_length) == (len(tiny_tokenizer), 16)
    trimmed, report = make_tokenizer(documents, with_tokenizer(corpus, min_count=1), encoder)
    assert set(trimmed.get_vocab()) < set(tiny_tokenizer.get_vocab())
    assert report["train"]["growth"] == 0.0


def test_a_tokenizer_that_is_named_is_opened_where_the_maximum_point_is_trained(
    raw_corpus, corpus, tiny_tokenizer, tmp_path
):
    documents, _ = split_documents(raw_corpus, corpus)
    tiny_tokenizer.save_pretrained(tmp_path)
    chosen, _ = make_tokenizer(documents, with_tokenizer(corpus, pretrained=str(tmp_path)), TRAINED)
    assert chosen.get_vocab() == tiny_tokenizer.get_vocab()


def test_an_encoder_whose_tokenizer_cannot_be_opened_is_named_with_the_place_to_change(raw_corpus, corpus, tmp_path):
    documents, _ = split_documents(raw_corpus, corpus)
    with pytest.raises(TokenizerError) as caught:
        make_tokenizer(documents, corpus, parameters(search={"maximum_point": str(tmp_path)}).search)
    assert str(caught.value).startswith(
        f"All encoders take the tokenizer of params:search.maximum_point. The tokenizer `{tmp_path}` cannot be opened: "
    )
