import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DebertaV2Tokenizer,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from bort_kedro.agora.masked_replacement import MaskedReplacement
from bort_kedro.agora.settings import MASKED_LM, TransformationSettings
from bort_kedro.encoders.pretrained import Pretrained

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "sat", "on", "mat", "un", "##able", "##s"]
WORDS += [".", "(", ")", "'", "##", "[unused1]"]
NEW_WORDS = {"the", "cat", "dog", "sat", "on", "mat", "un"}
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "bert": (BertForMaskedLM, BertConfig),
    "roberta": (RobertaForMaskedLM, RobertaConfig),
    "modernbert": (ModernBertForMaskedLM, ModernBertConfig),
    "deberta-v2": (DebertaV2ForMaskedLM, DebertaV2Config),
}
OPTIONS = {"changed_share": 0.3, "temperature": 1.0, "top_k": 50, "batch_tokens": 256, "max_tokens": 64}
PAIR = ("The mean of  the array is\tcomputed.", "Rows with missing\nvalues are dropped!")


def encoder(tokenizer, family="bert", spread=1.0, **sizes):
    """With random weights; the larger the spread, the surer it is."""
    model_class, config_class = FAMILIES[family]
    ids = {"pad_token_id": tokenizer.pad_token_id}
    if family == "modernbert":
        ids |= {"bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        # More embeddings than ids, as published encoders have.
        model = model_class(config_class(vocab_size=len(tokenizer) + 4, **{**SIZES, **sizes}, **ids)).eval()
        for parameter in model.parameters():
            parameter.data += spread * 0.3 * torch.randn_like(parameter)
    return Pretrained(model.requires_grad_(False), tokenizer)


@pytest.fixture(scope="module")
def word_piece():
    return BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}, model_max_length=64)


@pytest.fixture(scope="module")
def bert(word_piece):
    return encoder(word_piece)


@pytest.fixture(scope="module")
def byte_level(tiny_tokenizer):
    return encoder(tiny_tokenizer, "roberta")


@pytest.fixture(scope="module")
def sentence_piece():
    """DeBERTa-v2's own kind: the blank before a word belongs to its first piece, or is a piece."""
    pieces = {"[PAD]": 0.0, "[CLS]": 0.0, "[SEP]": 0.0, "[UNK]": 0.0, "▁": -3.0, "▁the": -2.0, "▁cat": -2.0, "▁d": -2.5}
    pieces |= dict.fromkeys("abcdehogst.,", -5.0) | {"at": -3.0, "og": -3.0, "ü": -5.0}
    return encoder(DebertaV2Tokenizer(vocab=list(pieces.items()), unk_id=3, model_max_length=64), "deberta-v2")


def replacement(pretrained, *, protects_spans=False, **options):
    settings = TransformationSettings.model_construct(weights={MASKED_LM: 1.0}, **{**OPTIONS, **options})
    return MaskedReplacement(pretrained, settings, protects_spans=protects_spans)


def replaced(pretrained, row, sides=(0,), seed=0, **options):
    replace = replacement(pretrained, **options)
    return replace([row], [sides], [np.random.default_rng(seed)])[0]


def many(pretrained, row, sides=(0,), num_seeds=40, **options):
    replace = replacement(pretrained, **options)
    generators = [np.random.default_rng(seed) for seed in range(num_seeds)]
    return replace([row] * num_seeds, [sides] * num_seeds, generators)


def changed_words(before, after):
    """Places of the words that differ; the blanks must be those that were there."""
    assert re.findall(r"\s+", before) == re.findall(r"\s+", after)
    return [place for place, both in enumerate(zip(before.split(), after.split(), strict=True)) if both[0] != both[1]]


