"""Which errors are shown as text alone, and what they say."""

from __future__ import annotations

import errno
import sys
from types import SimpleNamespace

import pytest
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.registry import registry
from kedro.framework.project import pipelines
from kedro.io import DatasetError
from kedro.pipeline import Node, Pipeline

from bort_kedro.cli import cli, user_fault
from bort_kedro.errors import CorpusError
from bort_kedro.session.option_help import HELP


def test_an_error_of_ours_is_found_inside_what_kedro_wraps_around_it():
    wrapped = DatasetError("Failed while loading data from dataset ...")
    wrapped.__cause__ = CorpusError("a.txt is not UTF-8")
    assert user_fault(wrapped) == "a.txt is not UTF-8"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/full/a"), "[Errno 28] No space left on device: '/full/a'"),
        (
            RuntimeError("I/O error: No space left on device (os error 28)"),
            "I/O error: No space left on device (os error 28)",
        ),
    ],
)
def test_a_full_disk_is_told_wherever_it_is_written_to(error, said):
    wrapped = RuntimeError("the export failed")
    wrapped.__cause__ = error
    assert user_fault(wrapped) == f"{said}: the disk is full; free some space, then run the same command again."


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), ValueError("bad value"), PermissionError(13, "no")]
)
def test_a_fault_of_the_program_keeps_its_traceback(error):
    assert user_fault(error) is None


def test_pipelines_that_make_the_same_dataset_are_a_user_fault():
    made = [Pipeline([Node(max, "numbers", "largest", name=name)]) for name in ("one", "two")]
    with pytest.raises(Exception, match="largest") as caught:
        made[0] + made[1]
    assert user_fault(caught.value) == str(caught.value)


@pytest.fixture
def registered(monkeypatch):
    """Two pipelines in place of the project's."""
    two = Pipeline([Node(max, "numbers", "largest", name="max_node", tags="report", namespace="ends")])
    registry_of_two = SimpleNamespace(register_pipelines=lambda: {"__default__": two, "search": two})
    monkeypatch.setitem(sys.modules, "registry_of_two", registry_of_two)
    state = {"_pipelines_module": "registry_of_two", "_content": {}, "_is_data_loaded": False}
    for name, value in (state | {"_requested_pipelines": None}).items():
        monkeypatch.setattr(pipelines, name, value)


def printed(command, capsys, *words):
    with pytest.raises(SystemExit) as ended:
        command.main(list(words), obj=object(), standalone_mode=True)
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    return out + err


def test_kedro_tells_its_own_errors(registered, capsys):
    """click from 8.5 on shows an error once it is handled, when Kedro finds it no more and prints NoneType."""
    assert "'nope' pipeline not found. Existing pipelines: [__default__, search]" in printed(
        registry, capsys, "describe", "nope"
    )


def ask(monkeypatch, pipelines_asked, **filters):
    """Stand in for the run: what a session does with the pipelines that it has."""

    def run(**options):
        for name in pipelines_asked:
            pipelines[name].filter(**filters)

    monkeypatch.setattr("bort_kedro.cli._KEDRO_RUN", run)


@pytest.mark.parametrize(
    ("option", "name", "asked", "text"),
    [
        ("--tags", "reprot", {"tags": ["reprot"]}, "Did you mean `report`? There are: report."),
        (
            "--nodes",
            "max_node",
            {"node_names": ["max_node"]},
            "Did you mean `ends.max_node`? There are: ends.max_node.",
        ),
        ("--from-nodes", "max_node", {"from_nodes": ["max_node"]}, "Did you mean `ends.max_node`? There are: ends.max"),
        ("--to-nodes", "x", {"to_nodes": ["x"]}, "There are: ends.max_node."),
        ("--from-inputs", "number", {"from_inputs": ["number"]}, "There are: largest, numbers."),
        ("--to-outputs", "x", {"to_outputs": ["x"]}, "There are: largest, numbers."),
        ("--namespaces", "end", {"node_namespaces": ["end"]}, "Did you mean `ends`? There are: ends."),
    ],
)
def test_a_name_that_is_not_there_is_told_with_those_that_are(
    registered, monkeypatch, capsys, option, name, asked, text
):
    ask(monkeypatch, ["__default__"], **asked)
    output = printed(cli, capsys, "run", option, name)
    assert f"Error: `{option}` names `{name}`, which is not there. " in output
    assert text in output
    assert "Traceback" not in output


def test_names_that_are_there_but_meet_in_no_node_are_told_as_kedro_does(registered, monkeypatch, capsys):
    ask(monkeypatch, ["__default__"], tags=["report"], node_names=[], to_outputs=["numbers"])
    output = printed(cli, capsys, "run", "--tags", "report", "--to-outputs", "numbers")
    assert "Error: Pipeline contains no nodes after applying all provided filters." in output


def test_a_runner_that_is_not_there_is_told_with_those_that_are(capsys):
    for name in ("ThredRunner", "no.such.Runner"):
        output = printed(cli, capsys, "run", "--runner", name)
        assert f"`--runner` names `{name}`, which is not there." in output
        assert "There are: ParallelRunner, SequentialRunner, ThreadRunner. One of yours is named in full" in output
    assert "Did you mean `ThreadRunner`?" in printed(cli, capsys, "run", "--runner", "ThredRunner")


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_run_that_is_named_gives_its_versions_to_runs_and_plans(command, monkeypatch):
    asked = []

    def versions(run, options):
        return {"tokens": run} | options["load_versions"]

    monkeypatch.setattr("bort_kedro.session.from_run.load_versions_of", versions)
    monkeypatch.setattr("bort_kedro.cli._KEDRO_RUN", lambda **options: asked.append(options["load_versions"]))
    monkeypatch.setattr(
        "bort_kedro.session.plan.print_plan", lambda options, **_: asked.append(options["load_versions"])
    )
    words = [command, "--from-run", "1", "--load-versions", "tokenizer:2"]
    cli.main(words, standalone_mode=False)
    cli.main([command], standalone_mode=False)
    assert asked == [{"tokens": "1", "tokenizer": "2"}, {}]


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("words", "option"), [(["-e", "smoke", "--env=paper"], "--env"), (["--params", "a=1"] * 2, "--params")]
)
def test_an_option_that_is_given_twice_is_refused(command, words, option, capsys):
    assert (
        f"Error: `{option}` is given 2 times, and the last alone would count. Give it once: --env takes one "
        "environment, options with lists take commas, as in --params a=1,b=2." in printed(cli, capsys, command, *words)
    )


def test_every_option_of_kedro_has_words_of_this_project_and_kedro_keeps_its_own():
    assert {option.name for option in kedro_run.params} == set(HELP)
    ours = {option.name: option.help for option in cli.commands["run"].params}
    assert {name: ours[name] for name in HELP} == HELP
    assert not {option.help for option in kedro_run.params} & set(HELP.values())
    planned = {option.name: option.help for option in cli.commands["plan"].params}
    assert {name: words for name, words in planned.items() if name in HELP}.items() <= HELP.items()
