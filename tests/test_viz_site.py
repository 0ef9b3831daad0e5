"""What `make viz-site` makes of paths; tests/sessions/test_pages_of_viz.py looks at the site."""

from pathlib import Path

from viz_site import FONTS, without_paths


def test_paths_are_told_as_seen_from_the_project():
    text = (
        '{"filepath": "work/src/bort_kedro/a.py", "code": "/opt/bort_kedro/b.py",'
        ' "table": "/home/me/work/data/c.csv", "texts": "/home/me/texts", "title": "work/life"}'
    )
    assert without_paths(text, Path("/home/me/work"), Path("/opt/bort_kedro"), Path("/home/me")) == (
        '{"filepath": "src/bort_kedro/a.py", "code": "src/bort_kedro/b.py",'
        ' "table": "data/c.csv", "texts": "~/texts", "title": "work/life"}'
    )


def test_a_package_in_the_project_is_told_as_its_files():
    text = '{"filepath": "work/src/bort_kedro/a.py", "code": "/home/me/work/src/bort_kedro/b.py"}'
    project = Path("/home/me/work")
    assert without_paths(text, project, project / "src" / "bort_kedro", Path("/home/me")) == (
        '{"filepath": "src/bort_kedro/a.py", "code": "src/bort_kedro/b.py"}'
    )


def test_links_to_fonts_of_another_site_are_left_out_and_others_stay():
    icon, font = (
        '<link rel="icon" href="./a.ico" />',
        '<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin />',
    )
    assert FONTS.sub("", f"{icon}\n{font}\n<p>") == f"{icon}\n<p>"
