"""The forecast of a run: `kedro plan`, and what `kedro run` says before its first node and refuses."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl

from bort_kedro.configuration import session_parameters
from bort_kedro.datasets.text_sources import TextSource
from bort_kedro.datasets.token_blocks import TokenBlocksDataset
from bort_kedro.datasets.training_states import TrainingStates
from bort_kedro.encoders.shapes import SHAPE_COLUMNS, BertShape
from bort_kedro.errors import ConfigurationError
from bort_kedro.forecast.calibration import ThisMachine
from bort_kedro.forecast.facts import KNOWN_ENCODERS, Examples, Facts
from bort_kedro.forecast.finished import Circumstances, Ended, is_searched, with_finished
from bort_kedro.forecast.finished_trials import with_finished_trials
from bort_kedro.forecast.limits import Room, require_fitting
from bort_kedro.forecast.plan import Plan
from bort_kedro.forecast.rates import NamedDevice, Rates
from bort_kedro.forecast.stages import Forecaster
from bort_kedro.forecast.work import COMPARED, COMPARED_TEACHERS, TEACHERS_OF_PARTS, TRIALS, Encoder
from bort_kedro.launcher import is_first, is_launched
from bort_kedro.session.asked import Asked, in_project
from bort_kedro.tasks.builtin import BUILTIN_TASKS
from bort_kedro.training.devices import DataSheet, named_data_sheet

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline

    from bort_kedro.frozen import JsonObject
    from bort_kedro.params import Parameters

LOGGER = logging.getLogger(__name__)
DATA = "data"
MAKES_CORPUS, CORPUS_MANIFEST = "corpus.split_documents_node", "corpus.corpus_manifest"
# Of a table of examples, whose words are counted: all of MNLI's take ten seconds.
SAMPLED_ROWS = 2000


class PlanHook:
    """Says before the first node what the trainings of a run will take, and refuses those that cannot fit."""

    @hook_impl
    def before_pipeline_run(self, run_params: JsonObject, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        if is_launched() or not is_first():
            return
        parameters = session_parameters(catalog)
        plan = plan_of(parameters, pipeline, catalog, data=Path(run_params["project_path"]) / DATA)
        if any(work.step.learns for work in plan.works):
            require_fitting(plan.works, plan.room)
            LOGGER.info("\n".join(["What the trainings of this run take (`kedro plan` says more):", *plan.short()]))


def plan_of(
    parameters: Parameters,
    pipeline: Pipeline,
    catalog: CatalogProtocol,
    *,
    data: Path,
    sheet: DataSheet | None = None,
    shape: BertShape | None = None,
) -> Plan:
    """The forecast of the nodes of a run that writes to a folder of data.

    It is for this machine where no other device is given, and a shape stands for that of a student that is not known
    yet.
    """
    nodes = frozenset(node.name for node in pipeline.nodes)
    is_other = MAKES_CORPUS in nodes and _is_other_corpus(parameters, catalog)
    manifest = None if is_other else _manifest(catalog)
    facts = _facts(parameters, catalog, manifest, sheet)
    if is_other:
        # Built-in tasks are made of it, too.
        own = {name: found for name, found in facts.examples.items() if name not in BUILTIN_TASKS}
        facts = replace(facts, has_other_tokens=True, examples=own)
    forecaster = Forecaster(parameters, facts, shape)
    works = forecaster.works(nodes)
    if not works:
        return Plan([], NamedDevice(named_data_sheet("V100")), Room(0, is_shared=False))
    ended, circumstances = _ended(catalog), _circumstances(manifest, facts)
    works = with_finished(works, ended, parameters, circumstances)
    if is_searched(works):
        works = replace(forecaster, is_searched=True).works(nodes)
        works = with_finished(works, ended, parameters, circumstances)
    if not any(work.trainings_left for work in works if work.step.masked_share):
        # Only then the student is the one that trials of before began with.
        last = _last_trials(parameters, catalog)
        works = with_finished_trials(works, ended, parameters.finetune, circumstances, last)
    trains = {work.stage for work in works if work.step.learns}
    num_nodes = Counter(stage for node in nodes if (stage := node.partition(".")[0]) in trains)
    return Plan(works, _rates(sheet), _room(data, sheet), forecaster.assumptions(nodes), num_nodes)


def _is_other_corpus(parameters: Parameters, catalog: CatalogProtocol) -> bool:
    """Whether the run will make other tokens than those that are there, as far as is known before anything is read."""
    if not catalog.exists(CORPUS_MANIFEST):
        return False
    made, source = catalog.load(CORPUS_MANIFEST), catalog.get("raw_corpus")
    versions = source.versions() if isinstance(source, TextSource) else made["versions"]
    settings = parameters.corpus.model_dump(mode="json")
    # Those of earlier versions of this package lack the settings.
    return bool(made["versions"] != versions or made.get("settings", settings) != settings)


def _manifest(catalog: CatalogProtocol) -> JsonObject | None:
    entry = catalog.get("tokens")
    return entry.manifest() if isinstance(entry, TokenBlocksDataset) and catalog.exists("tokens") else None


def _facts(
    parameters: Parameters, catalog: CatalogProtocol, manifest: JsonObject | None, sheet: DataSheet | None
) -> Facts:
    opened, student = parameters.search.encoder, parameters.finetune.student
    selected = catalog.load("selected_shape") if catalog.exists("selected_shape") else None
    examples = {name: found for name in parameters.finetune.tasks if (found := _examples(name, catalog)) is not None}
    facts = Facts(
        vocabulary_size=manifest["vocabulary"]["size"] if manifest else None,
        split_tokens={name: split["tokens"] for name, split in manifest["splits"].items()} if manifest else {},
        opened=None if opened is None else _encoder(opened),
        student=None if student is None else _encoder(student),
        selected=None if selected is None else BertShape.from_row(selected),
        examples=examples,
        recorded={name: _num_lines(each.file.path) for name, each in parameters.finetune.teacher.recorded.items()},
        num_devices=1,
    )
    if sheet is not None:
        return facts
    import torch

    from bort_kedro.training.threads import resolve_precision

    return replace(facts, precision=resolve_precision, num_devices=torch.cuda.device_count())


def _examples(name: str, catalog: CatalogProtocol) -> Examples | None:
    if not catalog.exists(f"{name}.examples"):
        return None
    table = catalog.load(f"{name}.examples")
    # Rows of one group are one unit.
    split = table.groupby("split")["group"].nunique()
    some = table.iloc[:: 1 + len(table) // SAMPLED_ROWS]
    texts = some["text"].str.cat(some["text_pair"].fillna(""), sep=" ")
    words = texts.str.split().str.len().mean() * len(table) / max(1, split.sum())
    if not split.get("train", 0):
        return None
    train, dev = int(split["train"]), int(split.get("dev", 0))
    return Examples(train, dev, float(words), int(split.sum()) - train - dev)


def _num_lines(path: str) -> int:
    """Of a file, 0 of one that is not there."""
    if not Path(path).is_file():
        return 0
    with Path(path).open("rb") as lines:
        return sum(1 for _ in lines)


def _last_trials(parameters: Parameters, catalog: CatalogProtocol) -> dict[tuple[str, str], int]:
    """Trainings of each node of fine-tuning by their kind, as the reports of its last run have them."""
    found: dict[tuple[str, str], int] = {}
    for place in (f"finetune.{task}" for task in parameters.finetune.tasks):
        for node, name in (("teacher", "teacher_report"), ("student", "finetuning_report")):
            if catalog.exists(f"{place}.{name}"):
                report = catalog.load(f"{place}.{name}")
                counts = {TRIALS: report["num_trials"]} | _compared(report)
                found |= {(f"{place}.fine_tune_{node}_node", kind): count for kind, count in counts.items()}
        if catalog.exists(f"{place}.rivals_report"):
            rivals = catalog.load(f"{place}.rivals_report")
            # The first round of the plain one was Agora's.
            repeated = len(rivals["plain"]["rounds"][0]["trials"]) if "plain" in rivals else 0
            num_trials = sum(each["num_trials"] for each in rivals.values())
            found[f"{place}.fine_tune_rivals_node", TRIALS] = num_trials - repeated
    return found


def _compared(report: JsonObject) -> dict[str, int]:
    """Trainings on parts of train, where a method was chosen by some."""
    compared = report.get("compared_trials")
    if not compared:
        return {}
    of_parts = {} if report["method"] == "distilled" else {TEACHERS_OF_PARTS: 0}
    return {COMPARED_TEACHERS: compared["teacher"], COMPARED: compared["student"], **of_parts}


def _encoder(name: str) -> Encoder | None:
    """An encoder that is opened by its folder, by what the hub's client keeps of it, or by a name that is known."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    path: object = Path(name) / "config.json"
    if not Path(name).is_dir():
        try:
            path = try_to_load_from_cache(name, "config.json")
        except HFValidationError:
            path = None
    if not isinstance(path, str | Path) or not Path(path).is_file():
        return KNOWN_ENCODERS.get(name.rpartition("/")[2])
    config = json.loads(Path(path).read_text("utf-8"))
    if not set(SHAPE_COLUMNS) <= config.keys():
        return None
    return Encoder(BertShape.from_row(config), config["vocab_size"], config["max_position_embeddings"])


