"""Read text, divide it by document, train a tokenizer and cut token blocks."""

from bort_kedro.pipelines.corpus.pipeline import create_pipeline

__all__ = ["create_pipeline"]
