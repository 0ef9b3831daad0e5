"""Nothing that comes with a model or a tokenizer is run, and there is one place that opens them."""

import builtins
import json
import math
import os
import re
from pathlib import Path

import pytest
import tokenizers
import torch
from kedro.io.core import DatasetError, Version
from transformers import BertForMaskedLM

from bort_kedro.datasets.checksums import SUMS
from bort_kedro.datasets.model_folder import PretrainedDataset, TokenizerDataset
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.encoders.student_start import from_checkpoint
from bort_kedro.encoders.teachers import TeacherPlace, open_teacher
from bort_kedro.errors import BortKedroError, ModelFolderError
from bort_kedro.opening import PretrainedFiles
from bort_kedro.text.tokenizer import open_tokenizer, tokenizer_fingerprint
from disturbed_encoders import with_trained_head

PLACE = TeacherPlace("params:finetune.teacher.encoder", "params:corpus.sequence_length")
SOURCE = Path(__file__).parent.parent / "src" / "bort_kedro"
# Where code that was run leaves its mark.
MARK = "has_run"
CODE = f"""
open({MARK!r}, "w").close()
from transformers import BertConfig as Config, BertForMaskedLM as Model, PreTrainedTokenizerFast as Words
"""


@pytest.fixture
def pretrained(tiny_shape, tiny_tokenizer):
    config = bert_config(tiny_shape, vocabulary_size=len(tiny_tokenizer), max_positions=20)
    return Pretrained(build_masked_lm(config, seed=0), tiny_tokenizer)


@pytest.fixture
def asks(monkeypatch, tmp_path):
    """What was asked at the prompt, where each answer is yes."""
    asked = []
    monkeypatch.setattr(builtins, "input", lambda text="": asked.append(text) or "y")
    monkeypatch.chdir(tmp_path)
    return asked


def refusal(reason):
    return ModelFolderError(f"refused: {reason}")


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def with_code(folder, *, known):
    """The model in a folder, its configuration and its tokenizer said to be classes of a file beside them."""
    (folder / "code.py").write_text(CODE)
    names = {"AutoConfig": "code.Config", "AutoModelForMaskedLM": "code.Model"}
    changed(folder / "config.json", auto_map=names, **({} if known else {"model_type": "unheard-of"}))
    changed(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["code.Words", None]},
        **({} if known else {"tokenizer_class": "Words"}),
    )
    return folder


def through_dataset(kind, folder):
    # As of a folder that somebody has put there.
    (folder.parent / SUMS).unlink()
    return kind(str(folder.parent.parent), version=Version(folder.parent.name, None)).load()


DOORS = {
    "tokenizer": lambda folder: open_tokenizer(str(folder), max_positions=20),
    "teacher": lambda folder: open_teacher(str(folder), sequence_length=16, place=PLACE),
    "checkpoint": lambda folder: from_checkpoint(None, None, str(folder)),
    "own model": lambda folder: through_dataset(PretrainedDataset, folder),
    "own tokenizer": lambda folder: through_dataset(TokenizerDataset, folder),
    "export": lambda folder: PretrainedFiles(folder, refusal).model("AutoModelForSequenceClassification"),
}


@pytest.mark.parametrize("door", DOORS)
def test_code_beside_a_model_of_unknown_kind_is_refused_and_neither_run_nor_asked_about(
    door, asks, tmp_path, pretrained
):
    folder = tmp_path / "model" / "version" / "model"
    PretrainedDataset(str(tmp_path / "model"), version=Version("version", "version")).save(pretrained)
    with_code(folder, known=False)
    with pytest.raises((BortKedroError, DatasetError)) as caught:
        DOORS[door](folder)
    assert "contains custom code which must be executed" in str(caught.value)
    assert asks == []
    assert not Path(MARK).exists()


def test_of_a_kind_that_transformers_knows_its_own_class_is_opened(asks, tmp_path, pretrained):
    with_trained_head(pretrained.model).save_pretrained(tmp_path)
    pretrained.tokenizer.save_pretrained(tmp_path)
    opened = open_teacher(str(with_code(tmp_path, known=True)), sequence_length=16, place=PLACE)
    assert type(opened.model) is BertForMaskedLM
    assert torch.equal(opened.model.get_input_embeddings().weight, pretrained.model.get_input_embeddings().weight)
    assert tokenizer_fingerprint(opened.tokenizer) == tokenizer_fingerprint(pretrained.tokenizer)
    assert asks == []
    assert not Path(MARK).exists()


