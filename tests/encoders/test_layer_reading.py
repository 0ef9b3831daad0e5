"""Layers read by hand are those of transformers, and no deeper than asked for."""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, ElectraConfig, RobertaConfig, RobertaForMaskedLM

from bort_kedro.encoders.families import logits_of, predicted_logits
from bort_kedro.encoders.layer_reading import read_layers, require_readable
from bort_kedro.errors import ConfigurationError
from rounding import rounding

PAD_ID = 1
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": PAD_ID,
    "initializer_range": 0.5,
}
ENCODERS = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES)),
}
IDS = torch.tensor([[0, 17, 30, 9, 55, 12, 2], [0, 25, 41, 2, PAD_ID, PAD_ID, PAD_ID]])
ATTENTION = (IDS != PAD_ID).long()
PROJECTIONS = ("query", "key", "value")
EQUAL = {"rtol": 0, "atol": rounding(torch.float32, width=60, depth=3 * 8, scale=10)}


@pytest.fixture(params=sorted(ENCODERS))
def model(request):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return ENCODERS[request.param]().eval()


def heard(model):
    """Calls of each layer's query, key and value maps, and what they gave."""
    calls = []
    for number, layer in enumerate(model.base_model.encoder.layer):
        for name in PROJECTIONS:
            module = getattr(layer.attention.self, name)
            module.register_forward_hook(
                lambda module, given, said, number=number, name=name: calls.append((number, name, said))
            )
    return calls


@torch.no_grad()
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_states_queries_keys_and_values_are_those_of_the_whole_encoder(model, layer):
    calls = heard(model)
    whole = model.base_model(input_ids=IDS, attention_mask=ATTENTION, output_hidden_states=True).hidden_states
    expected = {(number, name): said for number, name, said in calls}
    attended, states = read_layers(model, IDS, ATTENTION, attended_in=layer, states_of={layer, 2})
    assert states.keys() == {layer, 2}
    for number, state in states.items():
        torch.testing.assert_close(state[ATTENTION > 0], whole[number + 1][ATTENTION > 0], **EQUAL)
    for name, rows in zip(PROJECTIONS, attended, strict=True):
        torch.testing.assert_close(rows[ATTENTION > 0], expected[layer, name][ATTENTION > 0], **EQUAL)


@torch.no_grad()
@pytest.mark.parametrize(
    ("attended_in", "states_of", "depth"), [(0, (), 1), (1, (), 2), (None, (0,), 1), (0, (2,), 3), (2, (0,), 3)]
)
def test_layers_beyond_what_is_asked_for_are_not_run(model, attended_in, states_of, depth):
    calls = heard(model)
    ended = []
    for layer in model.base_model.encoder.layer:
        layer.output.register_forward_hook(lambda *said: ended.append(said))
    read_layers(model, IDS, ATTENTION, attended_in=attended_in, states_of=states_of)
    assert [number for number, name, _ in calls if name == "query"] == list(range(depth))
    # Of the deepest one nothing behind queries, keys and values, if these are all that is wanted.
    assert len(ended) == (depth if depth - 1 in states_of else depth - 1)


@torch.no_grad()
def test_an_encoder_without_a_head_is_read_alike(model):
    with_head = read_layers(model, IDS, ATTENTION, attended_in=1, states_of={2})
    without = read_layers(model.base_model, IDS, ATTENTION, attended_in=1, states_of={2})
    for left, right in zip(with_head[0], without[0], strict=True):
        assert torch.equal(left, right)
    assert torch.equal(with_head[1][2], without[1][2])


@torch.no_grad()
def test_documents_of_one_row_are_read_as_in_rows_of_their_own(model):
    joined = torch.cat([IDS[0], IDS[1, :4], torch.tensor([PAD_ID])])[None]
    documents = torch.tensor([[1] * 7 + [2] * 4 + [0]])
    (queries, _, _), states = read_layers(
        model, joined, (documents > 0).long(), documents, attended_in=2, states_of={2}
    )
    (own, _, _), own_states = read_layers(model, IDS, ATTENTION, attended_in=2, states_of={2})
    for found, expected in ((queries, own), (states[2], own_states[2])):
        torch.testing.assert_close(found[0, :7], expected[0], **EQUAL)
        torch.testing.assert_close(found[0, 7:11], expected[1, :4], **EQUAL)


@torch.no_grad()
def test_the_head_over_states_that_were_read_gives_the_logits_of_the_whole_model(model):
    predicted = torch.tensor([1, 4, 9])
    _, states = read_layers(model, IDS, ATTENTION, attended_in=None, states_of={2})
    torch.testing.assert_close(
        logits_of(model, states[2].flatten(0, 1)[predicted]),
        predicted_logits(model, IDS, ATTENTION, predicted),
        **EQUAL,
    )


def test_another_family_is_refused_by_name():
    with pytest.raises(ConfigurationError) as caught:
        require_readable(ElectraConfig())
    assert str(caught.value) == (
        "The layers of a `electra` teacher cannot teach, since they are not BERT's: `relations` and `hidden_states` "
        "are for encoders of the families bert, roberta, xlm-roberta, camembert. Set their weights to 0 under "
        "params:distillation and teach by `logits`, or choose another teacher."
    )
