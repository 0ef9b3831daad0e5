"""The whole of ``make bench-corpora`` on small texts and a space that trains in seconds."""

from functools import partial

import pytest

from benchmarks.search import corpora
from tiny_benchmarks import text_files, tiny_space_parameters, tiny_text, written


@pytest.mark.session
def test_two_corpora_are_searched_and_compared(monkeypatch, tmp_path):
    # Four shapes.
    few = partial(tiny_space_parameters, num_hidden_layers=(1,), intermediate_size=(32,))
    monkeypatch.setattr(corpora, "bench_parameters", few)
    monkeypatch.setattr(corpora, "embedded_text", tiny_text)
    words = [text_files(tmp_path), "--name", "rich"]
    corpora.main([*words, "--folder", str(tmp_path / "docs"), "--states", str(tmp_path / "states")])
    page, figures = written(tmp_path / "docs", "corpora")
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Two corpora",
        "## Who wins",
        "## Is it the corpus, or luck?",
    ]
    assert "Written by `make bench-corpora CORPUS=... NAME=rich` on " in page
    assert figures["share of the best W on rich of the shape chosen on embedded"]["value"] <= 1
    assert figures["the same shape wins on both corpora, by the means of the seeds"]["value"] in (0, 1)
    assert len(figures) == 3 * 2 + 2 + 1


def test_a_corpus_must_be_named(capsys):
    with pytest.raises(SystemExit) as error:
        corpora.main([])
    assert error.value.code == 2
    assert capsys.readouterr().err == ("Name the other corpus: make bench-corpora CORPUS='texts/*.txt' NAME=texts\n")
