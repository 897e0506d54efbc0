"""The loaded subject model: its modules by site, its unembedding and its final norm, and loading with transformers."""

import difflib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from storage.errors import WrongRequest
from tasks.activations.sites import WRAPPERS, Site, named_site, unwrapped
from tasks.coders import files

LIBRARIES = {
    "aqlm": "aqlm",
    "awq": "gptqmodel",
    "bitsandbytes": "accelerate and bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "eetq": "eetq",
    "fbgemm_fp8": "fbgemm-gpu",
    "fp8": "accelerate",
    "gptq": "optimum and gptqmodel",
    "hqq": "hqq",
    "mxfp4": "kernels and triton",
    "quanto": "optimum-quanto",
    "torchao": "torchao",
}
"""Packages that transformers needs for quantised checkpoints, by the method that their config names."""

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


@dataclass(frozen=True)
class LoadedSubject:
    """A model for inference, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    device: torch.device

    @property
    def bos(self) -> int | None:
        """Id of the beginning-of-sequence token; None where the tokenizer has none."""
        return self.tokenizer.bos_token_id  # pyright: ignore[reportReturnType]

    def site(self, name: str, *, centred: bool = False) -> Site:
        """The site for a name in any library's terms, without the architecture's prefix; see `named_site`.

        Raises `WrongRequest` with the nearest names if the model has no such module, and with the reason if the name
        stands for no single tensor of its architecture.
        """
        site = named_site(name, self.model.config, centred=centred)
        self.resolve(site)
        return replace(site, module=unwrapped(site.module))

    def resolve(self, site: Site) -> nn.Module:
        """The module of a site, whichever prefix the architecture or the site's name has.

        Raises `WrongRequest` with the nearest names if there is none.
        """
        modules = dict(self.model.named_modules())
        bare = unwrapped(site.module)
        for name in (site.module, *(wrapper + bare for wrapper in WRAPPERS)):
            if name in modules:
                return modules[name]
        names = {unwrapped(name) for name in modules if name}
        near = difflib.get_close_matches(site.module, sorted(names), n=5, cutoff=0.4)
        msg = f"the model has no site {site}: the nearest modules are {', '.join(near or sorted(names)[:5])}"
        raise WrongRequest(msg)

    def writes(self, site: Site) -> Tensor | None:
        """The vector that each coordinate of a site writes, as rows [d, d_out]; None unless one linear map reads it.

        In the model's dtype, and not copied. This gives neurons a direction: they are the input of `mlp.down_proj`, and
        its weight is what they write.
        """
        module = self.resolve(site)
        if site.side != "input" or site.form != "raw":
            return None
        if isinstance(module, nn.Linear):
            # A quantised layer is an nn.Linear too, but its weight is packed.
            plain = module.weight.shape == (module.out_features, module.in_features)
            return module.weight.detach().T if plain and module.weight.is_floating_point() else None
        return module.weight.detach() if isinstance(module, Conv1D) else None

    def unembedding(self) -> Tensor:
        """The unembedding matrix [vocab, d_model], in the model's dtype and not copied.

        Only the tokenizer's tokens: models pad their vocabulary with unused rows. Raises `WrongRequest` if the model
        has no unembedding.
        """
        return self._head()[: len(self.tokenizer)]

    def _head(self) -> Tensor:
        """The unembedding with its padding rows."""
        head = self.model.get_output_embeddings()
        if head is None:
            msg = "the model has no unembedding, so features have no logits: use a causal language model"
            raise WrongRequest(msg)
        return cast("Tensor", head.weight).detach()

    def refuse_unknown(self, tokens: np.ndarray) -> None:
        """Raise `WrongRequest` if one of the token ids has no embedding, which would be out of range in the model."""
        beyond = tokens[tokens >= self.embeddings]
        if len(beyond):
            token = int(beyond[0])
            msg = (
                f"the tokenizer of {self.tokenizer.name_or_path} gives token {token} "
                f"({self.tokenizer.convert_ids_to_tokens(token)!r}), and the model has embeddings for "
                f"{self.embeddings} tokens only: resize its embeddings, or take the tokenizer that it was saved with"
            )
            raise WrongRequest(msg)

    @property
    def embeddings(self) -> int:
        """How many tokens the model has embeddings for."""
        return cast("Tensor", self.model.get_input_embeddings().weight).shape[0]

    def final_norm_gain(self) -> Tensor | None:
        """The gain of the norm before the unembedding, [d_model]; None without such a norm.

        It is measured with a probe, not read: some architectures store the gain, others the gain minus one.
        """
        modules = dict(self.model.named_modules())
        names = [wrapper + norm for wrapper in WRAPPERS[1:] for norm in FINAL_NORMS]
        norm = next((modules[name] for name in names if name in modules), None)
        if norm is None:
            return None
        size = self._head().shape[1]
        probe = torch.linspace(1, 2, size, device=self.device)
        probe[1::2] *= -1
        probe = probe - probe.mean()
        probe = probe / probe.square().mean().sqrt()
        dtype = next(norm.parameters(), probe).dtype
        with torch.inference_mode():
            there, back = (norm(sign * probe.to(dtype)).float() for sign in (1, -1))
        return (there - back) / (2 * probe)


def load_tokenizer(name: str, revision: str | None) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a folder or a name on the Hub. Raises `WrongRequest` if there is none."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=False, local_files_only=_only_cached(name)
        )
    except Exception as error:  # broken files make transformers raise errors of any type
        msg = f"the tokenizer of {name} cannot be loaded ({_first_line(error)}): check its files"
        if isinstance(error, OSError) and not Path(name).exists():
            msg = (
                f"there is no folder {name}, and the Hub gives no model of that name ({_first_line(error)}): "
                "correct the name, or fetch the model first"
            )
        raise WrongRequest(msg) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        msg = f"the tokenizer of {name} is a slow one: save it with a tokenizer.json"
        raise WrongRequest(msg)
    return tokenizer


def load_model(
    name: str, revision: str | None, dtype: str, device: str, words: PreTrainedTokenizerFast
) -> LoadedSubject:
    """The model of a folder or a name on the Hub. Raises `WrongRequest` unless its safetensors hold every weight."""
    place = _device(device)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            local_files_only=_only_cached(name),
        )
    except Exception as error:  # broken files and quantisation libraries raise errors of any type
        msg = f"the model {name} cannot be loaded ({_first_line(error)}): {_remedy(name, revision)}"
        raise WrongRequest(msg) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    # With output_loading_info, transformers returns a pair, which its annotations don't show.
    model, report = cast("tuple[PreTrainedModel, dict[str, set[str]]]", loaded)
    method = _quantisation(name, revision)
    if method is not None and getattr(model, "hf_quantizer", None) is None:
        # transformers would take the stored numbers for weights.
        msg = (
            f"the model {name} is stored quantised ({method}), which transformers does not know: use another"
        )
        raise WrongRequest(msg)
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would initialise them at random and go on.
        msg = f"the model {name} lacks {len(missing)} weights, {missing[0]} first: fetch it again"
        raise WrongRequest(msg)
    model.requires_grad_(requires_grad=False)
    try:
        nn.Module.to(model.eval(), place)  # transformers' own `to` has no type that a checker follows
    except RuntimeError as error:  # how torch says that a device is full
        msg = (
            f"the model {name} cannot be moved to the device {place} ({_first_line(error)}): name another device, "
            "or halve the model's size with dtype bfloat16"
        )
        raise WrongRequest(msg) from error
    return LoadedSubject(model, words, place)


def _only_cached(name: str) -> bool:
    """Whether to use only the Hub's local cache, because the Hub cannot be reached."""
    return not Path(name).exists() and not files.hub_reachable()


