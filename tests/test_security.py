"""What docs/security.md promises: no code comes in with data, files stay in their folder, secrets are not written."""

import json
import logging
import os
import re
import shutil
from logging.config import dictConfig
from types import SimpleNamespace

import click
import pytest
import yaml
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from transformers import BertForMaskedLM

from bort_kedro.datasets.task_files import TaskFilesDataset
from bort_kedro.encoders.encoder import bert_config, build_masked_lm
from bort_kedro.errors import ConfigurationError, FailedTrainingError, ModelFolderError, TaskError
from bort_kedro.exports.formats import MANIFEST
from bort_kedro.frozen import JsonObject
from bort_kedro.inside import outside_fault
from bort_kedro.opening import INDEX, PretrainedFiles
from bort_kedro.redaction import VARIABLES, all_redacted, redact_logs, redacted
from bort_kedro.tasks.description import SourceFile
from bort_kedro.tasks.table import TASKS
from code_scan import findings
from project_copy import PROJECT
from project_parameters import raw_parameters

SECRET = "hf_abcdefghij0123456789"  # noqa: S105
# Each place that the scan finds, and why it is no way in for data.
ALLOWED = {
    ("bort_kedro/cli.py", "imports by name"): "the runner that the command line names",
    ("bort_kedro/datasets/records.py", "imports by name"): "the class that the catalog names",
    ("bort_kedro/pipelines/added.py", "imports by name"): "packages of the project's own pipelines folder",
    ("bort_kedro/search/pools.py", "imports by name"): "dask or ray, by a name in the code",
    ("bort_kedro/search/engines.py", "hands jobs to workers"): "to workers that joblib starts",
    ("bort_kedro/search/pools.py", "hands jobs to workers"): "to workers on localhost, or of the cluster in params",
    ("bort_kedro/latency/memory.py", "hands jobs to workers"): "to a child process, through its pipe",
    ("bort_kedro/datasets/token_blocks.py", "pickles"): "says how a mapped array goes to a worker",
    ("bort_kedro/datasets/training_states.py", "pickles"): "says how a handle goes to a worker",
    ("bort_kedro/pretraining/streamed_blocks.py", "pickles"): "says how a reader goes to a worker",
    (
        "bort_kedro/pretraining/launch.py",
        "pickles",
    ): "a job in a temporary folder that the launching process alone reads",
    ("benchmarks/own_process.py", "hands jobs to workers"): "to a child process, through its pipe",
    ("benchmarks/pretrain/cuda/worker.py", "hands jobs to workers"): "to a child process, through its pipe",
}
BAD = {
    "import pickle": "pickles",
    "from cloudpickle import loads": "pickles",
    "import joblib": "hands jobs to workers",
    "import joblib as j\nj.load(path)": "unpickles",
    "from torch import load as opened\nopened(path)": "unpickles",
    "import torch\ntorch.load(path, weights_only=False)": "unpickles",
    "import numpy as np\nnp.load(path, allow_pickle=True)": "unpickles",
    "np.load(path, allow_pickle=flag)": "unpickles",
    "import pandas as pd\npd.read_pickle(path)": "unpickles",
    "Auto.from_pretrained(name, trust_remote_code=True)": "runs code of the hub",
    "open_model(trust_remote_code=given)": "runs code of the hub",
    "import subprocess\nsubprocess.run(text, shell=True)": "asks a shell",
    "import os\nos.system(text)": "asks a shell",
    "eval(text)": "runs text",
    "exec(compile(text, '', 'exec'))": "runs text",
    "import yaml\nyaml.load(text)": "makes objects of YAML",
    "import yaml\nyaml.load(text, Loader=yaml.Loader)": "makes objects of YAML",
    "import tarfile\ntarfile.open(path).extractall(folder)": "unpacks an archive",
    "import importlib as i\ni.import_module(name)": "imports by name",
    "class A:\n    def __reduce__(self): ...": "pickles",
    "serve(host='0.0.0.0')": "listens to all",
}
GOOD = (
    "import torch\ntorch.load(path, weights_only=True)",
    "import numpy as np\nnp.load(path, allow_pickle=False)",
    "import subprocess\nsubprocess.run(['git', name])",
    "import yaml\nyaml.load(text, yaml.SafeLoader)\nyaml.safe_load(text)",
    "import re\nre.compile(text)\nmodel.eval()\nmodel.compile()",
    "Auto.from_pretrained(name, trust_remote_code=False)",
    "'eval(text); import pickle; shell=True'",
)


