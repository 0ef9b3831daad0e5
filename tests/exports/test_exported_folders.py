import json
import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from kedro.io.core import DatasetError, Version
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification, BertForTokenClassification

from bort_kedro.datasets.export_folder import ExportFolderDataset
from bort_kedro.encoders.encoder import bert_config
from bort_kedro.encoders.pretrained import Pretrained
from bort_kedro.errors import ConfigurationError, ModelFolderError, TaskError
from bort_kedro.evaluation.calibration import at_temperature
from bort_kedro.exports import verification
from bort_kedro.exports.folder import open_export
from bort_kedro.exports.report import ExportReport
from bort_kedro.exports.settings import ExportSettings
from bort_kedro.exports.verification import calibration_inputs, export_task
from bort_kedro.finetuning.objectives import answers_of, predict
from bort_kedro.finetuning.temperature import with_divided_logits
from bort_kedro.tasks.metrics import score_rows
from bort_kedro.tasks.table import Form
from bort_kedro.tasks.tags import spans_of
from conftest import SENTENCES
from toy_tasks import MAX_TOKENS, SHAPE, data_of

SETTINGS = ExportSettings(
    formats=("onnx",),
    tolerance=1e-4,
    allowed_drop=0.5,
    refuse=True,
    num_calibration=6,
    num_checked=5,
    batch_size=1,
    sequence_length=8,
    warmup_rounds=1,
    timed_rounds=3,
    num_threads=1,
    seed=0,
)
ALL = SETTINGS.changed(formats=("onnx", "onnx_int8", "openvino_int8"))
ANEW = "Remove this version's folder to fall back on the one before, or run `kedro run --pipelines evaluate` again."


def model_of(tokenizer, num_labels=2, of=BertForSequenceClassification):
    torch.manual_seed(0)
    config = bert_config(SHAPE, vocabulary_size=len(tokenizer), max_positions=MAX_TOKENS)
    config.update({"num_labels": num_labels, "initializer_range": 0.3})
    return Pretrained(of(config).eval(), tokenizer)


def export(model, folder, form=Form.CLASSIFICATION, settings=SETTINGS):
    folder.mkdir(exist_ok=True)
    return export_task(model, data_of(form), SENTENCES, max_tokens=MAX_TOKENS, settings=settings, folder=folder)


@pytest.fixture(scope="module")
def exported(tiny_tokenizer, tmp_path_factory):
    """A classifier exported to every format, once for all tests that only read it."""
    folder = tmp_path_factory.mktemp("exports") / "toy"
    report = export(model_of(tiny_tokenizer), folder, settings=ALL)
    return folder, report


@pytest.fixture
def copied(exported, tmp_path):
    """A copy to be damaged."""
    return Path(shutil.copytree(exported[0], tmp_path / "toy"))


def torch_answers(model, data, split="test"):
    encoded = data.encoded(model, max_tokens=MAX_TOKENS)
    examples = encoded.splits[split]
    outputs = predict(model.model, data.task.form, examples, batch_tokens=4096)
    answers = answers_of(data.task.form, data.labels, outputs, examples.target_starts)
    return answers, outputs, encoded.score(split, outputs)


