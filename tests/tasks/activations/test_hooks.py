"""Hooks read the right tensors, end the forward pass early and leave nothing behind."""

import pytest
import torch
from torch import Tensor, nn

from storage.errors import WrongRequest
from tasks.activations.hooks import capture_vectors
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tests.tasks.activations.models import LAYERS, D, architecture, model, tokens, words

IDS = torch.from_numpy(tokens(3, 8)).long()


def capture(subject: LoadedSubject, *names: str) -> dict[str, Tensor]:
    """The vectors at sites, by name."""
    modules = {(site := Site.parse(name)): subject.resolve(site) for name in names}
    with torch.inference_mode(), capture_vectors(subject.model, modules) as forward:
        return {str(site): x for site, x in forward(IDS).items()}


def hooks(model: nn.Module) -> int:
    """How many hooks the model has."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def block(subject: LoadedSubject, number: int) -> str:
    """The name of a block in each architecture."""
    return f"{'h' if subject.model.config.model_type == 'gpt2' else 'layers'}.{number}"


def test_outputs_are_the_hidden_states(subject: LoadedSubject) -> None:
    """A block's output is the hidden state that the model itself reports."""
    reported = subject.model(IDS, output_hidden_states=True).hidden_states

    result = capture(subject, block(subject, 0), block(subject, 2))

    assert torch.equal(reported[1], result[block(subject, 0)])
    assert torch.equal(reported[3], result[block(subject, 2)])


def test_inputs_are_the_hidden_states_before(subject: LoadedSubject) -> None:
    """A block's input is the output of the block before."""
    result = capture(subject, block(subject, 1), f"{block(subject, 2)}.input")

    assert torch.equal(result[block(subject, 1)], result[f"{block(subject, 2)}.input"])


@pytest.mark.parametrize("name", ["self_attn", "self_attn.o_proj", "mlp", "mlp.down_proj", "input_layernorm"])
def test_inner_sites_have_a_vector_per_token(llama: LoadedSubject, name: str) -> None:
    """Attention, MLP and norms can be read on both sides, tuples and keyword arguments included."""
    result = capture(llama, f"layers.1.{name}", f"layers.1.{name}.input")

    assert all(x.shape[:2] == IDS.shape and x.ndim == 3 for x in result.values())
    assert D == result[f"layers.1.{name}"].shape[2]


def test_later_layers_never_run(subject: LoadedSubject) -> None:
    """The forward pass ends right after the last site has fired, whatever the order of the sites."""
    ran: list[int] = []
    blocks = [subject.resolve(Site.parse(block(subject, number))) for number in range(LAYERS)]
    handles = [
        module.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
        for number, module in enumerate(blocks)
    ]
    capture(subject, block(subject, 2), block(subject, 0))
    for handle in handles:
        handle.remove()

    assert [0, 1, 2] == ran


def test_no_hook_stays(llama: LoadedSubject) -> None:
    """Hooks are gone after the context, also when it ends with an error, and the model runs whole again."""
    site = Site.parse("layers.1")
    before = hooks(llama.model)
    capture(llama, "layers.1", "layers.2.input")
    with pytest.raises(KeyboardInterrupt), capture_vectors(llama.model, {site: llama.resolve(site)}):
        raise KeyboardInterrupt

    assert before == hooks(llama.model)
    assert IDS.shape == llama.model(IDS).logits.shape[:2]


def test_a_site_that_never_runs_is_refused(llama: LoadedSubject) -> None:
    """A module outside of the forward pass raises instead of giving nothing."""
    idle = nn.Linear(D, D)
    modules = {Site("idle"): idle, Site("layers.0"): llama.resolve(Site("layers.0"))}

    with (
        pytest.raises(WrongRequest, match=r"^idle did not run"),
        capture_vectors(llama.model, modules) as forward,
    ):
        forward(IDS)


@pytest.mark.parametrize("name", ["embed_tokens.input", "rotary_emb"])
def test_a_site_without_vectors_is_refused(llama: LoadedSubject, name: str) -> None:
    """Token ids and position embeddings are no vectors of tokens."""
    with pytest.raises(WrongRequest, match="holds no vector per token"):
        capture(llama, name)


def test_sides_and_forms_of_one_module_come_at_once(llama: LoadedSubject) -> None:
    """Input, output and their forms are each what they are alone, in whatever order they are asked for."""
    names = [
        "layers.1",
        "layers.2",
        "layers.0.input:centred",
        "layers.0.input",
        "layers.2.input",
        "layers.2:centred",
    ]
    names += [
        "layers.1.input_layernorm:normalised",
        "layers.1.input_layernorm",
        "layers.1.input_layernorm.input",
    ]

    result = capture(llama, *names)

    assert set(names) == result.keys()
    assert all(torch.equal(capture(llama, name)[name], result[name]) for name in names)


