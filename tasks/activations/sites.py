"""Sites of the subject model (the input or output of a module, in one form), and other libraries' names for them.

A checkpoint names its site with a term of the library that trained it. One name stands for different tensors in
different architectures, and a coder at the wrong one raises no error, so every entry is written out here and verified
by an identity in the tests: what the attention and the MLP write adds up to the residual stream, and so on.

Names of TransformerLens (components/transformer_block.py; the OLMo 2 adapter for its norms), of circuit-tracer
(`mlp.hook_in`, `mlp.hook_out`: replacement_model.py), of dictionary_learning (`resid_post_layer_3`) and of OpenAI's
sparse_autoencoder (`resid_post_mlp.6`: location and layer). Imports no torch.
"""

import difflib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from storage.errors import WrongRequest
from tasks.coders.formats import Format

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Form = Literal["raw", "normalised", "centred"]

_MODULE = re.compile(r"\w+(\.\w+)*", re.ASCII)


WRAPPERS = (
    "",
    "model.",
    "transformer.",
    "gpt_neox.",
    "language_model.",
    "model.language_model.",
    "language_model.model.",
)
"""Prefixes of module names, in present and former versions of transformers, that published coders' names leave out."""


@dataclass(frozen=True, order=True)
class Site:
    """One tensor of the subject model."""

    module: str
    """Dotted name of the module, without the wrapper that the architecture puts around it."""
    side: Literal["input", "output"] = "output"
    form: Form = "raw"
    """`raw`: as it is in the model. `centred`: minus its mean over d, as in a model whose writing weights are centred.
    `normalised`: the output of a norm before its gain and bias."""

    def __post_init__(self) -> None:
        """Refuse text that cannot be a module's name, and a form that the site cannot have."""
        if not _MODULE.fullmatch(self.module):
            msg = f"{self.module!r} names no site: write a module such as layers.2 or layers.5.mlp.input"
            raise WrongRequest(msg)
        if self.form not in get_args(Form):
            msg = (
                f"{self.form!r} is no form of a site: write {self.module}:centred or {self.module}:normalised"
            )
            raise WrongRequest(msg)
        if self.form == "normalised" and self.side == "input":
            msg = f"normalised is a norm's output before its gain: write {self.module}:normalised without .input"
            raise WrongRequest(msg)

    @classmethod
    def parse(cls, text: str) -> "Site":
        """The site that `layers.2`, `layers.2.output`, `layers.5.mlp.input` or `layers.5:centred` names."""
        path, colon, form = text.partition(":")
        as_form: Form = form if colon else "raw"  # pyright: ignore[reportAssignmentType]  (refused above)
        module, _, last = path.rpartition(".")
        if module and last == "input":
            return cls(module, "input", as_form)
        if module and last == "output":
            return cls(module, "output", as_form)
        return cls(path, "output", as_form)

    def __str__(self) -> str:
        """The shortest name that parses to this site: `.output` and `:raw` are left out."""
        ends_like_a_side = self.module.endswith((".input", ".output"))
        spelt = self.side == "input" or ends_like_a_side
        form = "" if self.form == "raw" else f":{self.form}"
        return f"{self.module}{f'.{self.side}' if spelt else ''}{form}"


class _Ambiguous(str):
    """Why a name does not stand for a single tensor in an architecture, and what to write instead; N is the layer."""

    __slots__ = ()


def _before_or_after_gain(norm: str) -> _Ambiguous:
    """`hook_normalized` of a LayerNorm: TransformerLens' LayerNorm has it after the gain, its LayerNormPre before.

    A checkpoint does not record which it was. That of an RMSNorm is always before.
    """
    return _Ambiguous(
        "versions of TransformerLens have it before or after the norm's gain: "
        f"write {norm}:normalised (before) or {norm} (after)"
    )


PRE_NORM = {
    "hook_embed": "embed_tokens",
    "blocks.N.hook_resid_pre": "layers.N.input",
    "blocks.N.ln1.hook_normalized": "layers.N.input_layernorm:normalised",
    "blocks.N.attn.hook_z": "layers.N.self_attn.o_proj.input",
    "blocks.N.attn.hook_out": "layers.N.self_attn",
    "blocks.N.hook_attn_out": "layers.N.self_attn",
    "blocks.N.hook_resid_mid": "layers.N.post_attention_layernorm.input",
    # Before the norm, unlike mlp.hook_in: so HookedTransformer has it, which the published coders come from.
    "blocks.N.hook_mlp_in": "layers.N.post_attention_layernorm.input",
    "blocks.N.ln2.hook_normalized": "layers.N.post_attention_layernorm:normalised",
    "blocks.N.mlp.hook_in": "layers.N.mlp.input",
    "blocks.N.mlp.hook_pre": "layers.N.mlp.gate_proj",
    "blocks.N.mlp.hook_post": "layers.N.mlp.down_proj.input",
    "blocks.N.mlp.hook_out": "layers.N.mlp",
    "blocks.N.hook_mlp_out": "layers.N.mlp",
    "blocks.N.hook_resid_post": "layers.N",
    "ln_final.hook_normalized": "norm:normalised",
}
"""Llama and most others: a norm before the attention, a norm before the MLP."""

