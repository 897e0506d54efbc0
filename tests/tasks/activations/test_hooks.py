"""Hooks read the right tensors, end the forward pass early and leave nothing behind."""

import pytest
import torch
from torch import Tensor, nn

from storage.errors import WrongRequest
from tasks.activations.hooks import capturing
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tests.tasks.activations.models import LAYERS, D, tokens

IDS = torch.from_numpy(tokens(3, 8)).long()


def capture(subject: LoadedSubject, *names: str) -> dict[str, Tensor]:
    """The vectors at sites, by name."""
    modules = {(site := Site.parse(name)): subject.resolve(site) for name in names}
    with torch.inference_mode(), capturing(subject.model, modules) as forward:
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

    found = capture(subject, block(subject, 0), block(subject, 2))

    assert torch.equal(reported[1], found[block(subject, 0)])
    assert torch.equal(reported[3], found[block(subject, 2)])


def test_inputs_are_the_hidden_states_before(subject: LoadedSubject) -> None:
    """A block's input is the output of the block before."""
    found = capture(subject, block(subject, 1), f"{block(subject, 2)}.input")

    assert torch.equal(found[block(subject, 1)], found[f"{block(subject, 2)}.input"])


@pytest.mark.parametrize("name", ["self_attn", "self_attn.o_proj", "mlp", "mlp.down_proj", "input_layernorm"])
def test_inner_sites_have_a_vector_per_token(llama: LoadedSubject, name: str) -> None:
    """Attention, MLP and norms can be read on both sides, tuples and keyword arguments included."""
    found = capture(llama, f"layers.1.{name}", f"layers.1.{name}.input")

    assert all(x.shape[:2] == IDS.shape and x.ndim == 3 for x in found.values())
    assert D == found[f"layers.1.{name}"].shape[2]


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
    with pytest.raises(KeyboardInterrupt), capturing(llama.model, {site: llama.resolve(site)}):
        raise KeyboardInterrupt

    assert before == hooks(llama.model)
    assert IDS.shape == llama.model(IDS).logits.shape[:2]


def test_a_site_that_never_runs_is_refused(llama: LoadedSubject) -> None:
    """A module outside of the forward pass raises instead of giving nothing."""
    idle = nn.Linear(D, D)
    modules = {Site("idle"): idle, Site("layers.0"): llama.resolve(Site("layers.0"))}

    with (
        pytest.raises(WrongRequest, match=r"^idle did not run"),
        capturing(llama.model, modules) as forward,
    ):
        forward(IDS)


@pytest.mark.parametrize("name", ["embed_tokens.input", "rotary_emb"])
def test_a_site_without_vectors_is_refused(llama: LoadedSubject, name: str) -> None:
    """Token ids and position embeddings are no vectors of tokens."""
    with pytest.raises(WrongRequest, match="holds no vector per token"):
        capture(llama, name)


def test_a_function_serves_many_batches(llama: LoadedSubject) -> None:
    """One context serves batches of different sizes, each with its own result."""
    site = Site.parse("layers.1")
    with torch.inference_mode(), capturing(llama.model, {site: llama.resolve(site)}) as forward:
        first, second = forward(IDS)[site], forward(IDS[:2])[site]

    torch.testing.assert_close(first[:2], second)
