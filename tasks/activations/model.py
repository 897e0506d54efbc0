"""The loaded subject model: its modules by site, its unembedding and its final norm."""

import difflib
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D

from storage.errors import WrongRequest
from tasks.activations.sites import WRAPPERS, Site, named_site, unwrapped

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
