import jinja2
import pytest

from bort_kedro.reporting import templates
from bort_kedro.reporting.markdown import sources
from bort_kedro.reporting.templates import joined


@pytest.fixture
def written(monkeypatch):
    """Fill in a template that is given as text."""

    def fill(text, **context):
        environment = templates._environment().overlay(loader=jinja2.DictLoader({"x.md.jinja": text}))
        monkeypatch.setattr(templates, "_environment", lambda: environment)
        return templates.render("x", **context)

    return fill


def test_paragraphs_and_items_may_be_broken_anywhere():
    text = "# Title\n\nOne sentence\nover two lines.\n\n\n\n- An item\n  that goes on.\n- Another.\n\n| a |\n| b |\n"
    assert (
        joined(text) == "# Title\n\nOne sentence over two lines.\n\n- An item that goes on.\n- Another.\n\n| a |\n| b |"
    )


def test_what_stands_between_fences_stays_as_it_is():
    block = "```python\nif x:\n    pass\n\n\nprint(x)\n```"
    assert joined(f"Use\nit:\n\n{block}\n\nand\nthat.") == f"Use it:\n\n{block}\n\nand that."
    assert joined("---\na: 1\nb:\n- c\n---\n\n# Name\n") == "---\na: 1\nb:\n- c\n---\n\n# Name"


def test_figures_are_written_by_filters(written):
    shape = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 4, "intermediate_size": 8}
    assert written(
        "{{ shape | shape }} {{ 0.5 | percent(0.01) }} {{ 2.5 | times }}\n{{ nothing | number(1) }} "
        "{{ points(0.1, 0.01) }} {{ 'a|b' | cell }}\n{% if nothing is missing %}\nmissing\n{% endif %}\n",
        shape=shape,
        nothing=None,
    ) == ("(1, 2, 4, 8) 50.0 ± 1.0 % 2.5x – 10.0 ± 1.0 percentage points a\\|b missing")


def test_a_name_that_was_not_given_is_refused(written):
    with pytest.raises(jinja2.UndefinedError, match="'loss' is undefined"):
        written("{{ loss | number(3) }}")


def test_a_corpus_of_many_files_names_the_first_and_counts_the_others():
    versions = {f"{number}.txt": f"{number} bytes" for number in range(1009)}
    first = ", ".join(f"{number}.txt {number} bytes" for number in range(8))
    assert sources(versions) == f"{first} and 1,001 more"
    assert sources({"numpy": "2.1", "scipy": "1.14"}) == "numpy 2.1, scipy 1.14"