def test_every_format_is_verified_and_reported_beside_pytorch(exported, tiny_tokenizer):
    folder, report = exported
    score = torch_answers(model_of(tiny_tokenizer), data_of())[2]
    assert report.model_dump(exclude={"formats"}) == {
        "metric": "accuracy",
        "num_examples": 24,
        "num_checked": 5,
        "num_calibration": 6,
        "has_pairs": False,
        "refuses_drops": True,
        "batch_size": 1,
        "sequence_length": 8,
        "num_threads": 1,
        "timed_rounds": 3,
    }
    formats = report.formats
    assert list(formats) == ["pytorch", "onnx", "onnx_int8", "openvino_int8"]
    assert [row.title for row in formats.values()] == [
        "PyTorch fp32",
        "ONNX Runtime fp32",
        "ONNX Runtime int8",
        "OpenVINO int8",
    ]
    assert (formats["pytorch"].max_difference, formats["pytorch"].speedup) == (0.0, 1.0)
    assert formats["onnx"].max_difference <= formats["onnx"].tolerance == 1e-4
    assert formats["onnx"].drop == 0.0
    for name, row in formats.items():
        assert row.score_before == score
        assert row.drop == row.score_before - row.score_after
        assert row.is_refused is False
        assert 0 < row.lower_quartile_ms <= row.median_ms <= row.upper_quartile_ms
        assert row.speedup == formats["pytorch"].median_ms / row.median_ms
        if name.endswith("int8"):
            assert row.tolerance is None
            assert 0 < row.max_difference < 0.5
    assert formats["onnx"].bytes == (folder / "onnx" / "model.onnx").stat().st_size
    assert ExportReport.from_json(json.loads(json.dumps(report.to_json()))) == report


@pytest.mark.parametrize("name", ["pytorch", "onnx"])
def test_an_opened_export_answers_texts_as_pytorch_does(exported, tiny_tokenizer, name):
    data = data_of()
    opened = open_export(exported[0], name)
    answers, outputs, _ = torch_answers(model_of(tiny_tokenizer), data)
    texts = data.tables["test"]["text"].tolist()
    assert opened(texts) == answers
    np.testing.assert_allclose(opened.outputs(texts), outputs, atol=1e-5)
    assert opened([]) == []


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (("a text",), "`texts` is 'a text', expected a list of texts, such as ['A text.']"),
        ((["a text", None],), "`texts` is ['a text', None], expected a list of texts, such as ['A text.']"),
        ((["a \ud83d"],), "`texts` is ['a \\ud83d'], expected a list of texts, such as ['A text.']"),
        ((["a", "b"], "ab"), "`pairs` is 'ab', expected a list of texts, such as ['A text.']"),
        ((["a", "b"], ["c"]), "`texts` has 2 and `pairs` 1, expected as many"),
        ((["a"], ["b"]), "an example of this task is one text, without `pairs`"),
    ],
)
def test_an_opened_export_answers_lists_of_what_its_task_asks_about(exported, given, fault):
    with pytest.raises(TaskError) as caught:
        open_export(exported[0], "pytorch")(*given)
    assert str(caught.value) == f"The export of task `toy` cannot answer: {fault}."


def test_an_export_of_an_older_manifest_takes_texts_with_or_without_pairs(copied):
    said = json.loads((copied / "export.json").read_text("utf-8"))
    assert said.pop("has_pairs") is False
    (copied / "export.json").write_text(json.dumps(said), "utf-8")
    opened = open_export(copied, "pytorch")
    assert {*opened(["the row"]), *opened(["the row"], ["of the table"])} <= {"array", "row"}


@pytest.mark.parametrize("name", ["onnx_int8", "openvino_int8"])
def test_an_opened_int8_export_scores_as_its_report_says(exported, name):
    folder, report = exported
    table = data_of().tables["test"]
    said = open_export(folder, name)(table["text"].tolist())
    right = np.mean([answer == label for answer, label in zip(said, table["label"], strict=True)])
    assert right == pytest.approx(report.formats[name].score_after, abs=1e-9)


def test_every_format_has_the_temperature_that_is_in_the_weights(exported, tiny_tokenizer, tmp_path):
    sharp, data = model_of(tiny_tokenizer), data_of()
    batch = data.encoded(sharp, max_tokens=MAX_TOKENS).splits["dev"].batch([0])
    mild = Pretrained(with_divided_logits(sharp.model, 2.5, batch), tiny_tokenizer)
    report = export(mild, tmp_path / "toy", settings=ALL)
    texts = data.tables["test"]["text"].tolist()
    outputs = torch_answers(sharp, data)[1]
    expected = at_temperature(outputs.ravel(), 2.5, np.arange(len(texts) + 1) * 2).reshape(outputs.shape)
    for name, row in report.formats.items():
        before, after = open_export(exported[0], name), open_export(tmp_path / "toy", name)
        if name in ("pytorch", "onnx"):
            assert after(texts) == before(texts)
            np.testing.assert_allclose(after.outputs(texts), expected, atol=1e-5)
        else:
            # Of int8 the steps of the last layer are divided with its weights.
            assert np.mean(np.array(after(texts)) == before(texts)) > 0.9
            np.testing.assert_allclose(after.outputs(texts), expected, atol=0.1)
        assert row.score_after == pytest.approx(exported[1].formats[name].score_after, abs=0.1)