SANDWICH_NORM = PRE_NORM | {
    # hook_*_out is what is added to the residual stream, so it lies after the second norm.
    "blocks.N.hook_attn_out": "layers.N.post_attention_layernorm",
    "blocks.N.hook_resid_mid": "layers.N.pre_feedforward_layernorm.input",
    "blocks.N.hook_mlp_in": "layers.N.pre_feedforward_layernorm.input",
    "blocks.N.ln2.hook_normalized": "layers.N.pre_feedforward_layernorm:normalised",
    "blocks.N.hook_mlp_out": "layers.N.post_feedforward_layernorm",
}
"""Gemma 2 and 3: a norm before and a norm after each of them."""

POST_NORM = PRE_NORM | {
    "blocks.N.ln1.hook_normalized": "layers.N.post_attention_layernorm:normalised",
    "blocks.N.hook_attn_out": "layers.N.post_attention_layernorm",
    "blocks.N.hook_resid_mid": "layers.N.mlp.input",
    "blocks.N.hook_mlp_in": "layers.N.mlp.input",
    "blocks.N.ln2.hook_normalized": "layers.N.post_feedforward_layernorm:normalised",
    "blocks.N.hook_mlp_out": "layers.N.post_feedforward_layernorm",
}
"""OLMo 2 and 3: a norm after each of them and none before, so that the MLP reads the residual stream itself."""

GPT2 = {
    "hook_embed": "wte",
    "blocks.N.hook_resid_pre": "h.N.input",
    "blocks.N.ln1.hook_normalized": _before_or_after_gain("h.N.ln_1"),
    "blocks.N.attn.hook_z": "h.N.attn.c_proj.input",
    "blocks.N.attn.hook_out": "h.N.attn",
    "blocks.N.hook_attn_out": "h.N.attn",
    "blocks.N.hook_resid_mid": "h.N.ln_2.input",
    "blocks.N.hook_mlp_in": "h.N.ln_2.input",
    "blocks.N.ln2.hook_normalized": _before_or_after_gain("h.N.ln_2"),
    "blocks.N.mlp.hook_in": "h.N.mlp.input",
    "blocks.N.mlp.hook_pre": "h.N.mlp.c_fc",
    "blocks.N.mlp.hook_post": "h.N.mlp.c_proj.input",
    "blocks.N.mlp.hook_out": "h.N.mlp",
    "blocks.N.hook_mlp_out": "h.N.mlp",
    "blocks.N.hook_resid_post": "h.N",
    "ln_final.hook_normalized": _before_or_after_gain("ln_f"),
}

PARALLEL = {
    "blocks.N.hook_resid_mid": _Ambiguous(
        "attention and MLP read the same residual stream and are added to it at once, so none lies between them: "
        "name another site"
    ),
}
"""Differences in architectures whose MLP and attention run in parallel."""

GPT_NEOX = PRE_NORM | {
    "hook_embed": "embed_in",
    "blocks.N.ln1.hook_normalized": _before_or_after_gain("layers.N.input_layernorm"),
    "blocks.N.attn.hook_z": "layers.N.attention.dense.input",
    "blocks.N.attn.hook_out": "layers.N.attention",
    "blocks.N.hook_attn_out": "layers.N.attention",
    "blocks.N.ln2.hook_normalized": _before_or_after_gain("layers.N.post_attention_layernorm"),
    "blocks.N.mlp.hook_pre": "layers.N.mlp.dense_h_to_4h",
    "blocks.N.mlp.hook_post": "layers.N.mlp.dense_4h_to_h.input",
    "ln_final.hook_normalized": _before_or_after_gain("final_layer_norm"),
}

PHI = (
    PRE_NORM
    | PARALLEL
    | {
        "blocks.N.ln1.hook_normalized": _before_or_after_gain("layers.N.input_layernorm"),
        "blocks.N.attn.hook_z": "layers.N.self_attn.dense.input",
        # One norm serves both.
        "blocks.N.hook_mlp_in": "layers.N.input_layernorm.input",
        "blocks.N.ln2.hook_normalized": _before_or_after_gain("layers.N.input_layernorm"),
        "blocks.N.mlp.hook_pre": "layers.N.mlp.fc1",
        "blocks.N.mlp.hook_post": "layers.N.mlp.fc2.input",
        "ln_final.hook_normalized": _before_or_after_gain("final_layernorm"),
    }
)

PHI3 = PRE_NORM | {
    "blocks.N.mlp.hook_pre": _Ambiguous(
        "the gate comes out of one module together with what it gates: name another site"
    ),
}

