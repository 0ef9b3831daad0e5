import os
import signal
import socket
import sys
import time
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path

import pytest

from bort_kedro.errors import ConfigurationError, TrainingError
from bort_kedro.search import pools as engine_pools
from bort_kedro.search.engines import ENGINES, Engine, Job, Restart, device_index, run_jobs
from bort_kedro.search.settings import EngineSettings


def workers_of(name, num_workers=2, cluster_address=None):
    return Engine(EngineSettings(engine=name, num_workers=num_workers, cluster_address=cluster_address))


def run(jobs, name):
    with workers_of(name) as workers:
        return list(run_jobs(jobs, workers, description=""))


@pytest.fixture
def pools(monkeypatch):
    """Stands for the workers of loky: an OSError in this process counts as a death. Tells of starts and ends."""
    told = []

    @contextmanager
    def pool(settings):
        told.append("start")
        yield engine_pools.Pool(lambda: "sequential", (OSError,))
        told.append("end")

    monkeypatch.setitem(engine_pools.POOLS, "loky", pool)
    return told


@pytest.fixture
def chosen_gpus(monkeypatch):
    """Four GPUs; those that jobs were given, in turn."""
    import torch

    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "device", lambda index: chosen.append(index) or nullcontext())
    return chosen


@pytest.fixture
def engine(request, monkeypatch):
    """An engine that is installed; clusters talk over the loopback, which the tests otherwise forbid."""
    # A ray worker looks for the functions below where any new process would.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
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


def meet(own, other):
    """In two processes at a time, since each waits for the other."""
    own.touch()
    wait_for(other)
    return os.getpid()


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


def fail_once(note):
    if not note.exists():
        note.touch()
        raise OSError("lost")


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

    with workers_of(engine) as workers:
        for result in run_jobs(jobs, workers, description="", on_restart=on_restart):
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
    warnings = [entry.getMessage() for entry in caplog.records if entry.name == "bort_kedro.search.engines"]
    assert warnings == [f"A worker died ({reason}). Started again: killed, beside."]


def test_workers_that_keep_dying_end_in_an_error_that_names_the_jobs_under_way(tmp_path):
    restarts, consumed = [], tmp_path / "consumed"
    jobs = [
        Job("finished", abs, (-2,)),
        Job("D4", kill_own_worker, (consumed,)),
        Job("D2", wait_for, (tmp_path / "x",)),
    ]
    results = []

    def run_to_the_error(workers):
        for result in run_jobs(jobs, workers, description="", on_restart=restarts.append):
            results.append(result)
            consumed.touch()

    with workers_of("loky") as workers, pytest.raises(TrainingError) as caught:
        run_to_the_error(workers)
    assert results == [2]
    assert [restart.jobs for restart in restarts] == [("D4", "D2")] * 2
    assert str(caught.value) == (
        "Workers died 3 times without finishing a job, usually because memory ran out. At last D4 alone was under "
        "way: TerminatedWorkerError: A worker process managed by the executor was unexpectedly "
        "terminated. This could be caused by a segmentation fault while calling the .... What is finished is kept. "
        "Lower params:search.num_workers or params:search.training.batch_tokens, then run the same command again."
    )


def test_a_job_that_dies_alone_too_has_the_result_it_is_given_and_the_others_go_on(tmp_path, pools):
    def lose(number):
        (tmp_path / f"{number}-{time.time_ns()}").touch()
        raise OSError("lost")

    restarts = []
    jobs = [Job("D8", lose, (8,)), Job("quick", abs, (-1,)), Job("D6", lose, (6,)), Job("last", abs, (-2,))]
    with workers_of("loky") as workers:
        results = run_jobs(
            jobs,
            workers,
            description="",
            on_restart=restarts.append,
            on_lost=lambda job, reason: f"{job.name}: {reason}",
        )
        assert list(results) == ["D8: OSError: lost", 1, "D6: OSError: lost", 2]
    assert calls(tmp_path) == [6, 6, 6, 8, 8, 8]
    # The third try of each is alone, and is no restart.
    assert restarts == [Restart(("D8", "quick"), "OSError: lost")] * 2 + [Restart(("D6", "last"), "OSError: lost")] * 2


