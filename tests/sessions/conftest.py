"""Projects that the tests of sessions share."""

import pytest

from chromium import chromium
from project_copy import ProjectCopy


@pytest.fixture(scope="session")
def smoke(shared, empty_store):
    """A project in which every stage has run once, as a user types it; to be read alone, and copied.

    The folder's name holds what is a sign in patterns and addresses.
    """

    def make(folder):
        status, output = ProjectCopy.new(folder, empty_store).run_typed()
        assert status == 0, output

    return ProjectCopy(shared("smoke [a]%20?#", make), empty_store)


@pytest.fixture
def fresh(tmp_path, empty_store):
    """A project in which nothing has run."""
    return ProjectCopy.new(tmp_path, empty_store)


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started
