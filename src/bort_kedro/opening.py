"""The one door for models, configurations and tokenizers of folders and the hub: code beside them is not run."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bort_kedro.errors import BortKedroError, said_by
from bort_kedro.git_lfs import pointer_fault
from bort_kedro.inside import outside_fault

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

# Of an encoder alone; one inside a classifier is named below it, and is the classifier's to have.
POOLER = "pooler."
# Names the files of weights that are in several.
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class PretrainedFiles:
    """What a folder or a hub id holds, opened by classes of transformers alone.

    Code beside the files is neither run nor asked about, whatever they say of it; attention kernels that a
    configuration names, which transformers would fetch and run, are not followed; weights are safetensors, and those in
    several files lie in the folder of the file that names them. What is refused is told by an error that is made of the
    reason without its full stop; no network completes own folders, of which only local files are opened.
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
        """The model, by a class of transformers such as ``AutoModelForMaskedLM``, and what was amiss with its weights,
        such as ``missing_keys``.

        An encoder whose files lack its pooler, on which no hidden state depends, comes without one: what would be drawn
        for it differs each time. Weights that are no finite numbers are refused: nothing would be one that it says.
        """
        config = self.config()
        config._attn_implementation = None  # transformers then chooses among its own
        self._require_own_weights()
        model, loaded = self._open(class_name, config=config, use_safetensors=True, output_loading_info=True, **options)
        missing = {name for name in loaded["missing_keys"] if not name.startswith(POOLER)}
        if len(missing) < len(loaded["missing_keys"]):
            model.pooler = None
        if spoiled := next((name for name, weight in model.named_parameters() if not weight.isfinite().all()), None):
            raise self.refusal(f"its weight `{spoiled}` holds values that are no finite numbers")
        return model, {**loaded, "missing_keys": missing}

    def _open(self, class_name: str, **options: object) -> Any:
        import transformers

        self._require_place()
        try:
            opener = getattr(transformers, class_name)
            return opener.from_pretrained(
                self.name_or_path, trust_remote_code=False, local_files_only=self.local_files_only, **options
            )
        except Exception as fault:  # transformers, tokenizers, safetensors and the hub's client share no narrower class
            why = self._why_no_tokenizer(fault) if class_name == "AutoTokenizer" else ""
            raise self.refusal(self._pointer() or why + said_by(fault)) from fault

    def _require_place(self) -> None:
        """Refuse a name that is no folder and cannot be on the hub, such as a mistyped path."""
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        if Path(self.name_or_path).is_dir():
            return
        try:
            try_to_load_from_cache(str(self.name_or_path), "config.json")  # which checks the name, and asks nobody
        except HFValidationError as fault:
            raise self.refusal(f"it is no folder, seen from {Path.cwd()}, and no hub id is written so") from fault

    def _require_own_weights(self) -> None:
        """Refuse an index whose files lie elsewhere: transformers would open whatever it names."""
        from transformers.utils import cached_file

        options = {
            "local_files_only": self.local_files_only,
            "_raise_exceptions_for_missing_entries": False,
            "_raise_exceptions_for_connection_errors": False,
        }
        try:
            found = cached_file(str(self.name_or_path), INDEX, **options)
            if found is None:
                return
            index = Path(found)
            names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            raise self.refusal(f"its {INDEX} cannot be understood: {said_by(fault)}") from fault
        for name in sorted(names, key=str):
            if outside := outside_fault(index.parent, name, of=index):
                raise self.refusal(f"its {INDEX} names a file of weights that is not its own: {outside}")

    def _why_no_tokenizer(self, fault: Exception) -> str:
        """What there is to say before a fault: what other files hold takes packages that this project does without."""
        import tokenizers
        from transformers.utils import cached_file

        def has(name: str) -> bool:
            # What the hub has was fetched before the fault.
            options = {"local_files_only": True, "_raise_exceptions_for_missing_entries": False}
            return cached_file(str(self.name_or_path), name, **options) is not None

        if has("tokenizer.json"):
            # The library raises the bare class where it cannot read one.
            later = f"its tokenizer.json is spoiled, or later than tokenizers {tokenizers.__version__}: "
            return later if type(fault) is Exception else ""
        if not has("config.json"):
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