def test_attention_kernels_that_a_configuration_names_are_not_followed(tmp_path, pretrained):
    pretrained.model.save_pretrained(tmp_path)
    changed(tmp_path / "config.json", attn_implementation="somebody/attention")
    files = PretrainedFiles(tmp_path, refusal, local_files_only=True)
    assert files.config()._attn_implementation == "somebody/attention"
    model, _ = files.model("AutoModelForMaskedLM")
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, pretrained.model.get_input_embeddings().weight)


def test_a_file_that_git_lfs_did_not_fetch_is_called_a_pointer(tmp_path, pretrained):
    pretrained.model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 440473133\n")
    with pytest.raises(ModelFolderError) as caught:
        PretrainedFiles(tmp_path, refusal).model("AutoModelForMaskedLM")
    assert str(caught.value) == (
        f"refused: {weights} is a pointer of Git LFS, not the file itself (`git lfs pull` fetches it)"
    )


def test_files_that_take_another_package_are_said_to_lack_tokenizer_json(tmp_path, pretrained):
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    (tmp_path / "spm.model").write_bytes(b"no model of SentencePiece")
    with pytest.raises(ModelFolderError, match=r"^refused: it has no tokenizer\.json \(where its own package"):
        PretrainedFiles(tmp_path, refusal, local_files_only=True).tokenizer()


@pytest.mark.parametrize("door", ["tokenizer", "teacher", "checkpoint"])
@pytest.mark.parametrize("name", ["data/06_models/mistyped", "/nowhere/at/all", "a file.txt"])
def test_a_name_of_no_folder_that_cannot_be_on_the_hub_is_refused_before_it_is_looked_for(
    door, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("a file.txt").touch()
    with pytest.raises(BortKedroError) as caught:
        DOORS[door](name)
    assert f"`{name}`" in str(caught.value)
    assert f": it is no folder, seen from {tmp_path}, and no hub id is written so. " in str(caught.value)


def test_no_error_of_a_library_passes_the_door(tmp_path, pretrained):
    pretrained.tokenizer.save_pretrained(tmp_path)
    changed(tmp_path / "tokenizer.json", pre_tokenizer={"type": "OfALaterVersion"})
    later = (
        rf"^refused: its tokenizer\.json is spoiled, or later than tokenizers {tokenizers.__version__}: data did not"
    )
    with pytest.raises(ModelFolderError, match=later):
        PretrainedFiles(tmp_path, refusal, local_files_only=True).tokenizer()
    with pytest.raises(ModelFolderError, match=r"^refused: "):
        PretrainedFiles(tmp_path, refusal).model("NoClassOfTransformers")
    if os.geteuid():
        (tmp_path / "tokenizer.json").chmod(0)
        with pytest.raises(ModelFolderError, match=r"^refused: "):
            PretrainedFiles(tmp_path, refusal, local_files_only=True).tokenizer()


def test_no_other_file_opens_what_others_saved():
    opening = re.compile(r"""[.'"](from_pretrained|get_class_from_dynamic_module)\b|trust_remote_code|torch\.load\(""")
    opened = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if opening.search(path.read_text())}
    # MLflow keeps the latter alone, without the project, beside a model that a run has made.
    assert opened == {"opening.py", "session/served_spans.py"}
    assert '"trust_remote_code": False, "local_files_only": True' in (SOURCE / "session/served_spans.py").read_text()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_finite_numbers_are_refused_by_name(pretrained, tmp_path, value):
    with torch.no_grad():
        pretrained.model.bert.encoder.layer[1].output.dense.bias[3] = value
    pretrained.model.save_pretrained(tmp_path)
    with pytest.raises(ModelFolderError) as caught:
        PretrainedFiles(tmp_path, refusal, local_files_only=True).model("BertForMaskedLM")
    assert str(caught.value) == (
        "refused: its weight `bert.encoder.layer.1.output.dense.bias` holds values that are no finite numbers"
    )
