"""A whole stage takes what its forecast says: trainings, what scores and keeps them, and the nodes beside them."""

from __future__ import annotations

import gc
import time
from contextlib import chdir
from operator import attrgetter
from pathlib import Path

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from bort_kedro.configuration import ConfigurationLoader
from bort_kedro.pipeline_registry import build_pipelines
from bort_kedro.session.plan import plan_of
from bort_kedro.settings import CONFIG_LOADER_ARGS
from project_parameters import CONF, parameters, raw_parameters

# One trial for each set of hyperparameters, so that nothing ends early, and some seconds of them.
CHANGES = {"finetune": {"method": "plain", "tasks": ["order"], "training": {"num_epochs": 12}}}
TRAINING_STAGES = ("search", "pretrain_distill", "finetune")
FACTOR = 1.5


@pytest.fixture(scope="module")
def seconds(tmp_path_factory):
    """Forecast and processor's seconds of each stage of the smoke configuration, each forecast as its stage begins."""
    asked, found = parameters("smoke", **CHANGES), {}
    pipelines = build_pipelines(asked)
    # On one thread the processor's time is the time that passes, but for what others take of the machine meanwhile.
    with pytest.MonkeyPatch.context() as patch, chdir(tmp_path_factory.mktemp("stages")):
        patch.setattr(time, "perf_counter", time.process_time)
        entries = ConfigurationLoader(str(CONF), env="smoke", **CONFIG_LOADER_ARGS)["catalog"]
        entries["raw_corpus"]["packages"] = ["joblib"]
        for stage in ("corpus", "tasks", *TRAINING_STAGES):
            pipeline = pipelines["__default__"].filter(tags=[stage])
            catalog = DataCatalog.from_config(entries)
            catalog["parameters"] = MemoryDataset(raw_parameters("smoke", **CHANGES))
            for name in (name for name in pipeline.inputs() if name.startswith("params:")):
                catalog[name] = MemoryDataset(attrgetter(name.removeprefix("params:"))(asked), copy_mode="assign")
            forecast = plan_of(asked, pipeline, catalog, data=Path("data")).seconds()
            # To look for garbage among all that was imported takes a third of a second, in whichever stage it falls.
            gc.freeze()
            began = time.process_time()
            SequentialRunner().run(pipeline, catalog)
            found[stage] = forecast, time.process_time() - began
    yield found
    gc.unfreeze()


@pytest.mark.parametrize("stage", TRAINING_STAGES)
def test_the_forecast_of_a_stage_is_within_a_factor_of_one_and_a_half_of_what_it_takes(stage, seconds):
    forecast, taken = seconds[stage]
    assert taken / FACTOR < forecast < taken * FACTOR, seconds
