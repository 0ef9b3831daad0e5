"""A versioned model card, saved atomically and shown in Kedro-Viz."""

from kedro_datasets._typing import HTMLPreview

from bort_kedro.datasets.markdown_report import TextReportDataset, to_preview_html


class ModelCardDataset(TextReportDataset):
    """Saves and loads a card in the hub's format: YAML between two lines of dashes, then Markdown."""

    def preview(self) -> HTMLPreview:
        """The part for people as HTML, for Kedro-Viz."""
        from huggingface_hub import ModelCard

        return HTMLPreview(to_preview_html(ModelCard(self.load()).text))
