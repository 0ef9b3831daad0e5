"""Relative paths begin at the project's folder, wherever a run was started."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager

from bort_kedro.errors import ConfigurationError
from bort_kedro.session import working_folder
from bort_kedro.session.working_folder import WorkingFolderHook


class Others:
    """Hooks that note where they work, and refuse a run if they are to."""

    def __init__(self, is_refused=False):
        self.is_refused, self.seen = is_refused, []

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params):
        self.seen.append(Path.cwd())
        if self.is_refused:
            raise ConfigurationError("Not this one.")

    @hook_impl(trylast=True)
    def after_pipeline_run(self):
        self.seen.append(Path.cwd())

    @hook_impl
    def on_pipeline_error(self):
        self.seen.append(Path.cwd())


@pytest.fixture
def started_in(tmp_path, monkeypatch):
    """A subfolder of the project, in which a run is started."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("place", "variable", "configured"),
    [
        ("notebooks", "", [{"version": 1, "root": {"level": "ERROR"}}]),
        ("notebooks", "mine.yml", []),
        (".", "", []),
    ],
)
def test_the_project_says_what_is_logged_where_kedro_found_nothing(
    tmp_path, started_in, monkeypatch, place, variable, configured
):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "logging.yml").write_text("{version: 1, root: {level: ERROR}}", "utf-8")
    monkeypatch.chdir(tmp_path / place)
    monkeypatch.setenv("KEDRO_LOGGING_CONFIG", variable)
    given = []
    monkeypatch.setattr(working_folder, "LOGGING", SimpleNamespace(configure=given.append))
    WorkingFolderHook().after_context_created(SimpleNamespace(project_path=tmp_path))
    assert given == configured


def hooks_with(others):
    manager = _create_hook_manager()
    manager.register(WorkingFolderHook())
    manager.register(others)
    return manager.hook


def begin(hook, project):
    hook.before_pipeline_run(run_params={"project_path": str(project)}, pipeline=None, catalog=None)


@pytest.mark.parametrize("end", ["after_pipeline_run", "on_pipeline_error"])
def test_a_run_works_in_the_project_and_ends_where_it_was_started(tmp_path, started_in, end):
    others = Others()
    hook = hooks_with(others)
    begin(hook, tmp_path)
    assert Path.cwd() == tmp_path
    result = {"run_result": None} if end == "after_pipeline_run" else {"error": ValueError()}
    getattr(hook, end)(run_params={}, pipeline=None, catalog=None, **result)
    assert others.seen == [tmp_path, started_in]
    assert Path.cwd() == started_in


def test_a_run_that_is_refused_leaves_the_working_folder_as_it_was(tmp_path, started_in):
    others = Others(is_refused=True)
    with pytest.raises(ConfigurationError):
        begin(hooks_with(others), tmp_path)
    assert others.seen == [tmp_path]
    assert Path.cwd() == started_in
