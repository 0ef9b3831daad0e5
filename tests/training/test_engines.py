import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from bort_kedro.errors import ConfigurationError, TrainingError
from bort_kedro.training import engines
from bort_kedro.training.engines import ENGINES, EngineSettings, Job, Restart, device_index, run_jobs


def settings(name, num_workers=2):
    return EngineSettings(name, num_workers, None)


def run(jobs, name, **keywords):
    return list(run_jobs(jobs, settings(name), description="", **keywords))


@pytest.fixture
def engine(request, monkeypatch):
    """An engine that is installed; clusters talk over the loopback, which the tests otherwise forbid."""
    # A ray worker looks for the functions below where any new process would.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    package = {"dask": "distributed", "ray": "ray"}.get(request.param)
    if package:
        request.getfixturevalue("socket_enabled")
        pytest.importorskip(package)
    return request.param


def noted_square(number, folder):
    """Leave one file for each call."""
    (folder / f"{number}-{time.time_ns()}").touch()
    return number * number


def calls(folder):
    return sorted(int(path.name.split("-")[0]) for path in folder.iterdir())


def wait_for(*files):
    while not all(file.exists() for file in files):
        time.sleep(0.01)


def kill_own_worker(*files):
    wait_for(*files)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_own_worker_once(number, folder, killed, *files):
    wait_for(*files)
    if not killed.exists():
        killed.touch()
        kill_own_worker()
    return noted_square(number, folder)


def wait_for_the_second_life(number, folder, started, restarted):
    started.touch()
    wait_for(restarted)
    return noted_square(number, folder)


def refuse(name):
    raise TrainingError(f"{name}: refused")


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "ray"], indirect=True)
def test_every_engine_runs_each_job_once_and_yields_its_result(engine, tmp_path):
    jobs = [Job(f"job {number}", noted_square, (number, tmp_path)) for number in range(5)]
    assert sorted(run(jobs, engine)) == [0, 1, 4, 9, 16]
    assert calls(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("engine", ["loky", "dask", "ray"], indirect=True)
def test_a_dead_worker_costs_the_jobs_under_way_a_restart_and_no_finished_job(engine, tmp_path, caplog):
    folder = tmp_path / "calls"
    folder.mkdir()
    consumed, killed, started, restarted = (tmp_path / name for name in ("consumed", "killed", "started", "restarted"))
    jobs = [
        Job("finished", noted_square, (3, folder)),
        Job("killed", kill_own_worker_once, (4, folder, killed, consumed, started)),
        Job("beside", wait_for_the_second_life, (5, folder, started, restarted)),
        Job("last", noted_square, (6, folder)),
    ]
    restarts, results = [], []

    def on_restart(restart):
        restarts.append(restart)
        restarted.touch()

    for result in run_jobs(jobs, settings(engine), description="", on_restart=on_restart):
        results.append(result)
        consumed.touch()
    assert results[0] == 9
    assert sorted(results) == [9, 16, 25, 36]
    assert calls(folder) == [3, 4, 5, 6]
    assert [restart.jobs for restart in restarts] == [("killed", "beside")]
    reason = restarts[0].reason
    assert reason.split(":")[0] == {
        "loky": "TerminatedWorkerError",
        "dask": "KilledWorker",
        "ray": "WorkerCrashedError",
    }.get(engine)
    assert "\n" not in reason
    warnings = [entry.getMessage() for entry in caplog.records if entry.name == "bort_kedro.training.engines"]
    assert warnings == [f"A worker died ({reason}). Started again: killed, beside."]


def test_workers_that_keep_dying_end_in_an_error_that_names_the_jobs_under_way(tmp_path):
    restarts, consumed = [], tmp_path / "consumed"
    jobs = [
        Job("finished", abs, (-2,)),
        Job("D4", kill_own_worker, (consumed,)),
        Job("D2", wait_for, (tmp_path / "x",)),
    ]
    results = []

    def run_to_the_error():
        for result in run_jobs(jobs, settings("loky"), description="", on_restart=restarts.append):
            results.append(result)
            consumed.touch()

    with pytest.raises(TrainingError) as caught:
        run_to_the_error()
    assert results == [2]
    assert [restart.jobs for restart in restarts] == [("D4", "D2")] * 2
    assert str(caught.value) == (
        "Workers died 3 times without finishing a job, usually because memory ran out. Under way were D4, D2; "
        "the last death: TerminatedWorkerError: A worker process managed by the executor was unexpectedly "
        "terminated. This could be caused by a segmentation fault while calling the .... What is finished is kept. "
        "Lower params:search.num_workers or params:search.training.batch_tokens, then run the same command again."
    )


def test_a_finished_job_between_deaths_starts_their_count_anew(tmp_path, monkeypatch):
    # Stands for a pool: an OSError in this process counts as a death.
    pool = engines._Pool("sequential", (OSError,))
    monkeypatch.setitem(engines._POOLS, "loky", lambda engine: nullcontext(pool))

    def fail_twice(number):
        (tmp_path / f"{number}-{time.time_ns()}").touch()
        if calls(tmp_path).count(number) < 3:
            raise OSError("lost")
        return number

    restarts = []
    jobs = [Job(f"job {number}", fail_twice, (number,)) for number in range(3)]
    one_at_a_time = settings("loky", num_workers=1)
    assert list(run_jobs(jobs, one_at_a_time, description="", on_restart=restarts.append)) == [0, 1, 2]
    assert restarts == [Restart((f"job {number}",), "OSError: lost") for number in (0, 0, 1, 1, 2, 2)]


@pytest.mark.parametrize("engine", ["dask"], indirect=True)
def test_one_worker_of_a_cluster_is_another_process_than_this_one(engine):
    (worker,) = run_jobs([Job("D2", os.getpid, ())], settings(engine, num_workers=1), description="")
    assert worker != os.getpid()


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_an_error_of_a_job_reaches_the_caller_unchanged(engine):
    jobs = [Job("quick", abs, (-1,)), Job("D2-A2", refuse, ("D2-A2",))]
    with pytest.raises(TrainingError) as caught:
        run(jobs, engine)
    assert type(caught.value) is TrainingError
    assert str(caught.value) == "D2-A2: refused"


def test_workers_end_when_the_caller_stops_early(tmp_path):
    jobs = [Job("quick", os.getpid, ()), Job("D2", wait_for, (tmp_path / "never",)), Job("D4", os.getpid, ())]
    results = run_jobs(jobs, settings("loky"), description="")
    worker = next(results)
    with pytest.warns(UserWarning, match="have been cancelled"):
        results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize(("engine", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_package_is_told_with_what_to_install(engine, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError) as caught:
        run([Job("D2", abs, (1,))], engine)
    assert str(caught.value) == (
        f"params:search.engine is `{engine}`, but the package `{package}` is not installed. Install it with pip "
        f"install 'bort-kedro[{engine}]', or set params:search.engine to `sequential` or `loky`, which need nothing "
        "more."
    )


def test_no_jobs_need_no_engine():
    assert run([], "ray") == []


def test_jobs_take_turns_over_the_gpus():
    assert [device_index(number, 3) for number in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert [device_index(number, 1) for number in range(3)] == [0, 0, 0]
    assert device_index(5, 0) is None


def test_a_job_keeps_its_gpu_when_it_is_started_again(tmp_path, monkeypatch):
    import torch

    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", lambda index: chosen.append(index) or nullcontext())
    run([Job(f"job {number}", abs, (number,)) for number in range(5)], "sequential")
    assert chosen == [0, 1, 0, 1, 0]