@pytest.mark.parametrize(("text", "fault"), BAD.items())
def test_the_scan_finds_what_is_bad(text, fault):
    assert fault in {found for _, found in findings(text)}


@pytest.mark.parametrize("text", GOOD)
def test_the_scan_leaves_what_is_good(text):
    assert findings(text) == []


def test_no_code_of_the_project_runs_or_unpickles_what_data_brings():
    found = {}
    for root in (PROJECT / "src" / "bort_kedro", PROJECT / "benchmarks"):
        for path in sorted(root.rglob("*.py")):
            name = f"{root.name}/{path.relative_to(root).as_posix()}"
            for line, fault in findings(path.read_text("utf-8")):
                found.setdefault((name, fault), []).append(line)
    assert {place: lines for place, lines in found.items() if place not in ALLOWED} == {}
    assert set(ALLOWED) - set(found) == set()  # a reason for what is no longer there goes


@pytest.fixture
def folder(tmp_path):
    """A folder with a file, and a file and a folder outside it that links in it lead to."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for each in (inside, outside):
        each.mkdir()
        (each / "file").write_text("text")
    (inside / "link").symlink_to(outside / "file")
    (inside / "folder").symlink_to(outside)
    (inside / "own").symlink_to("file")
    (inside / "loop").symlink_to("loop")
    return inside


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file", ""),
        ("own", ""),
        ("not there", ""),
        ("sub/../file", "`sub/../file` leads out"),
        ("../outside/file", "`../outside/file` leads out"),
        ("..\\outside\\file", "leads out"),
        ("C:\\file", "leads out"),
        ("/etc/passwd", "`/etc/passwd` leads out"),
        ("link", "`link` is a link out of the folder, to "),
        ("folder/file", "`folder/file` is a link out of the folder, to "),
        ("loop", "`loop` is a link that leads nowhere"),
        (".", ""),
        ("", "'' is no name"),
        (7, "7 is no name"),
        ("a\0b", "is no name"),
    ],
)
def test_a_name_leads_out_of_its_folder_or_not(folder, name, said):
    fault = outside_fault(folder, name)
    assert fault.startswith(said) if said.startswith("`") else said in fault
    assert bool(fault) == bool(said)


def test_a_folder_that_is_a_link_and_links_of_the_hubs_cache_are_fine(folder):
    linked = folder.parent / "linked"
    linked.symlink_to(folder)
    assert outside_fault(linked, "file") == ""
    (folder / "index").symlink_to("../outside/file")
    assert outside_fault(folder, "link", of=folder / "index") == ""


@pytest.fixture
def sharded(tmp_path, tiny_shape, tiny_tokenizer):
    """A model in several files, and another one outside its folder."""
    model = build_masked_lm(bert_config(tiny_shape, vocabulary_size=len(tiny_tokenizer), max_positions=20), seed=0)
    model.save_pretrained(tmp_path / "model", max_shard_size="20KB")
    model.save_pretrained(tmp_path / "other")
    assert (tmp_path / "model" / INDEX).is_file()
    return tmp_path / "model"


def opened(folder):
    return PretrainedFiles(folder, ModelFolderError, local_files_only=True).model("AutoModelForMaskedLM")[0]


def name_all(folder, name):
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] = dict.fromkeys(index["weight_map"], name)
    (folder / INDEX).write_text(json.dumps(index))


def test_a_model_in_several_files_of_its_folder_is_opened(sharded):
    assert isinstance(opened(sharded), BertForMaskedLM)


@pytest.mark.parametrize("way", ["..", "absolute", "link"])
def test_an_index_that_names_weights_elsewhere_is_refused(sharded, way):
    other = sharded.parent / "other" / "model.safetensors"
    (sharded / "linked.safetensors").symlink_to(other)
    name_all(sharded, {"..": "../other/model.safetensors", "absolute": str(other), "link": "linked.safetensors"}[way])
    fault = rf"^its {re.escape(INDEX)} names a file of weights that is not its own: `.*` (leads|is a link) out of"
    with pytest.raises(ModelFolderError, match=fault):
        opened(sharded)


@pytest.mark.parametrize("text", ["[]", "{}", "no JSON", '{"weight_map": 1}', "[" * 100_000])
def test_an_index_that_is_none_is_refused(sharded, text):
    (sharded / INDEX).write_text(text)
    with pytest.raises(ModelFolderError, match=rf"^its {re.escape(INDEX)} cannot be understood: "):
        opened(sharded)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd"])
def test_the_manifest_of_an_export_names_files_of_the_export_alone(tmp_path, name):
    from bort_kedro.exports.folder import open_export

    said: JsonObject = {"task": "a", "form": "classification", "labels": ["x"], "truncation": "text"}
    said |= {"max_tokens": 8, "tokenizer": "0", "formats": {"onnx": {name: 1}}}
    (tmp_path / MANIFEST).write_text(json.dumps(said))
    fault = f"{tmp_path / MANIFEST} names a file that is not the export's: `{name}` leads out of the folder. "
    with pytest.raises(ModelFolderError, match=f"^{re.escape(fault)}"):
        open_export(tmp_path, "onnx")


@pytest.mark.parametrize("way", ["..", "absolute", "link"])
def test_a_graph_that_names_its_weights_elsewhere_is_refused(tmp_path, way):
    """The runtime itself sees to it, which a later one might not."""

    from onnx import TensorProto, helper

    from bort_kedro.exports.runtimes import ONNX_GRAPH, open_session

    secret = tmp_path / "secret"
    secret.write_bytes(bytes(16))
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "linked").symlink_to(secret)
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    place = {"..": "../secret", "absolute": str(secret), "link": "linked"}[way]
    for key, value in {"location": place, "offset": "0", "length": "16"}.items():
        weights.external_data.add(key=key, value=value)
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["output"])], "g", [], [output], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (folder / ONNX_GRAPH).write_bytes(model.SerializeToString())
    with pytest.raises(Exception, match="External data path validation failed"):
        open_session("onnx", folder, num_threads=1)


def task_folder(root, *, linked):
    """CoLA's files, of which one may be a link out of the folder."""
    row = "gj04\t1\t\tThe mean is computed.\ngj04\t0\t*\tMean the computed is.\n"
    folder = root / "tasks" / "CoLA"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text(row)
    (folder / "test.tsv").write_text("index\tsentence\n0\tThe mean is computed.\n")
    if linked:
        shutil.move(folder / linked, root / "private")
        (folder / linked).symlink_to(root / "private")
    return TaskFilesDataset(folder=str(root / "tasks")).load()