def _ended(catalog: CatalogProtocol) -> list[Ended]:
    states = catalog.load("training_states")
    kept = states.kept() if isinstance(states, TrainingStates) else []
    return [Ended(each.name, each.identity, each.written) for each in kept if each.has_ended]


def _circumstances(manifest: JsonObject | None, facts: Facts) -> Circumstances:
    import torch

    from bort_kedro import __version__

    return Circumstances(
        {"bort_kedro": __version__, "torch": torch.__version__},
        TokenBlocksDataset.fingerprint(manifest) if manifest else None,
        facts.precision("auto"),
    )


def _rates(sheet: DataSheet | None) -> Rates:
    if sheet is not None:
        return NamedDevice(sheet)
    return ThisMachine()


def _room(data: Path, sheet: DataSheet | None) -> Room:
    if sheet is not None:
        return Room(sheet.memory_bytes, is_shared=False)
    import psutil
    import torch

    disk = next(path for path in (data, *data.parents) if path.is_dir())
    is_cpu = not torch.cuda.is_available()
    memory = psutil.virtual_memory().available if is_cpu else torch.cuda.get_device_properties(0).total_memory
    return Room(int(memory), is_shared=is_cpu, disk=disk, disk_bytes=shutil.disk_usage(disk).free)


def print_plan(options: JsonObject, *, device: str | None, shape: str | None) -> None:
    """What `kedro plan` does: forecast what `kedro run` with these options would train, and train nothing.

    Raises:
        ConfigurationError: If a parameter, the device or the shape cannot be used.
    """
    sheet = named_data_sheet(device) if device else None
    student = _stated(shape) if shape else None
    with in_project() as project:
        asked = Asked(project, options)
        catalog = asked.catalog(options["load_versions"])
        plan = plan_of(asked.parameters, asked.pipeline, catalog, data=Path(DATA), sheet=sheet, shape=student)
        _show(plan)
        require_fitting(plan.works, plan.room)


def _stated(text: str) -> BertShape:
    sizes = text.replace(" ", "").strip("()[]").split(",")
    if len(sizes) != len(SHAPE_COLUMNS) or not all(size.isdigit() for size in sizes):
        raise ConfigurationError(
            f"`--shape` is `{text}`, allowed are the four sizes {', '.join(SHAPE_COLUMNS)} with commas between them, "
            "such as 4,8,1024,768."
        )
    return BertShape(*map(int, sizes))


def _show(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    from bort_kedro.forecast.plan import COLUMNS

    console = Console(width=None if Console().is_terminal else 160, markup=False, highlight=False)
    if not plan.works:
        console.print("Nothing is trained or timed by these nodes.")
        return
    shown = Table(title="What this run will take", title_justify="left")
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name in ("stage", "what") else "right")
    *rows, whole = plan.rows()
    for row in rows:
        shown.add_row(*row)
    shown.add_section()
    shown.add_row(*whole)
    console.print(shown)
    for note in plan.notes():
        console.print(note, soft_wrap=True)
