"""What other libraries call a site, as a site of the subject model.

A format says where a coder is hooked in the words of the library that trained it. One name is another tensor in
another architecture, and a coder at the wrong one raises no error, so every entry is written out here and held by
an identity in the tests: what the attention and the MLP write adds up to the residual stream, and so on.

Names of TransformerLens (components/transformer_block.py; the OLMo 2 adapter for its norms), of circuit-tracer
(`mlp.hook_in`, `mlp.hook_out`: replacement_model.py), of dictionary_learning (`resid_post_layer_3`) and of OpenAI's
sparse_autoencoder (`resid_post_mlp.6`: location and layer).
"""

import difflib
import re
from dataclasses import replace

from storage.errors import WrongRequest
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site


class _Absent(str):
    """Why a name is no one tensor of an architecture, and what to write instead; N is the layer here too."""

    __slots__ = ()


def _either(norm: str) -> _Absent:
    """`hook_normalized` of a LayerNorm: TransformerLens' LayerNorm has it behind the gain, its LayerNormPre before.

    A checkpoint does not say which it was. That of an RMSNorm is always before.
    """
    return _Absent(
        "versions of TransformerLens have it before or behind the norm's gain: "
        f"write {norm}:normalised (before) or {norm} (behind)"
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
    "blocks.N.ln1.hook_normalized": _either("h.N.ln_1"),
    "blocks.N.attn.hook_z": "h.N.attn.c_proj.input",
    "blocks.N.attn.hook_out": "h.N.attn",
    "blocks.N.hook_attn_out": "h.N.attn",
    "blocks.N.hook_resid_mid": "h.N.ln_2.input",
    "blocks.N.hook_mlp_in": "h.N.ln_2.input",
    "blocks.N.ln2.hook_normalized": _either("h.N.ln_2"),
    "blocks.N.mlp.hook_in": "h.N.mlp.input",
    "blocks.N.mlp.hook_pre": "h.N.mlp.c_fc",
    "blocks.N.mlp.hook_post": "h.N.mlp.c_proj.input",
    "blocks.N.mlp.hook_out": "h.N.mlp",
    "blocks.N.hook_mlp_out": "h.N.mlp",
    "blocks.N.hook_resid_post": "h.N",
    "ln_final.hook_normalized": _either("ln_f"),
}

PARALLEL = {
    "blocks.N.hook_resid_mid": _Absent(
        "attention and MLP read the same residual stream and are added to it at once, so none lies between them: "
        "name another site"
    ),
}
"""What changes where the MLP does not wait for the attention."""

GPT_NEOX = PRE_NORM | {
    "hook_embed": "embed_in",
    "blocks.N.ln1.hook_normalized": _either("layers.N.input_layernorm"),
    "blocks.N.attn.hook_z": "layers.N.attention.dense.input",
    "blocks.N.attn.hook_out": "layers.N.attention",
    "blocks.N.hook_attn_out": "layers.N.attention",
    "blocks.N.ln2.hook_normalized": _either("layers.N.post_attention_layernorm"),
    "blocks.N.mlp.hook_pre": "layers.N.mlp.dense_h_to_4h",
    "blocks.N.mlp.hook_post": "layers.N.mlp.dense_4h_to_h.input",
    "ln_final.hook_normalized": _either("final_layer_norm"),
}

PHI = (
    PRE_NORM
    | PARALLEL
    | {
        "blocks.N.ln1.hook_normalized": _either("layers.N.input_layernorm"),
        "blocks.N.attn.hook_z": "layers.N.self_attn.dense.input",
        # One norm serves both.
        "blocks.N.hook_mlp_in": "layers.N.input_layernorm.input",
        "blocks.N.ln2.hook_normalized": _either("layers.N.input_layernorm"),
        "blocks.N.mlp.hook_pre": "layers.N.mlp.fc1",
        "blocks.N.mlp.hook_post": "layers.N.mlp.fc2.input",
        "ln_final.hook_normalized": _either("final_layernorm"),
    }
)

