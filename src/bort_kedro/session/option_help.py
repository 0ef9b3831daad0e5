"""What the options of Kedro's own commands are good for in this project, in the place of Kedro's general words."""

import copy

import click

from bort_kedro.pipelines.namespaces import STAGES

RUN = f"""Run all stages, or some of them, and say what they found.

The stages are {", ".join(STAGES)}. A training that is finished under the same settings is found and not repeated.

\b
kedro run --env smoke                  # all stages, tiny, in a minute
kedro run --pipelines search           # one stage
kedro run --params search.budget=12    # with another value of a parameter
"""
HELP = {
    "from_inputs": "Begin with the nodes that read these datasets; names with commas between them.",
    "to_outputs": "End with the nodes that make these datasets.",
    "from_nodes": "Begin with these nodes, such as search.select_shape_node; `kedro registry describe` lists them.",
    "to_nodes": "End with these nodes.",
    "node_names": "Run these nodes alone.",
    "runner": "How nodes of your own pipelines run: SequentialRunner, which the stages need and which is the default, "
    "ThreadRunner, ParallelRunner, or one of yours as package.module.Runner.",
    "is_async": "Load and save in threads; for your own pipelines, not for the stages.",
    "runner_params": "Options of that runner, such as max_workers=4.",
    "env": "Folder of conf whose settings are laid over those of conf/base, such as smoke or paper. What stands in "
    "conf/local wins over both.",
    "tags": "Run the nodes with one of these tags alone: a stage, or `report`, to write the report again.",
    "load_versions": "Read other versions of datasets than the newest: name:version, with commas between them.",
    "pipeline": "As --pipelines, for one; Kedro has deprecated it.",
    "pipelines": "Stages to run, with commas between them; search brings its corpus along, finetune its tasks. All are "
    "run without it.",
    "namespaces": "Run the nodes under these names alone, such as finetune.library.",
    "config": "Take options from this YAML file; those that are typed win over it.",
    "conf_source": "Folder of the configuration, in the place of conf.",
    "params": "Other values of parameters, such as search.budget=12,search.answer=knee; dots lead into blocks. Lists "
    "are changed in conf/local. docs/reference/parameters.md says what there is.",
    "only_missing_outputs": "Leave out nodes whose outputs are there, whatever settings they were made with.",
}


def explained(option: click.Parameter) -> click.Parameter:
    """An option of Kedro's with the words of this project, or as it is where there are none."""
    own = copy.copy(option)
    if isinstance(own, click.Option) and own.name in HELP:
        own.help = HELP[own.name]
    return own
