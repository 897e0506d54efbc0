"""Every name of another library means the tensor that its library means, in every architecture.

Each identity is one that only the right tensors have: what is written adds up to the residual stream, what is read
gives what is written.
"""

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.pytorch_utils import Conv1D

from storage.errors import WrongRequest
from tasks.activations.hooks import capture_vectors
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import ARCHITECTURES, CENTRED, Site, unwrapped
from tests.tasks.activations import models
from tests.tasks.activations.models import EPS, architecture, model, tokens, words

IDS = torch.from_numpy(tokens(3, 8)).long()
LAYER = 1

Named = Callable[[str], Tensor]


def named(subject: LoadedSubject, *, centred: bool = False) -> Named:
    """A function from names to their vectors [tokens, d]; `N` in a name is the second layer."""

    def vectors(name: str) -> Tensor:
        there = subject.site(name.replace("N", str(LAYER)), centred=centred)
        with (
            torch.inference_mode(),
            capture_vectors(subject.model, {there: subject.resolve(there)}) as forward,
        ):
            return forward(IDS)[there].flatten(0, 1)

    return vectors


def kind(subject: LoadedSubject) -> str:
    """The model's type."""
    return subject.model.config.model_type


def is_parallel(subject: LoadedSubject) -> bool:
    """Whether attention and MLP read the same residual stream."""
    return kind(subject) == "phi" or getattr(subject.model.config, "use_parallel_residual", False)


def has_layer_norms(subject: LoadedSubject) -> bool:
    """Whether its norms are LayerNorms with a gain."""
    return kind(subject) in {"gpt2", "gpt_neox", "phi"}


def before_the_gain(name: str, subject: LoadedSubject) -> Site:
    """Where a `hook_normalized` lies; a LayerNorm's is refused, with the two sites that it may be."""
    text = name.replace("N", str(LAYER))
    if not has_layer_norms(subject):
        return subject.site(text)
    with pytest.raises(WrongRequest) as refused:
        subject.site(text)
    message = re.fullmatch(
        rf"{re.escape(text)} names no single tensor of a {kind(subject)} model: .* before or after the norm's gain: "
        r"write (\S+):normalised \(before\) or (\S+) \(after\)",
        str(refused.value),
    )
    assert message is not None, refused.value
    assert message[1] == message[2]
    return subject.site(f"{message[1]}:normalised")


def close(expected: Tensor, actual: Tensor) -> None:
    """Equal up to float32's rounding, and not by both being nothing."""
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(expected, actual, rtol=1e-4, atol=1e-5)


def present(subject: LoadedSubject) -> list[str]:
    """The names of TransformerLens that are one tensor of the model."""
    absent = {name for name, text in ARCHITECTURES[kind(subject)].items() if " " in text}
    if is_parallel(subject):
        absent |= {"blocks.N.hook_resid_mid"}
    return sorted(ARCHITECTURES[kind(subject)].keys() - absent)


def times(read: Tensor, subject: LoadedSubject, name: str) -> Tensor:
    """What the linear map that reads a site makes of its vectors, by `writes` and the map's bias."""
    there = subject.site(name.replace("N", str(LAYER)))
    rows, bias = subject.writes(there), getattr(subject.resolve(there), "bias", None)
    assert rows is not None
    return read @ rows + (0 if bias is None else bias)


def weight_as_gain(norm: nn.Module) -> Tensor | float:
    """What a norm multiplies by, as the papers of the architectures say."""
    weight = getattr(norm, "weight", None)
    if weight is None:
        return 1.0
    return 1 + weight if "Gemma" in type(norm).__name__ else weight


def test_every_type_is_tried() -> None:
    """There is a tiny model of every type that names are translated for."""
    assert set(ARCHITECTURES) == {name.partition("-")[0] for name in models.ARCHITECTURES}


def test_entries_are_sites_in_their_shortest_form() -> None:
    """A translation is a site's own name: two names of one tensor give equal sites."""
    entries = {text for names in ARCHITECTURES.values() for text in names.values() if " " not in text}

    assert entries == {str(Site.parse(text)) for text in entries}