def test_sites_of_one_tensor_share_a_hook(llama: LoadedSubject) -> None:
    """A tensor is taken once for all of its forms, and a norm's input once for what the norm makes of it."""
    sites = [
        Site.parse(name) for name in ("layers.1", "layers.1:centred", "layers.1.input", "norm:normalised")
    ]
    sites += [Site.parse("norm.input"), Site.parse("norm.input:centred")]
    before = hooks(llama.model)
    with capture_vectors(llama.model, {site: llama.resolve(site) for site in sites}):
        assert 3 == hooks(llama.model) - before


def test_centred_vectors_have_no_mean(subject: LoadedSubject) -> None:
    """The centred form is the vector less its mean over d, as the residual stream of centred weights is."""
    name = block(subject, 1)

    result = capture(subject, name, f"{name}:centred")

    raw, centred = result[name], result[f"{name}:centred"]
    torch.testing.assert_close(torch.zeros(IDS.shape), centred.mean(-1), rtol=0, atol=1e-6)
    torch.testing.assert_close(raw - centred, (raw - centred)[..., :1].expand_as(raw), rtol=0, atol=1e-6)


def test_normalised_vectors_are_the_norms_before_its_gain(subject: LoadedSubject) -> None:
    """The normalised form times the norm's weight, and with its bias, is what the norm gives."""
    name = f"{block(subject, 1)}.{'ln_2' if subject.model.config.model_type == 'gpt2' else 'input_layernorm'}"
    norm = subject.resolve(Site(name))

    result = capture(subject, name, f"{name}:normalised")

    weighted = result[f"{name}:normalised"] * norm.get_parameter("weight") + getattr(norm, "bias", 0)
    torch.testing.assert_close(result[name], weighted, rtol=1e-5, atol=1e-5)


def test_heads_are_normalised_one_by_one() -> None:
    """A norm of heads normalises each head, and its site's vectors are the heads side by side."""
    qwen = LoadedSubject(architecture("qwen3"), words(), torch.device("cpu"))

    result = capture(qwen, "layers.0.self_attn.q_norm:normalised")["layers.0.self_attn.q_norm:normalised"]

    heads = result.unflatten(-1, (2, 12))
    assert (*IDS.shape, 24) == result.shape
    torch.testing.assert_close(torch.ones(*IDS.shape, 2), heads.square().mean(-1), rtol=0.01, atol=0)


def test_forms_are_computed_in_float32() -> None:
    """In a model of half precision raw vectors are its own; other forms are not rounded to it."""
    made = model("llama").to(torch.bfloat16)  # pyright: ignore[reportArgumentType]
    subject = LoadedSubject(made, words(), torch.device("cpu"))

    result = capture(subject, "layers.1", "layers.1:centred", "norm.input", "norm:normalised")

    raw, centred = result["layers.1"], result["layers.1:centred"]
    assert torch.bfloat16 == raw.dtype == result["norm.input"].dtype
    assert torch.float32 == centred.dtype == result["norm:normalised"].dtype
    torch.testing.assert_close(raw.float() - raw.float().mean(-1, keepdim=True), centred)
    size = result["norm.input"].float().square().mean(-1, keepdim=True)
    torch.testing.assert_close(
        result["norm.input"].float() / size.sqrt(), result["norm:normalised"], rtol=0.01, atol=0
    )


def test_forms_end_the_pass_too(llama: LoadedSubject) -> None:
    """A normalised site is had before its norm runs."""
    ran: list[str] = []
    handles = [
        llama.resolve(Site(name)).register_forward_hook(lambda *_, name=name: ran.append(name))
        for name in ("layers.0", "layers.1.input_layernorm", "layers.1")
    ]
    capture(llama, "layers.1.input_layernorm:normalised", "layers.0:centred")
    for handle in handles:
        handle.remove()

    assert ["layers.0"] == ran


def test_what_is_no_norm_has_no_normalised_form(llama: LoadedSubject) -> None:
    """The normalised form of anything but a norm is refused, and no hook stays."""
    before = hooks(llama.model)
    with pytest.raises(WrongRequest, match=r"^layers\.1\.mlp is no norm, so it has no normalised form"):
        capture(llama, "layers.0", "layers.1.mlp:normalised")

    assert before == hooks(llama.model)


def test_a_function_serves_many_batches(llama: LoadedSubject) -> None:
    """One context serves batches of different sizes, each with its own result."""
    site = Site.parse("layers.1")
    with torch.inference_mode(), capture_vectors(llama.model, {site: llama.resolve(site)}) as forward:
        first, second = forward(IDS)[site], forward(IDS[:2])[site]

    torch.testing.assert_close(first[:2], second)
