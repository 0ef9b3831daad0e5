import json
from pathlib import Path

import pytest
import torch
from kedro.io.core import DatasetError, Version
from transformers import (
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from bort_kedro.datasets.checksums import SUMS
from bort_kedro.datasets.model_folder import PretrainedDataset, TokenizerDataset
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.text.tokenizer import tokenizer_fingerprint


@pytest.fixture
def pretrained(tiny_shape, tiny_tokenizer):
    config = bert_config(tiny_shape, vocabulary_size=len(tiny_tokenizer), max_positions=16)
    return Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)


@pytest.fixture
def dataset(tmp_path):
    return PretrainedDataset(str(tmp_path / "encoder"), version=Version(None, None))


def folder_of(dataset):
    return Path(dataset._get_load_path())


def test_model_and_tokenizer_come_back_the_same(dataset, pretrained):
    dataset.save(pretrained)
    loaded = dataset.load()
    assert loaded.fingerprint == pretrained.fingerprint
    inputs = pretrained.tokenizer("The mean of the array.", return_tensors="pt")
    assert loaded.tokenizer("The mean of the array.")["input_ids"] == inputs["input_ids"][0].tolist()
    pretrained.model.eval()
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(**inputs).logits, pretrained.model(**inputs).logits)


def test_folder_has_safetensors_and_no_pickle_and_nothing_temporary(dataset, pretrained):
    dataset.save(pretrained)
    names = {path.name for path in folder_of(dataset).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert sorted(path.name for path in folder_of(dataset).parent.iterdir()) == [SUMS, "encoder"]


def test_folder_opens_in_transformers_pipeline(dataset, pretrained):
    from transformers import pipeline

    dataset.save(pretrained)
    answers = pipeline("fill-mask", model=str(folder_of(dataset)))("The <mask> of the array.")
    assert len(answers) == 5


def test_a_save_that_fails_leaves_no_version(dataset, pretrained, monkeypatch):
    def fail(folder):
        Path(folder, "half").write_text("x")
        raise RuntimeError("killed")

    monkeypatch.setattr(pretrained.model, "save_pretrained", fail)
    with pytest.raises(DatasetError, match="killed"):
        dataset.save(pretrained)
    assert not dataset.exists()


def cause(dataset):
    """What is said of a folder that somebody has put there, so without sums."""
    (folder_of(dataset).parent / SUMS).unlink()
    with pytest.raises(DatasetError) as caught:
        dataset.load()
    return str(caught.value.__cause__)


def test_a_tokenizer_with_more_ids_than_the_model_has_embeddings_is_refused(dataset, pretrained):
    dataset.save(pretrained)
    path = folder_of(dataset) / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["mean array"] = 300
    path.write_text(json.dumps(content))
    assert cause(dataset) == (
        f"{folder_of(dataset)}: the tokenizer has 301 ids but the model only 300 word embeddings; they do not belong "
        "together. Remove this version's folder to fall back on the one before, or run the stage that makes it again."
    )


PADDED = {
    "vocab_size": 320,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "pad_token_id": 1,
}


@pytest.mark.parametrize(
    "model",
    [
        RobertaForMaskedLM(RobertaConfig(**PADDED)),
        ModernBertForMaskedLM(ModernBertConfig(**PADDED, bos_token_id=0, eos_token_id=2)),
        DebertaV2ForMaskedLM(DebertaV2Config(**PADDED, legacy=False)),
    ],
    ids=lambda model: model.config.model_type,
)
def test_a_teacher_with_a_padded_vocabulary_comes_back_the_same(model, dataset, tiny_tokenizer):
    teacher = Pretrained(model.eval(), tiny_tokenizer)
    dataset.save(teacher)
    loaded = dataset.load()
    assert type(loaded.model) is type(model)
    assert (len(loaded.tokenizer), loaded.model.config.vocab_size) == (300, 320)
    assert loaded.fingerprint == teacher.fingerprint


def test_truncated_weights_are_refused(dataset, pretrained):
    dataset.save(pretrained)
    weights = folder_of(dataset) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    message = cause(dataset)
    assert "cannot be opened as BertForMaskedLM" in message
    assert "run the stage that makes it again" in message


@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_a_spoiled_configuration_is_named(dataset, pretrained, content):
    dataset.save(pretrained)
    path = folder_of(dataset) / "config.json"
    path.write_bytes(content)
    assert cause(dataset).startswith(f"{path} cannot be read as JSON: ")


def test_missing_weights_are_named(dataset, pretrained):
    dataset.save(pretrained)
    (folder_of(dataset) / "model.safetensors").unlink()
    assert "has no model.safetensors, the only weights accepted" in cause(dataset)


def test_tokenizer_comes_back_the_same(tmp_path, tiny_tokenizer):
    dataset = TokenizerDataset(str(tmp_path / "tokenizer"), version=Version(None, None))
    dataset.save(tiny_tokenizer)
    assert tokenizer_fingerprint(dataset.load()) == tokenizer_fingerprint(tiny_tokenizer)