def test_the_residual_stream_is_the_models(every: LoadedSubject) -> None:
    """`hook_resid_pre` and `hook_resid_post` are the hidden states that the model itself reports."""
    at = named(every)
    with torch.inference_mode():
        reported = every.model(IDS, output_hidden_states=True).hidden_states

    assert torch.equal(reported[0].flatten(0, 1), at("blocks.0.hook_resid_pre"))
    assert torch.equal(reported[1].flatten(0, 1), at("blocks.0.hook_resid_post"))
    assert torch.equal(reported[1].flatten(0, 1), at("blocks.1.hook_resid_pre"))


def test_the_embedding_begins_it(every: LoadedSubject) -> None:
    """`hook_embed` is what the first block reads, less GPT-2's positions."""
    at = named(every)
    positions = 0
    if kind(every) == "gpt2":
        positions = every.resolve(Site("wpe")).get_parameter("weight")[: IDS.shape[1]].repeat(len(IDS), 1)

    close(at("blocks.0.hook_resid_pre"), at("hook_embed") + positions)


def test_what_is_written_adds_up(every: LoadedSubject) -> None:
    """Attention and MLP add `hook_attn_out` and `hook_mlp_out` to the residual stream.

    Added at once they can't be told apart by their sum, but no norm follows them there.
    """
    at = named(every)
    before, after = at("blocks.N.hook_resid_pre"), at("blocks.N.hook_resid_post")
    attention, mlp = at("blocks.N.hook_attn_out"), at("blocks.N.hook_mlp_out")

    close(after - before, attention + mlp)
    if is_parallel(every):
        assert torch.equal(at("blocks.N.attn.hook_out"), attention)
        assert torch.equal(at("blocks.N.mlp.hook_out"), mlp)
    else:
        close(at("blocks.N.hook_resid_mid"), before + attention)
        close(after, at("blocks.N.hook_resid_mid") + mlp)


def test_the_mlp_makes_its_output_of_its_input(every: LoadedSubject) -> None:
    """Run on `mlp.hook_in`, the MLP gives `mlp.hook_out`."""
    at = named(every)
    mlp = every.resolve(every.site(f"blocks.{LAYER}.mlp.hook_out"))

    close(at("blocks.N.mlp.hook_out"), mlp(at("blocks.N.mlp.hook_in")))


def test_neurons_write_the_mlps_output(every: LoadedSubject) -> None:
    """`mlp.hook_post` times the MLP's last weight is `mlp.hook_out`."""
    at = named(every)

    close(at("blocks.N.mlp.hook_out"), times(at("blocks.N.mlp.hook_post"), every, "blocks.N.mlp.hook_post"))


def test_heads_write_the_attentions_output(every: LoadedSubject) -> None:
    """`attn.hook_z` times the attention's last weight is `attn.hook_out`."""
    at = named(every)

    close(at("blocks.N.attn.hook_out"), times(at("blocks.N.attn.hook_z"), every, "blocks.N.attn.hook_z"))


def test_neurons_are_activations_of_what_is_before(every: LoadedSubject) -> None:
    """The activation function of `mlp.hook_pre`, times what it gates if anything, is `mlp.hook_post`."""
    if kind(every) == "phi3":
        with pytest.raises(
            WrongRequest,
            match=r"^blocks\.1\.mlp\.hook_pre names no single tensor of a phi3 model: the gate.*: name another site$",
        ):
            every.site("blocks.1.mlp.hook_pre")
        return
    at = named(every)
    config = every.model.config.get_text_config()
    function = next(
        getattr(config, key)
        for key in ("hidden_activation", "activation_function", "hidden_act")
        if hasattr(config, key)
    )
    mlp = every.resolve(every.site(f"blocks.{LAYER}.mlp.hook_out"))
    gated = mlp.up_proj(at("blocks.N.mlp.hook_in")) if hasattr(mlp, "up_proj") else 1  # pyright: ignore[reportCallIssue]

    close(at("blocks.N.mlp.hook_post"), ACT2FN[function](at("blocks.N.mlp.hook_pre")) * gated)