@pytest.mark.parametrize("form", [Form.REGRESSION, Form.MULTIPLE_CHOICE])
def test_other_forms_of_tasks_are_exported_and_answered(form, tiny_tokenizer, tmp_path):
    model, data = model_of(tiny_tokenizer, num_labels=1), data_of(form)
    report = export(model, tmp_path / "toy", form)
    assert report.formats["onnx"].drop == pytest.approx(0.0, abs=1e-4)
    answers = torch_answers(model, data)[0]
    opened = open_export(tmp_path / "toy", "onnx")
    # The options of one question are asked together.
    rows = data.tables["test"].head(3)
    pairs = rows["text_pair"].tolist() if form == Form.MULTIPLE_CHOICE else None
    said = opened(rows["text"].tolist(), pairs)
    if form == Form.MULTIPLE_CHOICE:
        assert said == answers[:3]
        with pytest.raises(TaskError, match=r"an example of this task is two texts, the second in `pairs`\.$"):
            opened(rows["text"].tolist())
        assert sorted(said) == ["right", "wrong", "wrong"]
    else:
        assert [float(answer) for answer in said] == pytest.approx([float(each) for each in answers[:3]], abs=1e-4)


def test_tagged_words_are_exported_scored_after_int8_and_answered_with_spans(tiny_tokenizer, tmp_path):
    data = data_of(Form.TOKENS)
    assert data.labels == ("O", "B-array", "I-array", "B-row", "I-row")
    model = model_of(tiny_tokenizer, len(data.labels), BertForTokenClassification)
    report = export(model, tmp_path / "toy", Form.TOKENS, ALL)
    assert report.metric == "span_f1"
    assert report.formats["onnx"].max_difference <= 1e-4
    assert 0 < report.formats["onnx_int8"].max_difference < 1
    texts, (answers, outputs, score) = data.tables["test"]["text"].tolist(), torch_answers(model, data)
    assert report.formats["pytorch"].score_after == score
    for name, row in report.formats.items():
        opened = open_export(tmp_path / "toy", name)
        said = opened(texts)
        assert [len(tags.split()) for tags in said] == [len(text.split()) for text in texts]
        assert score_rows(data.task, "span_f1", data.tables["test"], said) == pytest.approx(row.score_after)
        if name in ("pytorch", "onnx"):
            assert said == answers
            np.testing.assert_allclose(opened.outputs(texts), outputs, atol=1e-5)
    # The words are those of the text, wherever they stand; a text without any has no tags.
    spaced = f"  {texts[0].replace(' ', chr(10))} "
    opened = open_export(tmp_path / "toy", "onnx")
    assert opened([texts[0], " ", texts[0]]) == [answers[0], "", answers[0]]
    (found,) = opened.spans([spaced])
    words = texts[0].split()
    assert [(span.type, span.text.split()) for span in found] == [
        (kind, words[start:stop]) for kind, start, stop in spans_of(opened([spaced])[0].split())
    ]
    assert found
    assert all(spaced[span.start : span.end] == span.text for span in found)


def test_only_tagged_words_have_spans(exported):
    with pytest.raises(TaskError, match=r"^The export of task `toy` tags no words: it is a classification\.$"):
        open_export(exported[0], "pytorch").spans(["a text"])