def test_the_share_of_the_words_is_replaced_by_other_words_and_all_else_stays(bert):
    text = "  the cat\tsat on (the mat). The dog\u00a0sat on the mat\n"
    # 12 words, all of one token: round(0.3 * 12) = 4 of them change.
    for after, pair in many(bert, (text, None)):
        assert pair is None
        words = re.findall(r"\w+", after)
        places = [place for place, word in enumerate(re.findall(r"\w+", text)) if words[place] != word]
        assert len(places) == 4
        assert {words[place] for place in places} <= NEW_WORDS
        assert re.split(r"\w+", after) == re.split(r"\w+", text)


def test_every_word_is_replaced_in_some_copies(bert):
    text = "the cat sat on mat"
    assert {place for after, _ in many(bert, (text, None)) for place in changed_words(text, after)} == set(range(5))


def test_a_word_of_several_tokens_is_replaced_as_a_whole_by_as_many(bert):
    """`unables` is un ##able ##s: only ##s and ##able may take the place of one another."""
    news = {after for after, _ in many(bert, ("unables", None))}
    assert news <= {f"{word}sable" for word in NEW_WORDS - {"un"}}
    assert len(news) > 1


def test_words_that_do_not_fit_the_share_stay_unless_they_are_first(bert):
    """Two tokens may be hidden of `unables` (3), `cat`, `on`: two short words, or the long one, or what comes first."""
    texts = [after for after, _ in many(bert, ("unables cat on", None), changed_share=0.4)]
    assert {tuple(changed_words("unables cat on", after)) for after in texts} == {(0,), (1,), (2,), (1, 2)}


@pytest.mark.parametrize("text", ["", " ", ". ( )", "zebra", "the's", "漢"])
def test_text_without_a_word_that_may_change_comes_back(bert, text):
    """Unknown words are one special token, and contractions stay whole."""
    assert replaced(bert, (text, None), changed_share=0.9) == (text, None)


def test_special_tokens_spelled_in_a_text_are_text(byte_level):
    """`<mask>` and `</s>` of the text stay or change as the letters that they are, and hide nothing."""
    text = "the <mask> of </s>"
    for after, _ in many(byte_level, (text, None), changed_share=0.2):
        assert re.split(r"\w+", after) == re.split(r"\w+", text)


def test_marked_spans_stay_where_they_are_protected(byte_level):
    text = "The mean of [ the array ] is computed [ along ] the axis"
    news = [after for after, _ in many(byte_level, (text, None), protects_spans=True, changed_share=0.9)]
    assert all(re.findall(r"\[ .*? \]", after) == ["[ the array ]", "[ along ]"] for after in news)
    assert {place for after in news for place in changed_words(text, after)} == {0, 1, 2, 7, 8, 12, 13}


def test_no_mark_of_a_span_is_ever_drawn(byte_level):
    tokens = replacement(byte_level)._tokens
    drawn = {tokens.spellings[token] for token in np.flatnonzero(tokens.candidates.any(axis=0))}
    assert not [text for text in drawn if set(text) & set("[] \ufffd\n")]
    assert drawn >= {"the", "e", "7"}


@pytest.mark.parametrize("kind", ["bert", "byte_level", "sentence_piece"])
@settings(deadline=None)
@given(data=st.data())
@pytest.mark.slow
def test_blanks_and_punctuation_stay_byte_for_byte(kind, request, data):
    """Whatever the tokenizer makes of a text: only letters and digits change, and blanks stay where they were."""
    pieces = [
        "the",
        "cat",
        "dog",
        "Cats",
        "ü",
        "é",
        "漢字",
        "🙂",
        ".",
        ",",
        " ",
        "  ",
        "\t",
        "\u00a0",
        "x",
        "1",
        "\u0301",
    ]
    texts = st.lists(st.sampled_from(pieces), max_size=12).map("".join)
    row = data.draw(texts), data.draw(st.none() | texts)
    sides = (0,) if row[1] is None else (0, 1)
    after = replaced(request.getfixturevalue(kind), row, sides, changed_share=0.5)
    for old, new in zip(row, after, strict=True):
        if old is not None:
            assert re.findall(r"\s+", old) == re.findall(r"\s+", new)
            assert re.findall("[.,🙂]", old) == re.findall("[.,🙂]", new)
            assert "\ufffd" not in new