PHI3 = PRE_NORM | {
    "blocks.N.mlp.hook_pre": _Absent(
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
"""Names by the model type of transformers' configs; N is the layer."""

CENTRING = ("gpt2", "gpt_neox", "phi")
"""Types whose weights TransformerLens can centre: a LayerNorm takes the mean away, an RMSNorm would notice."""

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
"""What centred weights write, and its sums: HookedTransformer.center_writing_weights changes nothing else."""

LOCATIONS = {
    # dictionary_learning hooks transformers' own modules, so its outputs are what the modules give.
    "resid_post": "blocks.N.hook_resid_post",
    "attn_out": "blocks.N.attn.hook_out",
    "mlp_out": "blocks.N.mlp.hook_out",
    # OpenAI's deltas are what is added to the residual stream.
    "resid_delta_attn": "blocks.N.hook_attn_out",
    "resid_post_attn": "blocks.N.hook_resid_mid",
    "mlp_post_act": "blocks.N.mlp.hook_post",
    "resid_delta_mlp": "blocks.N.hook_mlp_out",
    "resid_post_mlp": "blocks.N.hook_resid_post",
}
"""Names of a place in every layer, which the layer's number follows: `mlp_out_layer_3`, `resid_delta_mlp.3`."""

_LOCATION = re.compile(r"(\w+?)(?:_layer_?|\.)(\d+)", re.ASCII)
_NUMBER = re.compile(r"(?<=\.)\d+(?=[.:]|$)", re.ASCII)


def site(text: str, subject: LoadedSubject, *, centred: bool = False) -> Site:
    """The site that a name means in this model, whoever's name it is, without the architecture's wrapper.

    A form may follow: `blocks.5.hook_resid_post:centred`. Where none does, `centred` says that the name's library
    centred the writing weights, and what they write has the centred form; a module's path stays raw. Raises
    `WrongRequest` with the nearest names if the model has no such module, and with the reason if the name is no one
    tensor of its architecture.
    """
    name, colon, form = text.partition(":")
    known = _in_hooks(name)
    found = Site.parse(name if known is None else _translated(known, subject))
    if colon:
        if found.form != "raw":
            msg = f"{name} is {found.form} already, and a site has one form: leave :{form} out"
            raise WrongRequest(msg)
        found = Site.parse(f"{found}:{form}")
    elif centred and known and _is_centred(known, subject):
        found = replace(found, form="centred")
    subject.resolve(found)
    return replace(found, module=subject.unwrapped(found.module))


def _in_hooks(name: str) -> str | None:
    """The name as TransformerLens has it; null for what is no name of another library but a module's path."""
    if "hook_" in name:
        return name
    place = _LOCATION.fullmatch(name)
    if place is None or place[1] not in LOCATIONS:
        return None
    return LOCATIONS[place[1]].replace("N", place[2])


def _is_centred(name: str, subject: LoadedSubject) -> bool:
    return subject.model.config.model_type in CENTRING and _numbered(name)[0] in CENTRED


def _translated(name: str, subject: LoadedSubject) -> str:
    names = _names(subject)
    key, number = _numbered(name)
    kind = subject.model.config.model_type
    if key not in names:
        close = difflib.get_close_matches(key, names, n=5, cutoff=0.4) or names
        near = ", ".join(other.replace("N", number) for other in close)
        msg = f"gloss does not know {name} in a {kind} model: the nearest names are {near}"
        raise WrongRequest(msg)
    meant = names[key].replace("N", number)
    if isinstance(names[key], _Absent):
        msg = f"{name} names no one tensor of a {kind} model: {meant}"
        raise WrongRequest(msg)
    return meant


def _names(subject: LoadedSubject) -> dict[str, str]:
    config = subject.model.config
    if config.model_type not in ARCHITECTURES:
        msg = (
            f"gloss knows other libraries' names in models of type {', '.join(ARCHITECTURES)}, and this one is "
            f"{config.model_type}: name a module of it, such as layers.5 or layers.5.mlp.input"
        )
        raise WrongRequest(msg)
    parallel = getattr(config, "use_parallel_residual", False)
    return ARCHITECTURES[config.model_type] | (PARALLEL if parallel else {})


def _numbered(name: str) -> tuple[str, str]:
    """The name with N for its layer, and the layer; N again for a name without one."""
    number = _NUMBER.search(name)
    return (name, "N") if number is None else (_NUMBER.sub("N", name, count=1), number[0])