def test_a_finished_job_between_deaths_starts_their_count_anew(tmp_path, pools):
    def fail_twice(number):
        (tmp_path / f"{number}-{time.time_ns()}").touch()
        if calls(tmp_path).count(number) < 3:
            raise OSError("lost")
        return number

    restarts = []
    jobs = [Job(f"job {number}", fail_twice, (number,)) for number in range(3)]
    with workers_of("loky", num_workers=1) as one_at_a_time:
        assert list(run_jobs(jobs, one_at_a_time, description="", on_restart=restarts.append)) == [0, 1, 2]
    assert restarts == [Restart((f"job {number}",), "OSError: lost") for number in (0, 0, 1, 1, 2, 2)]


@pytest.mark.parametrize("engine", ["dask"], indirect=True)
def test_one_worker_of_a_cluster_is_another_process_than_this_one(engine):
    with workers_of(engine, num_workers=1) as workers:
        (worker,) = run_jobs([Job("D2", os.getpid, ())], workers, description="")
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
    with workers_of("loky") as workers:
        results = run_jobs(jobs, workers, description="")
        worker = next(results)
        with pytest.warns(UserWarning, match="have been cancelled"):
            results.close()
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@pytest.mark.parametrize("engine", ["loky", "dask", "ray"], indirect=True)
def test_workers_stay_for_the_next_jobs_and_end_with_the_block(engine, tmp_path):
    rounds = []
    with workers_of(engine) as workers:
        for number in range(3):
            one, other = tmp_path / f"one {number}", tmp_path / f"other {number}"
            jobs = [Job("one", meet, (one, other)), Job("other", meet, (other, one))]
            rounds.append(set(run_jobs(jobs, workers, description="")))
    first = rounds[0]
    assert len(first) == 2
    assert rounds == [first] * 3
    for worker in first:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_workers_start_with_the_first_job_and_anew_after_a_death(tmp_path, pools):
    with workers_of("loky") as workers:
        assert pools == []
        for _ in range(2):
            assert list(run_jobs([Job("D2", abs, (-2,))], workers, description="")) == [2]
        assert pools == ["start"]
        assert list(run_jobs([Job("D4", fail_once, (tmp_path / "note",))], workers, description="")) == [None]
        assert pools == ["start", "end", "start"]
        assert list(run_jobs([Job("D2", abs, (-2,))], workers, description="")) == [2]
        assert pools == ["start", "end", "start"]
    assert pools == ["start", "end", "start", "end"]


def test_a_failed_job_ends_the_workers_and_the_next_jobs_start_new_ones(pools):
    with workers_of("loky") as workers:
        with pytest.raises(TrainingError):
            list(run_jobs([Job("D2", refuse, ("D2",))], workers, description=""))
        assert pools == ["start", "end"]
        assert list(run_jobs([Job("D2", abs, (-2,))], workers, description="")) == [2]
        assert pools == ["start", "end", "start"]


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("dask", "OSError: Timed out trying to connect to tcp://{address} after 0.2 s"),
        ("ray", "ConnectionRefusedError: [Errno 111] Connection refused"),
    ],
    indirect=["engine"],
)
def test_a_cluster_that_does_not_answer_is_told_with_its_address(engine, reason, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    if engine == "dask":
        # Half a minute otherwise.
        timeouts = import_module("dask").config.config["distributed"]["comm"]["timeouts"]
        monkeypatch.setitem(timeouts, "connect", "0.2s")
    with workers_of(engine, cluster_address=address) as workers, pytest.raises(ConfigurationError) as caught:
        list(run_jobs([Job("D2", abs, (-2,))], workers, description=""))
    assert str(caught.value) == (
        f"params:search.cluster_address is `{address}`, but no {engine} cluster, which params:search.engine asks for, "
        f"answers there ({reason.format(address=address)}). Start it there, or set the address to where it runs, or "
        "to null to start one on this machine."
    )


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


def test_the_turns_of_the_gpus_go_on_in_the_next_round(chosen_gpus):
    jobs = [Job(f"job {number}", abs, (number,)) for number in range(3)]
    with workers_of("sequential") as workers:
        for _ in range(2):
            list(run_jobs(jobs, workers, description=""))
    assert chosen_gpus == [0, 1, 2, 3, 0, 1]


def test_a_job_keeps_its_gpu_when_it_is_started_again(tmp_path, pools, chosen_gpus):
    jobs = [Job("quick", abs, (-1,)), Job("lost", fail_once, (tmp_path / "note",)), Job("last", abs, (-2,))]
    with workers_of("loky") as workers:
        assert list(run_jobs(jobs, workers, description="")) == [1, None, 2]
    assert chosen_gpus == [0, 1, 1, 2]
