"""Model cards come back as they were saved, and Kedro-Viz shows the part for people."""

from pathlib import Path

from huggingface_hub import ModelCard
from kedro.io.core import Version

from bort_kedro.datasets.model_card import ModelCardDataset

CARD = "---\nlicense: mit\n---\n\n# A model\n\nIt is small.\n"


def test_a_card_comes_back_as_a_readme_that_the_hub_reads(tmp_path):
    dataset = ModelCardDataset(filepath=str(tmp_path / "library" / "README.md"), version=Version(None, None))
    dataset.save(CARD)
    assert dataset.load() == CARD
    path = Path(dataset._get_load_path())
    assert path.name == "README.md"
    assert ModelCard.load(path).data.to_dict() == {"license": "mit"}


def test_the_preview_leaves_the_metadata_out(tmp_path):
    dataset = ModelCardDataset(filepath=str(tmp_path / "README.md"))
    dataset.save(CARD)
    assert str(dataset.preview()) == "<h1>A model</h1><p>It is small.</p>"