def test_what_comes_before_the_mlp_is_what_its_norm_reads(every: LoadedSubject) -> None:
    """`hook_mlp_in` is the residual stream before the MLP's norm."""
    at = named(every)
    same = "blocks.N.hook_resid_pre" if is_parallel(every) else "blocks.N.hook_resid_mid"

    assert torch.equal(at(same), at("blocks.N.hook_mlp_in"))


@pytest.mark.parametrize("name", ["blocks.N.ln1", "blocks.N.ln2", "ln_final"])
def test_normalised_is_the_norm_without_its_gain(every: LoadedSubject, name: str) -> None:
    """`hook_normalized` is x / rms(x), centred in a LayerNorm, and times the gain what the norm gives.

    Exactly where the norm is torch's LayerNorm the name alone is refused.
    """
    at = named(every)
    there = before_the_gain(f"{name}.hook_normalized", every)
    result = at(str(there))
    norm = every.resolve(there)
    x = at(f"{there.module}.input")
    if "RMS" not in type(norm).__name__:
        x = x - x.mean(-1, keepdim=True)
    eps = 1e-5 if kind(every) == "olmo" else EPS

    close(x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps), result)
    close(at(there.module), result * weight_as_gain(norm) + getattr(norm, "bias", 0))
    assert has_layer_norms(every) == isinstance(norm, nn.LayerNorm)


def test_norms_stand_where_transformerlens_has_them(every: LoadedSubject) -> None:
    """The first norm reads the residual stream before the attention, the second the one before the MLP.

    OLMo 2 and 3 have them after instead: they read what attention and MLP write.
    """
    at = named(every)
    norms = [before_the_gain(f"blocks.N.ln{number}.hook_normalized", every).module for number in (1, 2)]
    names = ("blocks.N.hook_resid_pre", "blocks.N.hook_mlp_in")
    if kind(every) in {"olmo2", "olmo3"}:
        names = ("blocks.N.attn.hook_out", "blocks.N.mlp.hook_out")

    for norm, name in zip(norms, names, strict=True):
        assert torch.equal(at(name), at(f"{norm}.input"))


def test_the_final_norm_and_the_unembedding_make_the_logits(every: LoadedSubject) -> None:
    """`ln_final.hook_normalized` times the measured gain, read by the unembedding's rows, are the logits."""
    there = before_the_gain("ln_final.hook_normalized", every)
    final, norm = named(every)(str(there)), every.resolve(there)
    gain, rows = every.final_norm_gain(), every.unembedding()
    head = every.model.get_output_embeddings()
    assert gain is not None
    torch.testing.assert_close(
        torch.as_tensor(weight_as_gain(norm)).expand(len(gain)), gain, rtol=2e-3, atol=0
    )
    bias = getattr(head, "bias", None)
    logits = (final * gain + getattr(norm, "bias", 0)) @ rows.T + (0 if bias is None else bias[: len(rows)])

    with torch.inference_mode():
        whole = every.model(IDS).logits.flatten(0, 1)[:, : len(rows)]

    torch.testing.assert_close(whole, logits, rtol=5e-3, atol=5e-3)


def test_all_names_at_once(every: LoadedSubject) -> None:
    """One pass gives every tensor that has a name, in both layers, and the same ones as passes of their own."""
    at = named(every)
    texts = sorted({name.replace("N", layer) for name in present(every) for layer in "10"}, reverse=True)
    normalised = {name for name in ARCHITECTURES[kind(every)] if name.endswith("hook_normalized")}
    sites = [every.site(text) for text in texts]
    sites += [
        before_the_gain(name.replace("N", layer), every) for name in sorted(normalised) for layer in "10"
    ]
    modules = {there: every.resolve(there) for there in sites}
    with torch.inference_mode(), capture_vectors(every.model, modules) as forward:
        result = forward(IDS)

    assert len(normalised) == 3
    assert modules.keys() == result.keys()
    assert all(torch.equal(at(str(there)), result[there].flatten(0, 1)) for there in sites)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("resid_post_layer_1", "blocks.1.hook_resid_post"),
        ("attn_out_layer_1", "blocks.1.attn.hook_out"),
        ("mlp_out_layer_1", "blocks.1.mlp.hook_out"),
        ("mlp_out_layer1", "blocks.1.mlp.hook_out"),
        ("resid_delta_attn.1", "blocks.1.hook_attn_out"),
        ("resid_delta_mlp.1", "blocks.1.hook_mlp_out"),
        ("mlp_post_act.1", "blocks.1.mlp.hook_post"),
        ("resid_post_mlp.1", "blocks.1.hook_resid_post"),
        ("resid_post_mlp_layer_1", "blocks.1.hook_resid_post"),
    ],
)
def test_other_libraries_names(every: LoadedSubject, text: str, same: str) -> None:
    """dictionary_learning and OpenAI have names of their own for the same tensors."""
    assert every.site(same) == every.site(text)


