"""The search as a user runs it: killed, widened, by every strategy, with a dying worker, and without trainings."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
from pathlib import Path

import pandas as pd
import psutil
import pytest

from bort_kedro.encoders.shapes import SHAPE_COLUMNS
from bort_kedro.pipelines.search import create_pipeline
from bort_kedro.reporting.report_choice import choice_section
from bort_kedro.search.report import Candidate, SearchReport
from bort_kedro.search.strategies import STRATEGIES
from project_copy import SECONDS

pytestmark = pytest.mark.session

TABLE = Path(__file__).parent.parent / "datasets" / "recorded_candidates.csv"
# The corpus of a finished project is there already.
SEARCH = ("--pipelines", "search", "--tags", "search")
STATES = "06_models/training_states/search"
# Where the data of the corpus are.
CORPUS = ("02_intermediate", "03_primary", "05_model_input")
# Run by the fixture, with a worker's death, over a wider space, and over a table.
STRATEGIES_RUN_ELSEWHERE = {"surrogate", "fptas", "random", "exhaustive"}
# Of the 26 states that the search saves: 1 of latencies, 4 of the maximum point, 1 of what was known, 5 of each of 4
# candidates.
KILLS = sorted(random.Random(1).sample(range(1, 26), 4))


@pytest.fixture(scope="module")
def project(smoke, tmp_path_factory):
    """A project whose search has run once."""
    return smoke.copied(tmp_path_factory.mktemp("searched"))


def search(project, *words):
    status, output = project.run(*words)
    assert status == 0, output
    return output


def refused(project, *words):
    """What a run says that cannot go on."""
    status, output = project.run(*words)
    assert status == 1, output
    assert "Traceback" not in output
    return output


def read_table(project, path):
    return pd.read_csv(project.latest(path))


def without_clock(project):
    """The candidates and the choice, as text, but for the milliseconds."""
    table = read_table(project, "08_reporting/candidate_table.csv").drop(columns="latency_ms")
    return table.to_csv(), project.latest("04_feature/selected_shape.json").read_text()


def state_files(project, pattern):
    """Times of the states there are, by path; a search under way may remove one between the listing and the look."""
    times = {}
    for path in (project.root / "data" / STATES).glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            times[path] = path.stat().st_mtime_ns
    return times


def finished_files(project):
    """Scores, and the last states of candidates and maximum point."""
    return state_files(project, "scores/**/step-*") | state_files(project, "*/step-000000060-*")


def test_a_search_killed_again_and_again_ends_where_one_in_peace_does(project, tmp_path):
    killed = project.copied(tmp_path, *CORPUS)
    seen: set[str] = set()
    finished: dict[Path, int] = {}
    for number in KILLS:
        before = len(seen)

        def has_gone_on(before=before, number=number):
            seen.update(str(path) for path in state_files(killed, "**/step-*"))
            return len(seen) >= max(number, before + 1)

        process = killed.start(*SEARCH)
        killed.wait(process, has_gone_on, f"state {number}")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=SECONDS)
        assert process.returncode == -signal.SIGKILL
        finished |= {path: time for path, time in finished_files(killed).items() if path not in finished}
    search(killed, *SEARCH)
    assert without_clock(killed) == without_clock(project)
    assert finished
    assert finished.items() <= finished_files(killed).items()


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in STRATEGIES_RUN_ELSEWHERE])
def test_every_strategy_runs_on_what_was_trained_already(project, strategy):
    finished = finished_files(project)
    search(project, *SEARCH, "--params", f"search.strategy={strategy},search.budget=3")
    report = project.read("08_reporting/search_report.json")
    assert report["strategy"] == strategy
    # The first search has trained them all, so this one has nothing left to ask for.
    assert report["num_known"] == report["num_trained"] == report["trainings_spent"] == report["num_candidates"] == 4
    assert finished_files(project) == finished


@pytest.fixture
def one_more_value(project):
    """The space of the project has twice the intermediate sizes for one test."""
    path = project.root / "conf" / "smoke" / "parameters_search.yml"
    text = path.read_text()
    path.write_text(text.replace("intermediate_size: [32]", "intermediate_size: [32, 48]"))
    yield
    path.write_text(text)


@pytest.mark.usefixtures("one_more_value")
def test_one_more_value_in_the_space_trains_its_candidates_alone(project):
    before, scores = finished_files(project), state_files(project, "scores/*")
    search(project, *SEARCH, "--params", "search.strategy=random,search.budget=8")
    new = {path.name.rsplit("-", 1)[0] for path in state_files(project, "scores/*").keys() - scores.keys()}
    assert new == {f"D{depth}-A2-H{hidden}-I48" for depth in (1, 2) for hidden in (16, 32)}
    assert before.items() <= finished_files(project).items()
    report = project.read("08_reporting/search_report.json")
    assert (report["num_candidates"], report["num_trained"]) == (8, 8)


def workers_of(process):
    """Processes of a run that train."""
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "popen_loky_posix" in " ".join(child.cmdline())
    ]


def test_a_worker_that_dies_costs_a_restart_that_is_told(project, tmp_path):
    other = project.copied(tmp_path, *CORPUS)
    process = other.start(
        *SEARCH, "--params", "search.strategy=fptas,search.budget=2,search.engine=loky,search.num_workers=2"
    )
    other.wait(process, lambda: state_files(other, "D*/step-*"), "state of a candidate")
    workers_of(process)[0].kill()
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    (restart,) = read_table(other, "04_feature/worker_restarts.csv").to_dict("records")
    assert restart["reason"].startswith("TerminatedWorkerError: ")
    assert re.fullmatch(r"D\d-A2-H\d+-I32, set 0, seed 0(; D\d-A2-H\d+-I32, set 0, seed 0)?", restart["jobs"])
    report = SearchReport.from_json(other.read("08_reporting/search_report.json"))
    candidates = Candidate.rows_of(read_table(other, "08_reporting/candidate_table.csv"))
    told = f"A worker died ({restart['reason']}); started again: {restart['jobs']}."
    assert told in choice_section(report, candidates)
    assert "A worker died" in output
    # The middles of four candidates and of the longer rest; the project's first run trained them one after the other.
    columns = ["error", "error_standard_error", "loss", "loss_standard_error"]
    errors = read_table(other, "04_feature/candidate_errors.csv").set_index("candidate")[columns]
    first = min((project.root / "data/04_feature/candidate_errors.csv").glob("*/candidate_errors.csv"))
    pd.testing.assert_frame_equal(errors, pd.read_csv(first).set_index("candidate").loc[[1, 2], columns])


def test_caps_that_nobody_meets_name_the_nearest_candidates(project):
    output = refused(project, *SEARCH, "--params", "search.caps.max_parameters=10000")
    assert "None of the 4 candidates meets the caps (max_parameters 10,000). Nearest:" in output
    assert "  - (1, 2, 16, 32): parameters 13,800 (over)\n  - (2, 2, 16, 32): parameters 16,024 (over)\n" in output
    assert "Raise the caps under params:search.caps" in output


@pytest.fixture
def recorded(fresh):
    """A project in which nothing has run, with a recorded table."""
    folder = fresh.root / "data" / "01_raw"
    folder.mkdir()
    shutil.copy(TABLE, folder)
    return fresh


def test_unknown_strategy_and_answer_list_those_there_are(recorded):
    output = refused(recorded, *SEARCH, "--params", "search.strategy=genetic")
    assert "strategy is `genetic`, allowed are fptas, surrogate, successive_halving, random, exhaustive." in output
    output = refused(recorded, *SEARCH, "--params", "search.answer=smallest")
    assert "answer is `smallest`, allowed are largest_w, pareto_front, smallest_error, knee." in output


FROM_TABLE = "search.error_source=table,search.strategy=exhaustive,search.cost=measured_latency"


def test_a_recorded_table_is_searched_without_a_corpus_or_a_training(recorded):
    output = search(recorded, "--pipeline", "search", "--params", FROM_TABLE)
    assert "by W over error, largest_w chosen (12 of 26)" in output
    assert "Strategy exhaustive, 26 rows looked up. Every row was looked up, so none was overlooked." in output
    assert "the table gives no noise of their errors" in output
    manifest = recorded.read("08_reporting/run_manifest.json")
    assert manifest["pipelines"] == ["search"]
    made = {name for node in create_pipeline("table").nodes for name in node.outputs}
    assert set(manifest["datasets_written"]) == made - {"search_results"}
    assert {path.name for path in (recorded.root / "data").iterdir()} == {"01_raw", "04_feature", "08_reporting"}
    rows = pd.read_csv(TABLE)
    # The maximum point is none of the rows: four times the largest, with the error of the largest.
    largest = 4 * rows.max(numeric_only=True)
    error = rows.sort_values(["parameters", "latency_ms"])["error"].iloc[-1]
    saved = (1 - rows["parameters"] / largest["parameters"]) * (1 - rows["latency_ms"] / largest["latency_ms"])
    w = saved * error / rows["error"]
    best = rows.loc[w.idxmax()]
    expected = [int(best[name]) for name in ("layers", "heads", "hidden", "intermediate")]
    assert recorded.read("04_feature/selected_shape.json") == dict(zip(SHAPE_COLUMNS, expected, strict=True))
    assert recorded.read("08_reporting/search_report.json")["selected"]["w"] == pytest.approx(w.max())
    table = read_table(recorded, "08_reporting/candidate_table.csv").set_index("row")
    # Line 1 is the header.
    assert table.loc[rows.index + 2, "w"].tolist() == pytest.approx(w.tolist())


def test_a_malformed_table_is_told_by_line_column_and_value(recorded):
    path = recorded.root / "data" / "01_raw" / TABLE.name
    path.write_text(TABLE.read_text().replace("4,2,128,256,1548288,0.5257,0.5858", "4,2,wide,256,1548288,0.5257,-0.5"))
    output = refused(recorded, "--pipelines", "search", "--params", FROM_TABLE)
    assert "recorded_candidates.csv has 2 fault(s):" in output
    assert "  - line 4, column `hidden`: found 'wide', allowed is a whole number from 1 to 1000000\n" in output
    assert "  - line 4, column `error`: found '-0.5', allowed is a finite number above 0\n" in output
