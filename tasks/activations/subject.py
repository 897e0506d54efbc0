"""The subject model's config and its files. Imports torch and transformers only to load the model or tokenizer."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tasks.fields import ConfigModel
from tasks.model_files.causal_model import CausalModelFiles

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from tasks.activations.model import LoadedSubject


class Subject(ConfigModel, frozen=True):
    """The language model whose features are explained."""

    model: str = Field(min_length=1)
    """Local folder in the Hugging Face layout, a name on the Hub, a GGUF file or a folder with one, or `package:NAME`
    for an installed package that carries a model; weights in safetensors or GGUF only
    ([docs/subjects.md](subjects.md))."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; null takes the main branch."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the model computes in; coders compute in float32 unless they say otherwise."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`; `auto` takes a GPU if there is one."""

    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The model's tokenizer, which must be a fast one: only these give offsets."""
        return self.files.tokenizer()

    def load(self) -> "LoadedSubject":
        """Load the model for inference."""
        from tasks.activations.model import LoadedSubject  # noqa: PLC0415  (imports torch, which a config needn't)

        model = self.files.load(self.dtype, self.device)
        return LoadedSubject(model, self.tokenizer(), model.device)

    def digest(self) -> str:
        """A hash of the model's config and weights; for a name on the Hub, its commit."""
        return self.files.digest()

    def tokenizer_digest(self) -> str:
        """A hash of the tokenizer's files; for a name on the Hub, its commit."""
        return self.files.tokenizer_digest()

    def special_tokens(self) -> frozenset[str] | None:
        """Texts of the tokenizer's special tokens, with those of its chat template; None where no file names any.

        Loads neither the model nor the tokenizer; for a name on the Hub, its cached files are preferred.
        """
        return self.files.control_tokens()

    @property
    def files(self) -> CausalModelFiles:
        """The model's files, wherever they lie."""
        return CausalModelFiles(self.model, self.revision)
