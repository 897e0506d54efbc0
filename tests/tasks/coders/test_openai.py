"""Coders of OpenAI's sparse_autoencoder agree with their formula written out; broken files are refused by name."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from storage.errors import WrongRequest
from tasks.coders.base import DeclaredSite, HookSite
from tasks.coders.openai import OpenAI
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random

K = 5
STATE = {
    "pre_bias": random(D_IN, seed=1),
    "latent_bias": random(WIDTH, seed=2),
    "stats_last_nonzero": torch.zeros(WIDTH, dtype=torch.long),
    "latents_activation_frequency": torch.ones(WIDTH),
    "latents_mean_square": torch.zeros(WIDTH),
    "encoder.weight": random(WIDTH, D_IN, seed=3),
    "decoder.weight": random(D_IN, WIDTH, seed=4),
}
"""What every version keeps of the module."""

RELU = {"activation": "ReLU", "activation_state_dict": OrderedDict()}
TOPK = {
    "activation.k": K,
    "activation.postact_fn": "ReLU",
    "activation": "TopK",
    "activation_state_dict": {"k": K, "postact_fn": "ReLU"},
}
"""The activation's own state, which the module's holds once more under stray names."""


def save(folder: Path, content: object, place: str = "resid_post_mlp_v5_32k") -> str:
    """The file of a coder; its path."""
    file = folder / place / "autoencoders/8.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, file)
    return str(file)


def load(path: str) -> SparseCoder:
    """The coder."""
    return OpenAI(path=path).load(None, HookSite("h.8", D_IN))


def agrees(coder: SparseCoder, x: Tensor, w: dict, *, topk: bool) -> None:
    """Assert that the coder's activations and reconstructions are those of the library's formula."""
    mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    ready = (x - mean) / (std + 1e-5) if topk else x
    p = (ready - w["pre_bias"]) @ w["encoder.weight"].T + w["latent_bias"]
    best = p.topk(K)
    f = torch.relu(torch.zeros_like(p).scatter(1, best.indices, best.values) if topk else p)
    decoder = w.get("decoder.weight", w["encoder.weight"].T)
    back = f @ decoder.T + w["pre_bias"]
    back = back * std + mean if topk else back

    token, feature, activation = coder.encode(x)
    result = torch.zeros(len(x), WIDTH)
    result[token, feature] = activation
    torch.testing.assert_close(result, f, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rule", [{}, RELU, TOPK])
@pytest.mark.parametrize("tied", [True, False])
def test_encodes_by_the_formula(tmp_path: Path, x: Tensor, rule: dict, *, tied: bool) -> None:
    """ReLU coders read vectors as they are, top-k coders their norm taken away; a tied decoder is the encoder."""
    w = dict(STATE)
    if tied:
        w["decoder.linear.weight"] = w["encoder.weight"]
        del w["decoder.weight"]
    coder = load(save(tmp_path, w | rule))

    agrees(coder, x, w, topk=rule is TOPK)
    assert (K if rule is TOPK else None) == coder.declared_l0
    assert (WIDTH, D_IN, SAME_SITE) == (coder.width, coder.d_in, coder.target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_stored_only(tmp_path: Path, x: Tensor, dtype: torch.dtype) -> None:
    """What is stored in half precision encodes in float32."""
    half = {name: w.to(dtype) if w.is_floating_point() else w for name, w in STATE.items()}
    coder = load(save(tmp_path, half | TOPK))

    assert torch.float32 == coder.encoder.dtype
    agrees(coder, x, {name: w.float() for name, w in half.items()}, topk=True)


@pytest.mark.parametrize(
    ("place", "site"),
    [
        ("mlp_post_act", "mlp_post_act.8"),
        ("mlp_post_act_v4", "mlp_post_act.8"),
        ("resid_delta_mlp", "resid_delta_mlp.8"),
        ("resid_delta_attn_v5_128k", "resid_delta_attn.8"),
        ("resid_post_attn_v5_32k", "resid_post_attn.8"),
        ("resid_post_mlp_v5_32k", "resid_post_mlp.8"),
        ("resid_mid_v5_32k", None),
        ("elsewhere", None),
    ],
)
def test_the_path_tells_the_site(tmp_path: Path, place: str, site: str | None) -> None:
    """The library's own layout names place and layer, and tells the format; a file elsewhere does neither."""
    path = save(tmp_path, STATE, place)

    assert (DeclaredSite(site) if site else None) == OpenAI(path=path).declared_site()
    assert (OpenAI(path=path) if site else None) == OpenAI.detect(path, None)


def test_others_are_passed_by(tmp_path: Path) -> None:
    """A folder, and a file that is not there, are no coders of this format; a name on the Hub is taken at its word."""
    save(tmp_path, STATE)

    assert OpenAI.detect(str(tmp_path), None) is None
    assert OpenAI.detect(str(tmp_path / "resid_post_mlp/autoencoders/9.pt"), None) is None
    assert OpenAI.detect("owner/name/resid_post_mlp/autoencoders/9.pt", "main") is not None


def test_the_digest_is_of_the_file(tmp_path: Path) -> None:
    """Other weights have another digest; the site has none to do with it."""
    source = OpenAI(path=save(tmp_path, STATE))
    before = source.digest(None)

    assert before == source.digest("h.8")
    save(tmp_path, STATE | TOPK)
    assert before != source.digest(None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pre_bias": None}, "no tensor pre_bias"),
        ({"latent_bias": None}, "no tensor latent_bias"),
        ({"decoder.weight": None}, r"no tensor decoder\.weight"),
        ({"encoder.weight": random(D_IN, WIDTH)}, r"encoder\.weight has shape \[16, 64\], where \[64, 16\]"),
        ({"decoder.weight": torch.full((D_IN, WIDTH), torch.inf)}, r"decoder\.weight holds NaN or infinity"),
        ({"activation": "Identity"}, "activation Identity.*gloss loads ReLU, and TopK followed by ReLU"),
        (TOPK | {"activation_state_dict": {"k": K, "postact_fn": "Identity"}}, "TopK .then Identity"),
        (TOPK | {"activation_state_dict": {}}, r"activation_state_dict\.k is None"),
        (TOPK | {"activation_state_dict": {"k": WIDTH + 1}}, "k is 65, where a number from 1 to 64"),
    ],
)
def test_wrong_content_is_refused(tmp_path: Path, changed: dict, message: str) -> None:
    """What is missing, misshapen, broken or unknown is named with its file."""
    content = {name: value for name, value in (STATE | changed).items() if value is not None}

    with pytest.raises(WrongRequest, match=rf"8\.pt.*{message}"):
        load(save(tmp_path, content))


def test_a_pickled_class_and_a_cut_file_are_refused(tmp_path: Path) -> None:
    """A module that was pickled whole is refused by its class, a file that was cut short by its name."""
    path = save(tmp_path, nn.Linear(2, 2))
    with pytest.raises(WrongRequest, match=r"8\.pt holds a pickled torch\.nn\.modules\.linear\.Linear"):
        load(path)

    save(tmp_path, STATE)
    Path(path).write_bytes(Path(path).read_bytes()[:-400])
    with pytest.raises(WrongRequest, match=r"8\.pt is not a whole file"):
        load(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """The path is that of a file."""
    with pytest.raises(WrongRequest, match=r"is no file of a coder: name one, such as .*/8\.pt"):
        load(str(tmp_path))
    with pytest.raises(WrongRequest, match=r"9\.pt"):
        load(str(tmp_path / "9.pt"))