def test_calibration_takes_texts_of_the_corpus_in_the_form_of_the_task(tiny_tokenizer):
    model = model_of(tiny_tokenizer)
    settings = SETTINGS.changed(num_calibration=4)
    single = calibration_inputs(model, data_of(), SENTENCES, max_tokens=MAX_TOKENS, settings=settings)
    framed = {tuple(tiny_tokenizer(text)["input_ids"][:MAX_TOKENS]) for text in SENTENCES}
    assert len(single) == 4
    assert {len(each["input_ids"]) for each in single} == {1}
    assert {tuple(each["input_ids"][0][:4]) for each in single} <= {ids[:4] for ids in framed}
    again = calibration_inputs(model, data_of(), SENTENCES, max_tokens=MAX_TOKENS, settings=settings)
    assert all(np.array_equal(one["input_ids"], other["input_ids"]) for one, other in zip(single, again, strict=True))
    choice = data_of(Form.MULTIPLE_CHOICE)
    pairs = calibration_inputs(model, choice, SENTENCES, max_tokens=MAX_TOKENS, settings=settings)
    # <s> text </s></s> pair </s>: a pair has four special tokens.
    assert {int((each["input_ids"] == tiny_tokenizer.sep_token_id).sum()) for each in pairs} == {3}


def plant_broken(monkeypatch, *, noise):
    """Quantisation that answers with the logits turned round, or a little off."""
    opened = verification.open_session

    def broken(name, folder, **options):
        session = opened(name, folder, **options)
        return lambda **inputs: -session(**inputs) if noise is None else session(**inputs) + np.float32(noise)

    monkeypatch.setattr(verification, "open_session", broken)