def with_centred_weights(subject: LoadedSubject) -> LoadedSubject:
    """The model as TransformerLens' center_writing_weights makes it (weight_processing.py): W_E, W_pos, W_O, W_out."""
    model = copy.deepcopy(subject.model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            module.weight -= module.weight.mean(-1, keepdim=True)
        elif name.endswith((".c_proj", ".dense", ".dense_4h_to_h", ".fc2")):
            weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
            weight -= weight.mean(-1 if isinstance(module, Conv1D) else 0, keepdim=True)
            bias -= bias.mean()
    return LoadedSubject(model, subject.tokenizer, subject.device)


def test_centred_names_are_those_of_a_centred_model(every: LoadedSubject) -> None:
    """Where weights can be centred, every name is what a model has there whose weights are; elsewhere none changes.

    An RMSNorm does not take a mean away, so that TransformerLens leaves its model's weights as they are.
    """
    if not has_layer_norms(every):
        texts = [name.replace("N", str(LAYER)) for name in present(every)]
        assert all(every.site(text, centred=True) == every.site(text) for text in texts)
        return
    ours, raw, theirs = named(every, centred=True), named(every), named(with_centred_weights(every))

    for name in present(every):
        close(theirs(name), ours(name))
        assert torch.equal(raw(name), ours(name)) == (name not in CENTRED), name


@pytest.mark.parametrize(
    ("name", "text", "result"),
    [
        ("gpt2", "resid_post_layer_1", Site("h.1", "output", "centred")),
        ("gpt2", "blocks.1.hook_mlp_out:centred", Site("h.1.mlp", "output", "centred")),
        ("gpt2", "transformer.h.1", Site("h.1")),
        ("gpt2", "h.1.mlp:centred", Site("h.1.mlp", "output", "centred")),
        ("phi", "blocks.1.hook_mlp_in", Site("layers.1.input_layernorm", "input", "centred")),
        # Its eyes have LayerNorms, and its residual stream has none.
        ("gemma3", "blocks.1.hook_resid_post", Site("layers.1")),
    ],
)
def test_names_are_centred_and_paths_are_not(name: str, text: str, result: Site) -> None:
    """That a library centred its weights says something of its own names only, and a form that is there stays."""
    assert result == made(name).site(text, centred=True)


def made(name: str) -> LoadedSubject:
    """One of the tiny models."""
    return LoadedSubject(architecture(name), words(), torch.device("cpu"))


@pytest.fixture(scope="module")
def gpt2() -> LoadedSubject:
    """A GPT-2."""
    return made("gpt2")


@pytest.fixture(scope="module")
def multimodal() -> LoadedSubject:
    """A Gemma 3 that sees."""
    return made("gemma3")


@pytest.mark.parametrize(
    "wrapper", ["", "model.", "language_model.", "model.language_model.", "language_model.model."]
)
@pytest.mark.parametrize("ending", ["", ".output"])
def test_wrappers_are_stripped(
    multimodal: LoadedSubject, llama: LoadedSubject, wrapper: str, ending: str
) -> None:
    """A path is a site with or without its wrapper, the one that the model has or that of its other versions."""
    text = f"{wrapper}layers.1.post_attention_layernorm{ending}"

    for subject in (multimodal, llama):
        assert Site("layers.1.post_attention_layernorm") == subject.site(text)


@pytest.mark.parametrize(
    ("name", "text", "result"),
    [
        ("gpt2", "transformer.h.1.attn.c_proj.input", Site("h.1.attn.c_proj", "input")),
        ("gpt2", "h.1:centred", Site("h.1", "output", "centred")),
        ("gpt2", "blocks.1.hook_resid_pre:centred", Site("h.1", "input", "centred")),
        ("gpt2", "resid_post_attn.1", Site("h.1.ln_2", "input")),
        ("gpt2", "transformer.h.1.ln_2", Site("h.1.ln_2")),
        ("gpt2", "transformer.h.1.ln_2:normalised", Site("h.1.ln_2", "output", "normalised")),
        ("gpt_neox", "gpt_neox.layers.1", Site("layers.1")),
        (
            "gemma2",
            "model.layers.1.pre_feedforward_layernorm.output",
            Site("layers.1.pre_feedforward_layernorm"),
        ),
        ("gemma3", "model.layers.1.self_attn.o_proj.input", Site("layers.1.self_attn.o_proj", "input")),
        ("gemma3", "vision_tower.encoder.layers.0", Site("vision_tower.encoder.layers.0")),
    ],
)
def test_paths_and_forms(name: str, text: str, result: Site) -> None:
    """A module's path, a site's own name and a form at the end of any name."""
    assert result == made(name).site(text)


def test_a_site_keeps_its_name(every: LoadedSubject) -> None:
    """Every module's own path is a site of that module, on both sides."""
    for path, module in every.model.named_modules():
        bare = unwrapped(path)
        for side in ("input", "output") if path else ():
            there = Site(bare, side)  # pyright: ignore[reportArgumentType]
            assert there == every.site(str(there))
            assert module is every.resolve(there)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "gpt_neox",
            "blocks.1.hook_resid_mid",
            r"hook_resid_mid names no single tensor of a gpt_neox model: attention and MLP .*: name another site$",
        ),
        (
            "phi",
            "resid_post_attn.1",
            (
                r"^blocks\.1\.hook_resid_mid names no single tensor of a phi model: "
                r"attention and MLP .*: name another site$"
            ),
        ),
        (
            "gpt2",
            "blocks.1.hook_resid_pots",
            r"does not know .*: the nearest names are blocks\.1\.hook_resid_post",
        ),
        ("gpt2", "mlp.hook_in", r"does not know mlp\.hook_in .*blocks\.N\.mlp\.hook_in"),
        ("gpt2", "blocks.1.attn.hook_q", r"does not know .*blocks\.1\.attn\.hook_z"),
        ("gpt2", "blocks.7.hook_resid_post", r"no site h\.7: the nearest modules are .*h\.1"),
        ("gpt2", "transformer.h.1.mpl", r"no site transformer\.h\.1\.mpl: .*h\.1\.mlp"),
        ("gpt2", "resid_mid_layer_1", r"no site resid_mid_layer_1"),
        ("llama", "blocks.1.ln2.hook_normalized:centred", r"normalised already"),
        (
            "gpt2",
            "blocks.1.ln2.hook_normalized:normalised",
            r"names no single tensor of a gpt2 model: ",
        ),
        ("gpt2", "h.1:normalized", r"'normalized' is no form of a site: write h\.1:centred"),
        ("gpt2", "", r"names no site"),
    ],
)
def test_what_fits_nothing_is_refused(name: str, text: str, message: str) -> None:
    """A name that means no tensor of the model is refused with the reason or with the nearest names."""
    with pytest.raises(WrongRequest, match=message):
        made(name).site(text)


def test_unknown_types_have_modules_only(gpt2: LoadedSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an architecture that gloss has no table for, a module's path is a site and a foreign name is not."""
    subject = LoadedSubject(model("gpt2"), gpt2.tokenizer, gpt2.device)
    monkeypatch.setattr(type(subject.model.config), "model_type", "unheard_of")

    assert Site("h.1") == subject.site("transformer.h.1")
    with pytest.raises(
        WrongRequest, match=r"in models of type gemma, .*, and this one is unheard_of: name a module"
    ):
        subject.site("blocks.1.hook_resid_post")