def test_sentence_pieces_are_replaced_with_the_blank_before_them_left_alone(sentence_piece):
    """`dog` is ▁d og: a beginning and an ending take their places."""
    news = {after for after, _ in many(sentence_piece, ("dog", None))}
    beginnings, endings = ("the", "cat"), ("at", *"abcdehogstü")
    assert news <= {beginning + ending for beginning in beginnings for ending in endings}
    assert len(news) > 5


@pytest.mark.parametrize("sides", [(0,), (1,), (0, 1)])
def test_only_the_chosen_texts_change(byte_level, sides):
    news = many(byte_level, PAIR, sides)
    changed = {side for after in news for side in (0, 1) if changed_words(PAIR[side], after[side])}
    assert changed == set(sides)
    assert PAIR not in news


def by_transformers(pretrained, row, after):
    """Logits (V,) of the one changed token, by the model's own call on the masked pair; its ids before and after."""
    tokenizer, model = pretrained.tokenizer, pretrained.model
    before, new = tokenizer(*row, return_tensors="pt"), tokenizer(*after, return_tensors="pt")
    (place,) = (before["input_ids"] != new["input_ids"]).nonzero()[:, 1].tolist()
    old_id, new_id = before["input_ids"][0, place].item(), new["input_ids"][0, place].item()
    before["input_ids"][0, place] = tokenizer.mask_token_id
    types = {"token_type_ids": before["token_type_ids"]} if getattr(model.config, "type_vocab_size", 0) > 1 else {}
    with torch.no_grad():
        logits = model(input_ids=before["input_ids"], attention_mask=before["attention_mask"], **types).logits
    return logits[0, place], old_id, new_id


def test_the_likeliest_word_given_both_texts_is_drawn_when_cold(bert):
    allowed = torch.tensor([WORDS.index(word) for word in sorted(NEW_WORDS)])
    row = ("the cat sat on the mat.", "the dog sat on mat")
    for side in (0, 1):
        for after in many(bert, row, (side,), temperature=1e-6, changed_share=0.01, num_seeds=20):
            logits, old_id, new_id = by_transformers(bert, row, after)
            kept = allowed[allowed != old_id]
            assert new_id == kept[logits[kept].argmax()]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_draws_what_its_own_call_finds_likeliest(family, tiny_tokenizer):
    pretrained = encoder(tiny_tokenizer, family)
    hide = replacement(pretrained)._hide
    for seed in range(8):
        (hidden,) = hide([PAIR], [(0, 1)], [np.random.default_rng(seed)])
        assert hidden.ids.tolist() == tiny_tokenizer(*PAIR)["input_ids"]
        masked = torch.tensor(hidden.ids)[None]
        masked[0, hidden.columns] = tiny_tokenizer.mask_token_id
        with torch.no_grad():
            logits = pretrained.model(input_ids=masked).logits[0]
        expected = list(PAIR)
        for word in reversed(hidden.words):
            new = [likeliest(tiny_tokenizer, logits[place].tolist(), int(hidden.ids[place])) for place in word.tokens]
            text = expected[word.side]
            expected[word.side] = text[: word.start] + "".join(new) + text[word.end :]
        assert replaced(pretrained, PAIR, (0, 1), seed=seed, temperature=1e-6) == tuple(expected)


def likeliest(tokenizer, logits, old):
    """The spelling of the likeliest other byte-level token that begins a word, or does not, as the old one."""
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    pattern = "Ġ[A-Za-z0-9]+" if tokens[old].startswith("Ġ") else "[A-Za-z0-9]+"
    fitting = [token for token, spelled in enumerate(tokens) if token != old and re.fullmatch(pattern, spelled)]
    return tokens[max(fitting, key=logits.__getitem__)].removeprefix("Ġ")


