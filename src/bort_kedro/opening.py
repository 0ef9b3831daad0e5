"""The one door for models, configurations and tokenizers of folders and the hub: code beside them is not run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bort_kedro.errors import BortKedroError, said_by
from bort_kedro.git_lfs import pointer_fault

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class PretrainedFiles:
    """What a folder or a hub id holds, opened by classes of transformers alone.

    Code beside the files is neither run nor asked about, whatever they say of it; attention kernels that a
    configuration names, which transformers would fetch and run, are not followed; weights are safetensors.

    Args:
        name_or_path: Folder or hub id.
        refusal: The error to raise, given the reason without its full stop.
        local_files_only: True for own folders, which no network completes.
    """

    name_or_path: str | Path
    refusal: Callable[[str], BortKedroError]
    local_files_only: bool = False

    def config(self) -> PreTrainedConfig:
        """The configuration."""
        return self._open("AutoConfig")

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer; whether it is a fast one with words in it is for the caller to check."""
        return self._open("AutoTokenizer")

    def model(self, class_name: str, **options: object) -> tuple[PreTrainedModel, Mapping[str, Collection[str]]]:
        """The model, and what was amiss with its weights, such as ``missing_keys``.

        Args:
            class_name: Of transformers, such as ``AutoModelForMaskedLM``.
            options: Of its ``from_pretrained``.
        """
        config = self.config()
        config._attn_implementation = None  # transformers then chooses among its own
        model, loaded = self._open(class_name, config=config, use_safetensors=True, output_loading_info=True, **options)
        return model, loaded

    def _open(self, class_name: str, **options: object) -> Any:
        import transformers

        try:
            opener = getattr(transformers, class_name)
            return opener.from_pretrained(
                self.name_or_path, trust_remote_code=False, local_files_only=self.local_files_only, **options
            )
        except Exception as fault:  # transformers, tokenizers, safetensors and the hub's client share no narrower class
            no_table = self._lacks_tokenizer_json() if class_name == "AutoTokenizer" else ""
            raise self.refusal(self._pointer() or no_table + said_by(fault)) from fault

    def _lacks_tokenizer_json(self) -> str:
        """Said so where all else was found: what other files hold takes packages that this project does without."""
        from transformers.utils import cached_file

        def has(name: str) -> bool:
            options = {"local_files_only": self.local_files_only, "_raise_exceptions_for_missing_entries": False}
            return cached_file(str(self.name_or_path), name, **options) is not None

        if not has("config.json") or has("tokenizer.json"):
            return ""
        return (
            "it has no tokenizer.json (where its own package is installed, such as sentencepiece for spm.model, "
            "`save_pretrained` of AutoTokenizer writes one), and transformers cannot read its other files: "
        )

    def _pointer(self) -> str:
        """The first file of a folder that Git LFS did not fetch, said so; "" without one."""
        for path in sorted(Path(self.name_or_path).glob("*")):
            with suppress(OSError), path.open("rb") as file:
                if fault := pointer_fault(file.read(64)):
                    return f"{path} {fault}"
        return ""
