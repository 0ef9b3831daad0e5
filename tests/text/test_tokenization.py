import numpy as np
import pytest

from bort_kedro.errors import ConfigurationError, TokenizerError
from bort_kedro.text import pieces, tokenization
from bort_kedro.text.tokenization import DocumentEncoder, require_known, tokenize_texts, word_starts
from bort_kedro.text.tokenizer import vocabulary_of
from bort_kedro.text.tokens import TokenBlocks, join_blocks
from cutting import cut_document

TEXTS = [
    "The mean of the array is computed along the given axis." * 7,
    "",
    "naïve 漢字 \t x²\r\n\n  The   solver stops\n",
    "a",
    "Rows with missing values are dropped before the mean is computed. " * 20,
]


def wrapped(tokenizer, **roles):
    """A transformers tokenizer over one of the `tokenizers` library, with the special tokens that it is given."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


@pytest.fixture
def unigram():
    """SentencePiece-like: control tokens are pieces that text may match, as in the vocabulary of XLM-R."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = {"<pad>": 0.0, "<unk>": 0.0, "<s>": 0.0, "</s>": 0.0, "<mask>": 0.0}
    pieces |= {"▁": -3.0, "a": -3.0, "b": -3.0, "<": -4.0, "s": -4.0, ">": -4.0, "▁ab": -4.0, "č": -4.0}
    tokenizer = Tokenizer(models.Unigram(list(pieces.items()), unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)])
    roles = {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>", "mask": "<mask>"}
    return wrapped(tokenizer, **{f"{role}_token": token for role, token in roles.items()})


@pytest.fixture
def word_piece():
    """BERT-like, with nothing put around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokens = ["[PAD]", "[UNK]", "[MASK]", "un", "##able", "##s", "#", "##"]
    tokenizer = Tokenizer(models.WordPiece({token: index for index, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return wrapped(tokenizer, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")


def test_a_tokenizer_to_which_most_of_a_text_is_unknown_is_refused(word_piece, unigram):
    encoder = DocumentEncoder(word_piece, sequence_length=8)
    require_known(tokenize_texts(["unable unables 漢 字"], encoder), word_piece)
    with pytest.raises(TokenizerError) as caught:
        require_known(tokenize_texts(["un 漢 字"], encoder), word_piece)
    assert str(caught.value) == (
        "67% of the 3 tokens of the training split are [UNK], unknown to the tokenizer, and at most 50% may be: it was "
        "made for other text. Choose another as `pretrained` under params:corpus.tokenizer, or another teacher, whose "
        "tokenizer is taken where that is null."
    )
    require_known(tokenize_texts(["ab ab"], DocumentEncoder(unigram, sequence_length=8)), unigram)


def as_lists(blocks):
    return [blocks[index].tolist() for index in range(len(blocks))]


def one_by_one(texts, tokenizer, sequence_length):
    """The blocks by the tokenizer's own call and lists, for tokenizers that frame a text by ``<s>`` and ``</s>``."""
    pieces = [
        piece
        for text in texts
        for piece in cut_document(
            tokenizer(text, add_special_tokens=False)["input_ids"], block_tokens=sequence_length - 2
        )
    ]
    return TokenBlocks.from_blocks([[0, *piece, 2] for piece in pieces], vocabulary_size=len(tokenizer))


@pytest.mark.parametrize("sequence_length", [8, 33, 500])
@pytest.mark.parametrize("characters", [1, 400, 2**21], ids="{} characters a call".format)
def test_ordinary_text_gets_the_blocks_of_the_tokenizer_itself(
    tiny_tokenizer, monkeypatch, sequence_length, characters
):
    monkeypatch.setattr(tokenization, "CHARACTERS_PER_CALL", characters)
    blocks = tokenize_texts(iter(TEXTS), DocumentEncoder(tiny_tokenizer, sequence_length=sequence_length))
    expected = one_by_one(TEXTS, tiny_tokenizer, sequence_length)
    assert as_lists(blocks) == as_lists(expected)
    assert blocks.offsets.tolist() == expected.offsets.tolist()
    assert (blocks.ids.dtype, blocks.offsets.dtype) == (np.uint16, np.int64)


@pytest.mark.parametrize("characters", [1, 2**21], ids="{} characters a call".format)
def test_joined_documents_do_not_depend_on_how_many_are_tokenized_at_a_time(tiny_tokenizer, monkeypatch, characters):
    monkeypatch.setattr(tokenization, "CHARACTERS_PER_CALL", characters)
    blocks = tokenize_texts(TEXTS, DocumentEncoder(tiny_tokenizer, sequence_length=100, packing="joined"))
    expected = join_blocks(one_by_one(TEXTS, tiny_tokenizer, 100), sequence_length=100)
    assert as_lists(blocks) == as_lists(expected)
    assert blocks.joined
    assert max(row.count(0) for row in as_lists(blocks)) > 1


@pytest.mark.parametrize("characters", [1, 2**21], ids="{} characters a call".format)
def test_full_blocks_hold_the_documents_one_after_another_and_only_the_last_is_shorter(
    tiny_tokenizer, monkeypatch, characters
):
    monkeypatch.setattr(tokenization, "CHARACTERS_PER_CALL", characters)
    blocks = tokenize_texts(TEXTS, DocumentEncoder(tiny_tokenizer, sequence_length=20, packing="full"))
    documents = [tiny_tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    text = [token for ids in documents if ids for token in [*ids, 2]][:-1]
    pieces = [text[start : start + 18] for start in range(0, len(text), 18)]
    assert as_lists(blocks) == [[0, *piece, 2] for piece in pieces]
    assert len(pieces) > 2
    assert (blocks.joined, blocks.ids.dtype, blocks.offsets.dtype) == (False, np.uint16, np.int64)


def test_what_a_packing_makes_of_so_many_tokens_is_known_before_it_is_made(tiny_tokenizer):
    for packing in ("documents", "joined", "full"):
        encoder = DocumentEncoder(tiny_tokenizer, sequence_length=20, packing=packing)
        for count in range(1, len(TEXTS) + 1):
            blocks = encoder.blocks(TEXTS[:count])
            made, least = encoder.arrange(blocks), encoder.num_arranged(len(blocks), len(blocks.ids))
            full = len(made) if packing == "documents" else int((made.lengths == 20).sum())
            assert least == full if packing != "joined" else least <= len(made)


def test_no_text_gives_no_block(tiny_tokenizer):
    for packing in ("documents", "joined", "full"):
        blocks = tokenize_texts([], DocumentEncoder(tiny_tokenizer, sequence_length=8, packing=packing))
        assert (len(blocks), blocks.ids.dtype) == (0, np.uint16)


def test_special_tokens_spelled_in_a_text_are_text(tiny_tokenizer):
    text = "the <s>mean</s> of <mask> and <pad><unk>"
    assert set(tiny_tokenizer(text, add_special_tokens=False)["input_ids"]) >= {0, 1, 2, 3, 4}
    (block,) = as_lists(DocumentEncoder(tiny_tokenizer, sequence_length=200).blocks([text]))
    assert (block[0], block[-1]) == (0, 2)
    assert min(block[1:-1]) > 4
    assert tiny_tokenizer.decode(block[1:-1]) == text


def test_control_tokens_that_a_vocabulary_takes_for_pieces_of_text_are_left_out(unigram):
    encoder = DocumentEncoder(unigram, sequence_length=20)
    blocks = encoder.blocks(["a<s>b", "<s></s>", "ab c<mask>", ""])
    # "c" is unknown; "<s></s>" has nothing left but the mark of a word.
    assert [unigram.convert_ids_to_tokens(block) for block in as_lists(blocks)] == [
        ["<s>", "▁", "a", "b", "</s>"],
        ["<s>", "▁", "</s>"],
        ["<s>", "▁ab", "▁", "<unk>", "</s>"],
    ]


def test_truncation_and_padding_of_the_tokenizer_are_not_followed(tiny_tokenizer):
    long = TEXTS[-1]
    expected = one_by_one([long], tiny_tokenizer, 500)
    backend = tiny_tokenizer.backend_tokenizer
    backend.enable_truncation(5)
    backend.enable_padding(length=7)
    try:
        encoder = DocumentEncoder(tiny_tokenizer, sequence_length=500)
        assert as_lists(encoder.blocks(["a", long])) == [[0, *backend.encode("a").ids[1:2], 2], *as_lists(expected)]
        assert not backend.encode_special_tokens
    finally:
        backend.no_truncation()
        backend.no_padding()


def test_the_start_token_is_the_first_of_the_frame_where_it_stands_nowhere_else(tiny_tokenizer, unigram, word_piece):
    assert [vocabulary_of(each).start_id for each in (tiny_tokenizer, unigram, word_piece)] == [0, 2, None]


def test_joining_without_a_start_token_is_refused(word_piece):
    with pytest.raises(ConfigurationError) as caught:
        DocumentEncoder(word_piece, sequence_length=8, packing="joined")
    assert str(caught.value) == (
        "params:corpus.packing is joined, but the tokenizer puts no token before a text that stands nowhere else "
        "(before: [], after: []), by which the documents of a block could be told apart. Set params:corpus.packing to "
        "documents or full, or choose another tokenizer in params:corpus.tokenizer.pretrained."
    )
    assert len(tokenize_texts(["un"], DocumentEncoder(word_piece, sequence_length=8))) == 1


def beginning(tokenizer):
    return set(tokenizer.convert_ids_to_tokens(np.flatnonzero(word_starts(tokenizer)).tolist()))


def test_byte_level_tokens_begin_a_word_where_they_begin_with_white_space(tiny_tokenizer):
    begins, tokens = beginning(tiny_tokenizer), set(tiny_tokenizer.get_vocab())
    assert begins == {token for token in tokens if token[0] in "ĠĉĊč"}
    assert {"Ġthe", "Ġ", "Ċ"} <= begins
    assert word_starts(tiny_tokenizer).shape == (300,)
    assert word_starts(tiny_tokenizer).dtype == bool


def test_sentence_pieces_begin_a_word_where_they_begin_with_its_mark(unigram):
    assert beginning(unigram) == {"▁", "▁ab"}


def test_word_pieces_begin_a_word_unless_they_go_on_with_one(word_piece):
    assert beginning(word_piece) >= {"un", "#"}
    assert not beginning(word_piece) & {"##able", "##s", "##"}


def test_each_token_of_a_vocabulary_without_marks_is_a_word():
    from tokenizers import Tokenizer, models

    assert beginning(wrapped(Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")))) == {"a", "b"}


def test_a_long_document_is_tokenized_in_pieces_into_the_tokens_of_the_whole(
    tiny_tokenizer, unigram, word_piece, monkeypatch
):
    for tokenizer, text in ((tiny_tokenizer, TEXTS[4]), (unigram, "ab abs ab " * 30), (word_piece, "unable un " * 30)):
        encoder = DocumentEncoder(tokenizer, sequence_length=8)
        whole = encoder.blocks([text, *TEXTS[:4]])
        with monkeypatch.context() as patch:
            patch.setattr(tokenization, "LONG_DOCUMENT", 100)
            patch.setattr(pieces, "CHARACTERS_OF_PIECE", 20)
            cut = pieces.pieces_of(text)
            in_pieces = encoder.blocks([text, *TEXTS[:4]])
        assert len(cut) >= 10
        assert "".join(cut) == text
        assert in_pieces.ids.tolist() == whole.ids.tolist()
        assert in_pieces.offsets.tolist() == whole.offsets.tolist()


def test_a_long_document_without_a_space_is_cut_where_a_piece_is_full(monkeypatch):
    monkeypatch.setattr(pieces, "CHARACTERS_OF_PIECE", 2)
    assert pieces.pieces_of("a" * 9) == ["aaaa", "aaaa", "a"]
    assert pieces.pieces_of("ab  cde fgh") == ["ab  ", "cde", " fgh"]
