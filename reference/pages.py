"""Which pages there are."""

from __future__ import annotations

from reference.catalog import catalog_page
from reference.command_line import command_line_page
from reference.parameters import parameters_page

PAGES = {
    "catalog.md": catalog_page,
    "command-line.md": command_line_page,
    "parameters.md": parameters_page,
}