def test_a_task_whose_archive_brought_a_link_is_refused_unless_the_link_is_named(tmp_path):
    files = task_folder(tmp_path, linked="train.tsv")
    with pytest.raises(TaskError) as caught:
        files.read(TASKS["cola"])
    folder = tmp_path / "tasks" / "CoLA"
    assert str(caught.value) == (
        f"Task `cola`: in {folder} `train.tsv` is a link out of the folder, to {tmp_path / 'private'}. Put the file "
        "itself there, or, if it is meant, name it under `files.cola.train` in params:finetune."
    )
    named = files.read(TASKS["cola"], files={"train": SourceFile("train.tsv")})
    assert (named.examples["split"] == "train").sum() == 2


def test_a_link_among_the_many_files_of_a_task_is_refused(tmp_path):
    folder = tmp_path / "RACE"
    for split in ("train", "dev", "test"):
        (folder / split / "high").mkdir(parents=True)
    (tmp_path / "private.txt").write_text("{}")
    (folder / "dev" / "high" / "1.txt").symlink_to(tmp_path / "private.txt")
    with pytest.raises(
        TaskError, match=r"Task `race_high`: in .*RACE `dev/high/1\.txt` is a link out of the folder, to "
    ):
        TaskFilesDataset(folder=str(tmp_path)).load().read(TASKS["race_high"])


