"""The figures of the distillation experiment, for programs."""

from __future__ import annotations

from benchmarks.distillation.findings import SCHEDULES, Findings, accuracy
from benchmarks.distillation.trainings import ARMS, CACHED, UNTAUGHT
from benchmarks.page import Figure


def figures_of(found: Findings) -> list[Figure]:
    """The figures of one corpus."""
    name, probe = found.experiment.corpus.name, found.probe
    figures = [Figure(f"{name}: masked accuracy of the teacher", found.experiment.teacher_score.accuracy, "share")]
    for schedule in SCHEDULES:
        for arm in ARMS:
            title = f"{name}, {schedule}, {arm.name}"
            outcomes = found.outcomes[schedule].get(arm.name)
            if outcomes is None:
                figures.append(Figure(f"{title}: steps", 0, "steps"))
                continue
            own = accuracy(outcomes)
            figures += [
                Figure(f"{title}: steps", outcomes[0].num_steps, "steps"),
                Figure(f"{title}: seconds", found.seconds(schedule, arm), "s"),
                Figure(f"{title}: masked accuracy", own.value, "share"),
                Figure(f"{title}: its standard error over the seeds", own.seeds_error, "share"),
                Figure(f"{title}: its standard error over the test blocks", own.blocks_error, "share"),
            ]
            if arm != UNTAUGHT and (ahead := found.lead(schedule, arm, UNTAUGHT)) is not None:
                figures += [
                    Figure(f"{title}: lead over no teacher", ahead.value, "share"),
                    Figure(f"{title}: standard error of that lead", ahead.error, "share"),
                ]
    figures += [Figure(f"{name}, {arm.name}: a step", 1000 * probe.step_seconds[arm.name], "ms") for arm in ARMS]
    for arm in CACHED:
        error = found.cache_errors[arm.name]
        figures += [
            Figure(f"{name}, {arm.name}: filling the cache", probe.filling_seconds[arm.name], "s"),
            Figure(f"{name}, {arm.name}: the cache on the disk", probe.cache_bytes[arm.name], "bytes"),
            Figure(f"{name}, {arm.name}: share of the divergence that is lost", error.relative_error, "share"),
        ]
    trimming, held_out = found.trimming, found.experiment.trimming["held_out"]
    figures += [
        Figure(f"{name}: ids dropped by trimming", trimming.ids_dropped, "ids"),
        Figure(f"{name}: parameters saved by trimming", trimming.parameters_saved, "parameters"),
        Figure(f"{name}: share of the test tokens that trimming changes", held_out["share_of_dropped_ids"], "share"),
        Figure(f"{name}: teacher's belief on the dropped ids", trimming.teacher_mass_on_dropped, "share"),
    ]
    return figures
