"""The corpus stage as a table of nodes."""

from kedro.pipeline import Pipeline

from bort_kedro.pipelines.corpus.nodes import make_tokenizer, split_documents, tokenize_documents
from bort_kedro.pipelines.namespaces import in_stage, node_of


def create_pipeline() -> Pipeline:
    """From text to a tokenizer and token blocks."""
    return in_stage(
        "corpus",
        [
            node_of(split_documents, ["raw_corpus", "params:corpus"], ["corpus_documents", "corpus_manifest"]),
            node_of(
                make_tokenizer,
                ["corpus_documents", "params:corpus", "params:search"],
                ["tokenizer", "vocabulary_report"],
            ),
            node_of(tokenize_documents, ["corpus_documents", "tokenizer", "params:corpus"], "tokens"),
        ],
    )