def test_a_folder_of_tasks_that_is_a_link_is_read(tmp_path):
    task_folder(tmp_path, linked=None)
    (tmp_path / "linked").symlink_to(tmp_path / "tasks")
    reading = TaskFilesDataset(folder=str(tmp_path / "linked")).load().read(TASKS["cola"])
    assert (reading.examples["split"] == "dev").sum() == 2


@pytest.mark.parametrize(
    ("target", "option"), [("kedro viz run", "--host"), ("mlflow ui", "--host"), ("jupyter notebook", "--ip")]
)
def test_servers_of_make_listen_on_this_machine_alone(target, option):
    lines = (PROJECT / "Makefile").read_text("utf-8").replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if f"/{target}" in line]
    assert re.search(rf"{target}.* {option} 127\.0\.0\.1( |$)", line)


def test_clusters_of_the_search_are_started_on_this_machine_alone(monkeypatch):
    """Without their packages: what they are started with."""
    import sys

    from bort_kedro.search import pools
    from bort_kedro.search.settings import EngineSettings

    asked = {}
    fake = SimpleNamespace(LocalCluster=lambda **options: asked.update(options))
    monkeypatch.setitem(sys.modules, "distributed", fake)
    settings = EngineSettings.model_construct(engine="dask", num_workers=1, cluster_address=None)
    pools._dask_cluster(settings)
    assert (asked["host"], asked["dashboard_address"]) == ("127.0.0.1", None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:5000/a", "http://me:***@host:5000/a"),
        ("s3://key:p@ss@bucket/a", "s3://key:***@bucket/a"),
        ("https://hf_token@host/a and https://b:c@d", "https://***@host/a and https://b:***@d"),
        ("postgresql+psycopg2://me:p%40ss@host/runs", "postgresql+psycopg2://me:***@host/runs"),
        ("https://host/a?x=1&token=abc&y=2", "https://host/a?x=1&token=***&y=2"),
        ("https://host/a?X-Amz-Signature=abc&sig=d#e", "https://host/a?X-Amz-Signature=***&sig=***#e"),
        ("az://c/f?api_key=1", "az://c/f?api_key=***"),
        ("sqlite:////home/me@work/runs.db", "sqlite:////home/me@work/runs.db"),
        ("https://host/a@b?tokens=5&max_tokens=7", "https://host/a@b?tokens=5&max_tokens=7"),
        ("mail me@host, `a/b@main`, 3:4@5", "mail me@host, `a/b@main`, 3:4@5"),
    ],
)
def test_passwords_and_tokens_of_addresses_are_hidden(text, shown):
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize("variable", VARIABLES)
def test_tokens_of_the_environment_are_hidden_in_any_text(monkeypatch, variable):
    monkeypatch.setenv(variable, SECRET)
    assert redacted(f"Invalid token {SECRET}.") == "Invalid token ***."
    monkeypatch.setenv(variable, "main")
    assert redacted("the main branch") == "the main branch"


def test_values_at_any_depth_are_hidden_and_keep_their_kind():
    value = {"a": [{"b": "http://u:p@h"}], "c": ("http://u:p@h", 1), "d": None, "e": 0.5}
    assert all_redacted(value) == {"a": [{"b": "http://u:***@h"}], "c": ("http://u:***@h", 1), "d": None, "e": 0.5}


def test_errors_that_a_user_reads_have_no_secret():
    assert str(ConfigurationError("No http://me:secret@host.")) == "No http://me:***@host."
    failed = FailedTrainingError("T", "http://me:secret@host went away", "Wait")
    assert str(failed) == "T: http://me:***@host went away. Wait"