@pytest.fixture
def trained(tiny_tokenizer):
    """A classifier that is right about most of test, because one of its words tells."""
    model, data = model_of(tiny_tokenizer), data_of(num_train=300)
    examples = data.encoded(model, max_tokens=MAX_TOKENS).splits["train"]
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=1e-2)
    batch = examples.batch(range(examples.num_units))
    model.model.eval()
    for _ in range(60):
        logits = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = torch.nn.functional.cross_entropy(logits, batch["targets"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch_answers(model, data)[2] > 0.75
    return model


def test_a_broken_quantisation_is_refused_and_left_out(monkeypatch, trained, tmp_path, caplog):
    plant_broken(monkeypatch, noise=None)
    settings = SETTINGS.changed(formats=("onnx_int8",), allowed_drop=0.02)
    with caplog.at_level(logging.WARNING):
        report = export(trained, tmp_path / "toy", settings=settings)
    row = report.formats["onnx_int8"]
    assert row.is_refused is True
    assert row.score_after == pytest.approx(1 - row.score_before, abs=0.1)
    assert sorted(each.name for each in (tmp_path / "toy").iterdir()) == ["export.json", "pytorch"]
    assert caplog.messages == [
        "Task `toy`: the export to ONNX Runtime int8 is refused: its score falls from "
        f"{row.score_before:.4f} to {row.score_after:.4f}, allowed is a drop of 0.02."
    ]
    with pytest.raises(ModelFolderError) as caught:
        open_export(tmp_path / "toy", "onnx_int8")
    assert str(caught.value) == (
        f"{tmp_path / 'toy'} has no `onnx_int8`; it has pytorch. A format that is missing was not asked for "
        "(params:evaluate.export.formats) or was refused, which the export report says."
    )


def test_a_drop_is_kept_with_a_warning_where_the_user_says_so(monkeypatch, trained, tmp_path, caplog):
    plant_broken(monkeypatch, noise=None)
    settings = SETTINGS.changed(formats=("onnx_int8",), allowed_drop=0.02, refuse=False)
    report = export(trained, tmp_path / "toy", settings=settings)
    row = report.formats["onnx_int8"]
    assert row.is_refused is False
    assert (tmp_path / "toy" / "onnx_int8" / "model.onnx").is_file()
    assert caplog.messages == [
        "Task `toy`: the export to ONNX Runtime int8 is kept (params:evaluate.export.refuse), but its score falls from "
        f"{row.score_before:.4f} to {row.score_after:.4f}, allowed is a drop of 0.02."
    ]


def test_fp32_beyond_its_tolerance_is_refused_whatever_the_user_says(monkeypatch, tiny_tokenizer, tmp_path, caplog):
    plant_broken(monkeypatch, noise=0.5)
    report = export(model_of(tiny_tokenizer), tmp_path / "toy", settings=SETTINGS.changed(refuse=False))
    row = report.formats["onnx"]
    # Both logits moved alike: the score is the same, the model is not.
    assert (row.drop, row.is_refused) == (0.0, True)
    assert not (tmp_path / "toy" / "onnx").exists()
    assert caplog.messages == [
        "Task `toy`: the export to ONNX Runtime fp32 is refused: its logits differ by 0.5 from PyTorch's, allowed are "
        "0.0001."
    ]


def test_without_formats_there_is_the_folder_that_transformers_opens(tiny_tokenizer, tmp_path):
    model = model_of(tiny_tokenizer)
    report = export(model, tmp_path / "toy", settings=SETTINGS.changed(formats=()))
    assert list(report.formats) == ["pytorch"]
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path / "toy" / "pytorch")
    assert all(torch.equal(a, b) for a, b in zip(opened.parameters(), model.model.parameters(), strict=True))
    assert (tmp_path / "toy" / "pytorch" / "model.safetensors").is_file()


def test_timing_on_more_tokens_than_the_model_has_positions_for_is_refused(tiny_tokenizer, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        export(model_of(tiny_tokenizer), tmp_path / "toy", settings=SETTINGS.changed(sequence_length=MAX_TOKENS + 1))
    assert str(caught.value) == (
        f"The exports of task `toy` are to be timed on {MAX_TOKENS + 1} tokens, but the model has {MAX_TOKENS} "
        f"positions. Set params:evaluate.export.sequence_length to at most {MAX_TOKENS}."
    )


def test_a_model_with_the_wrong_number_of_labels_is_refused(tiny_tokenizer, tmp_path):
    with pytest.raises(ModelFolderError) as caught:
        export(model_of(tiny_tokenizer, num_labels=3), tmp_path / "toy")
    assert str(caught.value) == (
        "`toy.finetuned_model` is a model with 3 outputs, but task `toy` needs 2 (array, row). Fine-tune it again: "
        "`kedro run --pipelines finetune`, then evaluate."
    )
    assert not list((tmp_path / "toy").iterdir())


def test_a_model_with_the_wrong_tokenizer_is_refused(tiny_tokenizer, tmp_path):
    model = model_of(tiny_tokenizer)
    model.model.config.vocab_size = 200
    with pytest.raises(ModelFolderError) as caught:
        export(model, tmp_path / "toy")
    assert str(caught.value) == (
        "`toy.finetuned_model`: the tokenizer has 300 ids and pads with 1, but the model has 200 word embeddings and "
        "pads with 1; they do not belong together. Fine-tune it again: `kedro run --pipelines finetune`, then evaluate."
    )


def refusal(folder, name="onnx"):
    with pytest.raises(ModelFolderError) as caught:
        open_export(folder, name)
    return str(caught.value)


def test_a_folder_without_its_manifest_is_named_as_no_export(copied):
    (copied / "export.json").unlink()
    assert refusal(copied) == (
        f"{copied} is no export folder, or a half-written one: it has no export.json. Name a version's folder under "
        "data/06_models/exports/<task>, or run `kedro run --pipelines evaluate` again."
    )


def test_a_cut_file_and_a_missing_one_are_named(copied):
    path = copied / "onnx" / "model.onnx"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100])
    said = f"{path} should have {size} bytes and is {{}}: the export is not whole. {ANEW}"
    assert refusal(copied) == said.format("100 bytes")
    path.unlink()
    assert refusal(copied) == said.format("missing")


