"""The subject model in memory: its modules by site, its unembedding, its final norm.

Knows transformers, nothing of coders.
"""

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
from tasks.activations.sites import Site, named_site
from tasks.coders import files

WRAPPERS = (
    "",
    "model.",
    "transformer.",
    "gpt_neox.",
    "language_model.",
    "model.language_model.",
    "language_model.model.",
)
"""What architectures put, or once put, before the names that coders are published under."""

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
"""Packages that transformers needs for models stored quantised, by the method that their config names."""

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


@dataclass(frozen=True)
class LoadedSubject:
    """A model that only runs forward, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    device: torch.device

    @property
    def bos(self) -> int | None:
        """Id of the beginning-of-sequence token; null where the tokenizer has none."""
        return self.tokenizer.bos_token_id  # pyright: ignore[reportReturnType]

    def site(self, name: str, *, centred: bool = False) -> Site:
        """The site that a name of any library stands for, without the architecture's wrapper; see `named_site`.

        Raises `WrongRequest` with the nearest names if the model has no such module, and with the reason if the name
        stands for no single tensor of its architecture.
        """
        site = named_site(name, self.model.config, centred=centred)
        self.resolve(site)
        return replace(site, module=self.unwrapped(site.module))

    def resolve(self, site: Site) -> nn.Module:
        """The module of a site, under whatever wrapper the architecture has or the name was given with."""
        modules = dict(self.model.named_modules())
        bare = self.unwrapped(site.module)
        for name in (site.module, *(wrapper + bare for wrapper in WRAPPERS)):
            if name in modules:
                return modules[name]
        names = {self.unwrapped(name) for name in modules if name}
        near = difflib.get_close_matches(site.module, sorted(names), n=5, cutoff=0.4)
        msg = f"the model has no site {site}: the nearest modules are {', '.join(near or sorted(names)[:5])}"
        raise WrongRequest(msg)

    def unwrapped(self, name: str) -> str:
        """A module's name as a site has it."""
        longest = max(WRAPPERS, key=lambda wrapper: len(wrapper) if name.startswith(wrapper) else -1)
        return name.removeprefix(longest)

    def writes(self, site: Site) -> Tensor | None:
        """What each coordinate of a site writes, as rows [d, d_out]; null unless one linear map alone reads it.

        In the model's dtype and memory. It makes a direction of a neuron: the input of `mlp.down_proj` are the
        neurons, and its weight says what they write.
        """
        module = self.resolve(site)
        if site.side != "input" or site.form != "raw":
            return None
        if isinstance(module, nn.Linear):
            # A quantised map is one by its class, and its weight is packed.
            plain = module.weight.shape == (module.out_features, module.in_features)
            return module.weight.detach().T if plain and module.weight.is_floating_point() else None
        return module.weight.detach() if isinstance(module, Conv1D) else None

    def unembedding(self) -> Tensor:
        """Rows that turn the last residual stream into logits: [vocab, d_model], the model's own, in its dtype.

        Only tokens that the tokenizer knows: models pad their vocabulary with rows that mean nothing.
        """
        return self._head()[: len(self.tokenizer)]

    def _head(self) -> Tensor:
        """All its rows, those of the padding too."""
        head = self.model.get_output_embeddings()
        if head is None:
            msg = "the model has no unembedding, so features have no logits: use a causal language model"
            raise WrongRequest(msg)
        return cast("Tensor", head.weight).detach()

    def refuse_unknown(self, tokens: np.ndarray) -> None:
        """Raise `WrongRequest` if one of the token ids has no embedding: the model would read beyond its table."""
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
        """What the norm before the unembedding multiplies each coordinate by: [d_model]; null without one.

        Measured, not read: some architectures store the gain, some the gain less one.
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
    """The fast tokenizer of a folder or a name on the Hub."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=False, local_files_only=_only_cached(name)
        )
    except Exception as error:  # the files are anybody's: transformers lets through whatever they break
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
    """The model of a folder or a name on the Hub; every weight must come from its safetensors."""
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
    except Exception as error:  # the files are anybody's, and each quantiser's library has errors of its own
        msg = f"the model {name} cannot be loaded ({_first_line(error)}): {_remedy(name, revision)}"
        raise WrongRequest(msg) from error
    finally:
        if bars:
            logging.enable_progress_bar()
    # With the report asked for, transformers returns a pair, which its types don't say.
    model, report = cast("tuple[PreTrainedModel, dict[str, set[str]]]", loaded)
    method = _quantisation(name, revision)
    if method is not None and getattr(model, "hf_quantizer", None) is None:
        # transformers would take the stored numbers for weights.
        msg = (
            f"the model {name} is stored quantised ({method}), which transformers does not know: take another"
        )
        raise WrongRequest(msg)
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would go on with random weights in their place.
        msg = f"the model {name} lacks {len(missing)} weights, {missing[0]} first: fetch it again"
        raise WrongRequest(msg)
    model.requires_grad_(requires_grad=False)
    try:
        nn.Module.to(model.eval(), place)  # transformers' own `to` has no type that a checker follows
    except RuntimeError as error:  # how torch says that a device is full
        msg = (
            f"the model {name} does not go on the device {place} ({_first_line(error)}): name another device, "
            "or half the model's size with dtype bfloat16"
        )
        raise WrongRequest(msg) from error
    return LoadedSubject(model, words, place)


def _only_cached(name: str) -> bool:
    """Whether only the Hub's cache is to be asked, for want of a network."""
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
        f"it is stored quantised ({method}), so install {library}, run on a GPU if that is what it lacks, or take the "
        "checkpoint that is not quantised"
    )


def _quantisation(name: str, revision: str | None) -> str | None:
    """The method that a model's config says it is stored with; null where it says none."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(
            name, revision=revision, local_files_only=_only_cached(name)
        )
        quantisation = config.get("quantization_config") or config.get("compression_config") or {}
        return str(quantisation.get("quant_method", "unknown method")) if quantisation else None
    except Exception:  # noqa: BLE001  (a config that cannot be read says nothing, and it has been said why)
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