def test_what_kedro_says_of_a_dataset_has_no_secret_on_the_command_line(monkeypatch):
    from bort_kedro import cli

    def fail():
        raise DatasetError("Failed while loading data from s3://me:secret@bucket/a.csv")

    monkeypatch.delenv(cli.TRACEBACK_VARIABLE, raising=False)
    with pytest.raises(click.ClickException) as caught:
        cli._told(fail, {})
    assert caught.value.message.startswith("Failed while loading data from s3://me:***@bucket/a.csv\n")


def test_lines_and_tracebacks_of_the_log_have_no_secret(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    configuration = yaml.safe_load((PROJECT / "conf" / "logging.yml").read_text())
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        dictConfig(configuration | {"loggers": {}})
        redact_logs()
        redact_logs()  # which a second session does
        try:
            raise OSError(f"401 for {SECRET}")
        except OSError:
            logging.getLogger("any").exception("at %s", "http://me:secret@host")
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level
    out = capsys.readouterr().out
    assert " at http://me:***@host\nTraceback" in out
    assert "OSError: 401 for ***" in out


def test_the_manifest_of_a_run_has_no_secret(tmp_path, monkeypatch):
    from bort_kedro.session.manifest_hook import ManifestHook

    monkeypatch.setenv("HF_TOKEN", SECRET)
    raw = raw_parameters("smoke")
    raw["search"]["cluster_address"] = "tls://me:secret@host:8786"
    raw["finetune"]["teacher"]["encoder"] = f"somebody/{SECRET}"
    catalog = DataCatalog({"parameters": MemoryDataset(raw), "run_manifest": MemoryDataset()})
    hook = ManifestHook()
    hook.after_context_created(SimpleNamespace(config_loader=SimpleNamespace(local_files=set())))
    hook.after_catalog_created(catalog)
    run = {"run_id": "1", "pipeline_names": None, "env": None, "project_path": str(tmp_path)}
    hook.after_pipeline_run(run, catalog)
    text = json.dumps(catalog.load("run_manifest"))
    assert "tls://me:***@host:8786" in text
    assert "somebody/***" in text
    assert SECRET not in text
    assert "secret" not in text


def test_runs_in_mlflow_have_no_secret(tmp_path, monkeypatch, empty_store):
    import mlflow
    from kedro.pipeline import Node, Pipeline

    from bort_kedro.session.nested_runs import log_metrics
    from bort_kedro.session.tracking import TrackingHook
    from tracked_sessions import CATALOG, FINETUNE, context_of, finished

    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store, tmp_path)}")
    monkeypatch.chdir(tmp_path)
    hook = TrackingHook()
    try:
        hook.after_context_created(context_of(tmp_path))
        run = FINETUNE | {"runtime_params": {"student": f"https://{SECRET}@host/a"}, "tags": ("a", "b")}
        hook.before_pipeline_run(run, Pipeline([]), CATALOG)
        run_id = mlflow.active_run().info.run_id
        node = Node(lambda given: given, "params:search", "made", name="make")
        inputs = {"params:search": {"address": "tls://me:secret@host", "token": SECRET}}
        hook.before_node_run(node, CATALOG, inputs, is_async=False)
        log_metrics(run_id, [], {"place": "s3://me:secret@bucket"})
        finished(hook)
        data = mlflow.get_run(run_id).data
    finally:
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)
    assert data.params["search.address"] == "tls://me:***@host"
    assert data.params["search.token"] == "***"
    assert data.params["place"] == "s3://me:***@bucket"
    assert "https://***@host/a" in data.tags["runtime_params"]
    assert data.tags["tags"] == "('a', 'b')"
    assert SECRET not in f"{data.params}{data.tags}"


def test_the_password_of_a_tracking_server_goes_where_mlflow_looks_for_it(monkeypatch):
    from bort_kedro.session.tracking_store import PASSWORD, USERNAME, without_credentials

    for name in (USERNAME, PASSWORD):
        monkeypatch.setenv(name, "before")
    assert without_credentials("https://me:p%40ss@host:5000/a") == "https://host:5000/a"
    assert (os.environ[USERNAME], os.environ[PASSWORD]) == ("me", "p@ss")
    for other in ("http://host", "sqlite:///a.db", "postgresql://me:secret@host/runs", "databricks"):
        assert without_credentials(other) == other