ARCHITECTURES = {
    "gemma": PRE_NORM,
    "gemma2": SANDWICH_NORM,
    "gemma3": SANDWICH_NORM,
    "gemma3_text": SANDWICH_NORM,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "llama": PRE_NORM,
    "mistral": PRE_NORM,
    "olmo": PRE_NORM,
    "olmo2": POST_NORM,
    "olmo3": POST_NORM,
    "phi": PHI,
    "phi3": PHI3,
    "qwen2": PRE_NORM,
    "qwen3": PRE_NORM,
}
"""TransformerLens' hooks and their sites by the `model_type` of transformers' configs; N is the layer."""

CENTRING = ("gpt2", "gpt_neox", "phi")
"""Model types whose weights TransformerLens can centre: a LayerNorm subtracts the mean, an RMSNorm doesn't."""

CENTRED = (
    "hook_embed",
    "blocks.N.hook_resid_pre",
    "blocks.N.attn.hook_out",
    "blocks.N.hook_attn_out",
    "blocks.N.hook_resid_mid",
    "blocks.N.hook_mlp_in",
    "blocks.N.mlp.hook_out",
    "blocks.N.hook_mlp_out",
    "blocks.N.hook_resid_post",
)
"""Hooks at what centred weights write, and at its sums: HookedTransformer.center_writing_weights changes no others."""

LOCATIONS = {name: hook for format_ in get_args(Format) for name, hook in format_.locations.items()}
"""TransformerLens' hooks by other formats' names of a location: `mlp_out` of `mlp_out_layer_3` and `mlp_out.3`."""

_LOCATION = re.compile(r"(\w+?)(?:_layer_?|\.)(\d+)", re.ASCII)
_NUMBER = re.compile(r"(?<=\.)\d+(?=[.:]|$)", re.ASCII)


def unwrapped(name: str) -> str:
    """A module's name without the architecture's prefix, as in `Site.module`."""
    longest = max(WRAPPERS, key=lambda wrapper: len(wrapper) if name.startswith(wrapper) else -1)
    return name.removeprefix(longest)


def named_site(name: str, config: "PreTrainedConfig", *, centred: bool = False) -> Site:
    """The site for a name in any library's terms, in models of this config; whether the module exists is not checked.

    A form may follow the name: `blocks.5.hook_resid_post:centred`. Without one, `centred` says that the library centred
    the writing weights, and sites at what they write get the centred form; a module's path stays raw. Raises
    `WrongRequest` with the nearest names if the architecture has no such name, and with the reason if the name is
    ambiguous.
    """
    base, colon, form = name.partition(":")
    hook = _hook_name(base)
    site = Site.parse(base if hook is None else _module_of_hook(hook, config))
    if colon:
        if site.form != "raw":
            msg = f"{base} is {site.form} already, and a site has one form: leave :{form} out"
            raise WrongRequest(msg)
        return Site.parse(f"{site}:{form}")
    return replace(site, form="centred") if centred and hook and _writes_centred(hook, config) else site


def _hook_name(name: str) -> str | None:
    """The hook's name in TransformerLens; None for a module's path."""
    if "hook_" in name:
        return name
    place = _LOCATION.fullmatch(name)
    if place is None or place[1] not in LOCATIONS:
        return None
    return LOCATIONS[place[1]].replace("N", place[2])


def _writes_centred(hook: str, config: "PreTrainedConfig") -> bool:
    return config.model_type in CENTRING and _numbered(hook)[0] in CENTRED


def _module_of_hook(hook: str, config: "PreTrainedConfig") -> str:
    names = _hook_names(config)
    key, layer = _numbered(hook)
    if key not in names:
        close = difflib.get_close_matches(key, names, n=5, cutoff=0.4) or names
        near = ", ".join(name.replace("N", layer) for name in close)
        msg = f"gloss does not know {hook} in a {config.model_type} model: the nearest names are {near}"
        raise WrongRequest(msg)
    module = names[key].replace("N", layer)
    if isinstance(names[key], _Ambiguous):
        msg = f"{hook} names no single tensor of a {config.model_type} model: {module}"
        raise WrongRequest(msg)
    return module


def _hook_names(config: "PreTrainedConfig") -> dict[str, str]:
    """Sites by the names of TransformerLens' hooks, N for the layer."""
    if config.model_type not in ARCHITECTURES:
        msg = (
            f"gloss knows other libraries' names in models of type {', '.join(ARCHITECTURES)}, and this one is "
            f"{config.model_type}: name a module of it, such as layers.5 or layers.5.mlp.input"
        )
        raise WrongRequest(msg)
    parallel = getattr(config, "use_parallel_residual", False)
    return ARCHITECTURES[config.model_type] | (PARALLEL if parallel else {})


def _numbered(name: str) -> tuple[str, str]:
    """The name with N in place of its layer, and the layer; `N` for a name without one."""
    number = _NUMBER.search(name)
    return (name, "N") if number is None else (_NUMBER.sub("N", name, count=1), number[0])