def _remedy(name: str, revision: str | None) -> str:
    """What to do about a model that cannot be loaded."""
    if "gguf" in name.lower():
        return "gloss reads no GGUF; name the repository with safetensors, or convert it as docs/subjects.md says"
    method = _quantisation(name, revision)
    if method is None:
        return "check its files and its name"
    library = LIBRARIES.get(method, "its library")
    return (
        f"it is stored quantised ({method}), so install {library}, run on a GPU if it needs one, or use a checkpoint "
        "that is not quantised"
    )


def _quantisation(name: str, revision: str | None) -> str | None:
    """The quantisation method that a model's config names; None where it names none."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(
            name, revision=revision, local_files_only=_only_cached(name)
        )
        quantisation = config.get("quantization_config") or config.get("compression_config") or {}
        return str(quantisation.get("quant_method", "unknown method")) if quantisation else None
    except Exception:  # noqa: BLE001  (a config that cannot be read names none; loading reports the error)
        return None


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        msg = f"there is no device {name} here ({_first_line(error)}): write auto, cpu or cuda"
        if name.partition(":")[0] == "cuda" and not torch.cuda.is_available():
            msg = f"device is {name}, and this machine has no CUDA device ({_first_line(error)}): write auto or cpu"
        raise WrongRequest(msg) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".:")