def test_draws_follow_the_softmax_of_the_likeliest_tokens(bert):
    """One word of two is hidden, the other unknown; three tokens may be drawn, at temperature 2."""
    row = ("zebra cat", None)
    news = [after.split()[1] for after, _ in many(bert, row, top_k=3, temperature=2.0, num_seeds=3000)]
    logits, _, _ = by_transformers(bert, row, ("zebra dog", None))
    allowed = torch.tensor([WORDS.index(word) for word in sorted(NEW_WORDS - {"cat"})])
    values, order = logits[allowed].topk(3)
    for share, token in zip((values / 2).softmax(-1).tolist(), allowed[order].tolist(), strict=True):
        found = news.count(WORDS[token]) / len(news)
        assert found == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(news)))


@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
def test_a_row_changes_alike_whatever_shares_its_batch(byte_level, batch_tokens):
    rows = [(" ".join(["the mean of", "a new array"] * (1 + place % 5)), None) for place in range(12)] + [PAIR]
    sides = [(0,)] * 12 + [(0, 1)]
    replace = replacement(byte_level, batch_tokens=batch_tokens)
    together = replace(rows, sides, [np.random.default_rng([7, place]) for place in range(13)])
    alone = [
        replace([row], [side], [np.random.default_rng([7, place])])[0]
        for place, (row, side) in enumerate(zip(rows, sides, strict=True))
    ]
    assert together == alone
    assert all(new != old for new, old in zip(together, rows, strict=True))


def test_the_same_generator_gives_the_same_text_and_another_another(byte_level):
    assert replaced(byte_level, PAIR, seed=1) == replaced(byte_level, PAIR, seed=1)
    assert len(set(many(byte_level, PAIR))) > 30


def test_of_a_long_text_a_window_changes_and_the_rest_stays(bert):
    """Of 100 words the encoder takes 18 beside [CLS] and [SEP], wherever they stand: round(0.5 * 18) = 9 change."""
    text = " ".join(["the", "cat", "sat", "on", "mat"] * 20)
    firsts = set()
    for after, _ in many(bert, (text, None), max_tokens=20, changed_share=0.5):
        places = changed_words(text, after)
        assert len(places) == 9
        assert places[-1] - places[0] < 18
        firsts.add(places[0])
    assert min(firsts) < 20
    assert max(firsts) > 70


def test_an_encoder_of_few_positions_sees_as_many(word_piece):
    short = encoder(word_piece, max_position_embeddings=10)
    text = " ".join(["the cat sat on mat"] * 5)
    for after, _ in many(short, (text, None), max_tokens=64, changed_share=0.99):
        places = changed_words(text, after)
        assert (len(places), places[-1] - places[0]) == (8, 7)


def test_a_word_that_the_window_cuts_is_not_hidden(bert):
    """Six tokens of `unables` three times: windows of four hold one whole word at most."""
    text = "unables unables unables"
    for after, _ in many(bert, (text, None), max_tokens=6, changed_share=0.99):
        assert all(word == "unables" or word.endswith("sable") for word in after.split())
        assert len(changed_words(text, after)) <= 1


def test_a_long_pair_leaves_room_for_the_text_that_changes(bert):
    row = ("the cat sat on mat", " ".join(["the dog"] * 40))
    for text, pair in many(bert, row, max_tokens=20, changed_share=0.99):
        assert pair == row[1]
        assert changed_words(row[0], text) == [0, 1, 2, 3, 4]


def test_training_mode_of_the_encoder_does_not_make_the_draws_differ(word_piece):
    shaky = encoder(word_piece, hidden_dropout_prob=0.5)
    row = ("the cat sat on the mat", None)
    steady = replaced(shaky, row, temperature=1e-6)
    shaky.model.train()
    assert replaced(shaky, row, temperature=1e-6) == steady


def test_no_rows_are_no_rows(bert):
    assert replacement(bert)([], [], []) == []
