import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    CamembertConfig,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    GPT2Config,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from bort_kedro.encoders.families import longest_sequence, place_in_document, predicted_logits
from bort_kedro.errors import ConfigurationError
from rounding import rounding

VOCABULARY_SIZE = 60
PAD_ID = 1
SIZES = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": PAD_ID,
    "initializer_range": 0.5,
}
MODERNBERT = {**SIZES, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2, "local_attention": 4}
DEBERTA = {**SIZES, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
ENCODERS = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES)),
    "modernbert": lambda: ModernBertForMaskedLM(ModernBertConfig(**MODERNBERT)),
    "deberta-v2, legacy head": lambda: DebertaV2ForMaskedLM(DebertaV2Config(**DEBERTA)),
    "deberta-v2, published head": lambda: DebertaV2ForMaskedLM(DebertaV2Config(**DEBERTA, legacy=False)),
    "electra": lambda: ElectraForMaskedLM(ElectraConfig(**SIZES, embedding_size=8)),
}
IDS = torch.tensor(
    [
        [0, 17, 30, 4, 9, 55, 12, 40, 33, 21, 2, 8],
        [0, 25, 4, 41, 2, 19, 6, 7, 2, PAD_ID, PAD_ID, PAD_ID],
    ]
)
ATTENTION = (IDS != PAD_ID).long()
PREDICTED = torch.tensor([3, 7, 10, 14, 18])


def made(name, attention="sdpa"):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = ENCODERS[name]()
        for parameter in model.parameters():  # biases and norms start at 0 and 1, where a mix-up cannot be seen
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.set_attn_implementation(attention)
    return model.double().eval()  # so that the default tolerances stand far above any order of summation


@pytest.mark.parametrize("name", ENCODERS)
def test_predicted_logits_are_those_of_the_whole_model(name):
    model = made(name)
    with torch.no_grad():
        some = predicted_logits(model, IDS, ATTENTION, PREDICTED)
        every = model(input_ids=IDS, attention_mask=ATTENTION).logits
    assert some.shape == (5, VOCABULARY_SIZE)
    torch.testing.assert_close(some, every.flatten(0, 1)[PREDICTED])


@pytest.mark.parametrize("name", ENCODERS)
def test_gradients_of_predicted_logits_are_those_of_the_whole_model(name):
    direction = torch.linspace(-1, 1, 5 * VOCABULARY_SIZE).reshape(5, VOCABULARY_SIZE)
    gradients = []
    for logits_of in (
        lambda model: predicted_logits(model, IDS, ATTENTION, PREDICTED),
        lambda model: model(input_ids=IDS, attention_mask=ATTENTION).logits.flatten(0, 1)[PREDICTED],
    ):
        model = made(name)
        (logits_of(model) * direction).sum().backward()
        gradients.append({key: value.grad for key, value in model.named_parameters()})
    some, every = gradients
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in some.values())
    for key, gradient in every.items():
        torch.testing.assert_close(some[key], gradient)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_documents_in_one_row_give_the_logits_of_each_alone(name, attention):
    model = made(name, attention)
    documents = [[0, 17, 30, 4, 9, 44, 2], [0, 25, 4, 2], [0, 33, 7, 21, 50, 11, 13, 2]]
    rows = [[*documents[0], *documents[1], PAD_ID, PAD_ID], [*documents[2], PAD_ID, PAD_ID, PAD_ID, PAD_ID, PAD_ID]]
    document_ids = torch.tensor([[1] * 7 + [2] * 4 + [0] * 2, [1] * 8 + [0] * 5])
    packed_ids = torch.tensor(rows)
    tokens = (document_ids > 0).flatten().nonzero().flatten()
    with torch.no_grad():
        packed = predicted_logits(model, packed_ids, (document_ids > 0).long(), tokens, document_ids)
        alone = [model(input_ids=torch.tensor([document])).logits[0] for document in documents]
        mixed = predicted_logits(model, packed_ids, (document_ids > 0).long(), tokens)
    # ModernBERT's own attention takes its softmax in single precision.
    tolerance = rounding(torch.float32, width=16, depth=2 * 8, scale=float(packed.abs().max()))
    torch.testing.assert_close(packed, torch.cat(alone), atol=tolerance, rtol=0)
    assert (mixed - packed).abs().max() > 0.1


def test_place_in_document_counts_from_each_start():
    document_ids = torch.tensor([[1, 1, 2, 2, 2, 0, 0], [1, 2, 3, 3, 3, 3, 3]])
    assert place_in_document(document_ids).tolist() == [[0, 1, 0, 1, 2, 0, 1], [0, 0, 0, 1, 2, 3, 4]]


@pytest.mark.parametrize(("name", "family"), [("deberta-v2, legacy head", "deberta-v2"), ("electra", "electra")])
def test_a_family_that_cannot_keep_documents_apart_is_refused(name, family):
    with pytest.raises(ConfigurationError) as caught:
        predicted_logits(made(name), IDS, ATTENTION, PREDICTED, torch.ones_like(IDS))
    assert str(caught.value) == (
        f"Encoders of the family `{family}` cannot keep attention inside each of several documents in a block. "
        "Families that can: bert, camembert, modernbert, roberta, xlm-roberta. Set `params:corpus.packing` to "
        "`documents`, or choose another teacher."
    )


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        (BertConfig(**SIZES), 20),
        (RobertaConfig(**SIZES), 18),
        (CamembertConfig(**SIZES), 18),
        (ModernBertConfig(**MODERNBERT), 20),
        (DebertaV2Config(**DEBERTA), None),
        (DebertaV2Config(**{**DEBERTA, "position_biased_input": True}), 20),
        (ElectraConfig(**SIZES), 20),
        (GPT2Config(n_positions=20), 20),
    ],
)
def test_longest_sequence_follows_the_rule_of_the_family(config, longest):
    assert longest_sequence(config) == longest


def test_roberta_takes_its_longest_sequence_and_not_one_more():
    model = made("roberta")
    row = torch.full((1, 19), 7)
    with torch.no_grad():
        assert model(input_ids=row[:, :18]).logits.shape == (1, 18, VOCABULARY_SIZE)
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=row)
