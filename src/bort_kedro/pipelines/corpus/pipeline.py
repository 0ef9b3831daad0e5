"""The corpus stage as a table of nodes."""

from kedro.pipeline import Node, Pipeline

from bort_kedro.pipelines.corpus.nodes import make_tokenizer, split_documents, tokenize_documents
from bort_kedro.pipelines.namespaces import in_stage


def create_pipeline() -> Pipeline:
    """From text to a tokenizer and token blocks."""
    return in_stage(
        "corpus",
        [
            Node(
                split_documents,
                ["raw_corpus", "params:corpus"],
                ["corpus_documents", "corpus_manifest"],
                name="split_documents_node",
            ),
            Node(
                make_tokenizer,
                ["corpus_documents", "params:corpus", "params:search"],
                ["tokenizer", "vocabulary_report"],
                name="make_tokenizer_node",
            ),
            Node(
                tokenize_documents,
                ["corpus_documents", "tokenizer", "params:corpus"],
                "tokens",
                name="tokenize_documents_node",
            ),
        ],
    )