def test_a_damaged_graph_is_one_clear_error(copied):
    path = copied / "onnx" / "model.onnx"
    path.write_bytes(b"x" * path.stat().st_size)
    assert refusal(copied).startswith(f"{copied} cannot be opened by ONNX Runtime fp32: ")


def test_a_foreign_manifest_is_one_clear_error(copied):
    (copied / "export.json").write_text("{}", "utf-8")
    assert refusal(copied) == f"{copied / 'export.json'} cannot be understood: `task`: Field required. {ANEW}"


@pytest.mark.parametrize(
    ("part", "value", "why"),
    [
        ("formats", None, "`formats`: Input should be an object"),
        ("labels", [1, "row"], "`labels.0`: Input should be a valid string"),
        ("max_tokens", 0, "`max_tokens`: Input should be greater than or equal to 1"),
    ],
)
def test_an_edited_manifest_is_refused_by_what_it_says(copied, part, value, why):
    change_manifest(copied, **{part: value})
    assert refusal(copied) == f"{copied / 'export.json'} cannot be understood: {why}. {ANEW}"


def change_manifest(folder, **values):
    said = json.loads((folder / "export.json").read_text("utf-8"))
    (folder / "export.json").write_text(json.dumps(said | values), "utf-8")


def test_an_opened_graph_with_another_number_of_labels_is_refused(copied):
    change_manifest(copied, labels=["array", "row", "cell"])
    assert refusal(copied) == (
        f"{copied / 'onnx'} is a model with 2 outputs, but task `toy` needs 3 (array, row, cell). Fine-tune it again: "
        "`kedro run --pipelines finetune`, then evaluate."
    )


def test_an_opened_graph_with_another_tokenizer_is_refused(copied):
    said = json.loads((copied / "export.json").read_text("utf-8"))["tokenizer"]
    change_manifest(copied, tokenizer="0" * 16)
    assert refusal(copied) == (
        f"{copied / 'onnx'} holds another tokenizer ({said}) than the model was trained with ({'0' * 16}). {ANEW}"
    )


def temporary_copy(folder):
    temporary = TemporaryDirectory()
    shutil.copytree(folder, temporary.name, dirs_exist_ok=True)
    return temporary


def dataset_of(tmp_path, version=None):
    return ExportFolderDataset(str(tmp_path / "exports" / "toy"), version=Version(None, version))


def test_a_saved_export_is_loaded_as_a_folder_and_its_temporary_one_is_gone(exported, tmp_path):
    temporary = temporary_copy(exported[0])
    dataset = dataset_of(tmp_path)
    assert not dataset.exists()
    dataset.save(temporary)
    assert not Path(temporary.name).exists()
    assert dataset.exists()
    assert open_export(dataset.load(), "onnx")(["the row of the table"])[0] in ("array", "row")


def test_a_killed_save_leaves_nothing_and_the_version_before_is_loaded(exported, tmp_path, monkeypatch):
    first = dataset_of(tmp_path, "2026-01-01T00.00.00.000Z")
    first.save(temporary_copy(exported[0]))

    def killed(source, target, **options):
        (target / "onnx").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copytree", killed)
    temporary = TemporaryDirectory()
    (Path(temporary.name) / "export.json").write_text("{}", "utf-8")
    with pytest.raises(KeyboardInterrupt):
        dataset_of(tmp_path, "2026-01-02T00.00.00.000Z").save(temporary)
    temporary.cleanup()
    assert not list((tmp_path / "exports").rglob("*.part"))
    assert "2026-01-01T00.00.00.000Z" in str(dataset_of(tmp_path).load())


def test_an_export_that_was_not_finished_is_not_saved(tmp_path):
    temporary = TemporaryDirectory()
    with pytest.raises(DatasetError, match=r"is not whole: it has no export\.json\. Nothing was saved"):
        dataset_of(tmp_path).save(temporary)
    temporary.cleanup()
    assert not dataset_of(tmp_path).exists()
