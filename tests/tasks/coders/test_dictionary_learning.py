"""Each class of dictionary_learning agrees with its formula written out; broken checkpoints are refused by name."""

import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from torch import Tensor, nn

from storage.errors import WrongRequest
from tasks.coders.base import DeclaredSite, HookSite
from tasks.coders.dictionary_learning import CLASSES, CONFIG, WEIGHTS, DictionaryLearning
from tasks.coders.sparse_coder import SAME_SITE, SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random

COMMIT = "0123456789abcdef0123456789abcdef01234567"
K = 5
THRESHOLD = 1.5
FACTOR = 3.0

Weights = dict[str, Tensor]

ENCODER, DECODER = random(WIDTH, D_IN, seed=1), random(D_IN, WIDTH, seed=2)
BIAS, CENTRE = random(WIDTH, seed=3), random(D_IN, seed=4)
LINEAR = {"encoder.weight": ENCODER, "decoder.weight": DECODER}
PLAIN = {"W_enc": ENCODER.T.contiguous(), "W_dec": DECODER.T.contiguous(), "b_enc": BIAS, "b_dec": CENTRE}
COUNTED = {"k": torch.tensor(K, dtype=torch.int32), "threshold": torch.tensor(THRESHOLD)}

STORED: dict[str, Weights] = {
    "AutoEncoder": LINEAR | {"encoder.bias": BIAS, "bias": CENTRE},
    "AutoEncoderNew": LINEAR | {"encoder.bias": BIAS, "decoder.bias": CENTRE},
    "GatedAutoEncoder": LINEAR
    | {
        "gate_bias": BIAS,
        "mag_bias": random(WIDTH, seed=5),
        "r_mag": random(WIDTH, seed=6),
        "decoder_bias": CENTRE,
    },
    "JumpReluAutoEncoder": PLAIN | {"threshold": random(WIDTH, seed=7).abs() * 3},
    "AutoEncoderTopK": LINEAR | COUNTED | {"encoder.bias": BIAS, "b_dec": CENTRE},
    "BatchTopKSAE": LINEAR | COUNTED | {"encoder.bias": BIAS, "b_dec": CENTRE},
    "MatryoshkaBatchTopKSAE": PLAIN | COUNTED | {"group_sizes": torch.tensor([16, WIDTH - 16])},
}
"""What each class keeps in its state dict."""

SCALED = {
    "bias",
    "encoder.bias",
    "decoder.bias",
    "decoder_bias",
    "gate_bias",
    "mag_bias",
    "b_enc",
    "b_dec",
    "threshold",
}
"""What training scales back when it is done."""


def formula(name: str, w: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations and reconstruction as the class has them, densely."""
    match name:
        case "AutoEncoder":
            # Of a decoder of unit norm, as the library loads it.
            norm = w["decoder.weight"].norm(dim=0)
            f = torch.relu((x - w["bias"]) @ w["encoder.weight"].T + w["encoder.bias"]) * norm
            back = f @ (w["decoder.weight"] / norm).T + w["bias"]
        case "AutoEncoderNew":
            f = torch.relu(x @ w["encoder.weight"].T + w["encoder.bias"])
            back = f @ w["decoder.weight"].T + w["decoder.bias"]
        case "GatedAutoEncoder":
            e = (x - w["decoder_bias"]) @ w["encoder.weight"].T
            f = (e + w["gate_bias"] > 0) * torch.relu(w["r_mag"].exp() * e + w["mag_bias"])
            back = f @ w["decoder.weight"].T + w["decoder_bias"]
        case "JumpReluAutoEncoder":
            p = x @ w["W_enc"] + w["b_enc"]
            f = torch.relu(p * (p > w["threshold"]))
            back = f @ w["W_dec"] + w["b_dec"]
        case "AutoEncoderTopK":
            p = torch.relu((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"])
            f = torch.zeros_like(p).scatter(1, p.topk(K).indices, p.topk(K).values)
            back = f @ w["decoder.weight"].T + w["b_dec"]
        case "BatchTopKSAE":
            p = torch.relu((x - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"])
            f = p * (p > w["threshold"])
            back = f @ w["decoder.weight"].T + w["b_dec"]
        case _:
            p = torch.relu((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
            f = p * (p > w["threshold"])
            back = f @ w["W_dec"] + w["b_dec"]
    return f, back


def save(
    folder: Path,
    name: str = "BatchTopKSAE",
    content: dict | None = None,
    trainer: dict | None = None,
    buffer: dict | None = None,
    weights: str = WEIGHTS,
) -> str:
    """A trainer's folder; `trainer` replaces fields, null removes them. Its path."""
    fields = {
        "trainer_class": "SomeTrainer", "dict_class": name, "activation_dim": D_IN, "dict_size": WIDTH,
        "layer": 3, "lm_name": "some/model", "submodule_name": "resid_post_layer_3", "lr": 1e-4, "seed": 0,
    } | ({"k": K} if "k" in STORED.get(name, {}) else {}) | (trainer or {})  # fmt: skip
    config = {"trainer": {key: value for key, value in fields.items() if value is not None}}
    (folder / weights).parent.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config | ({"buffer": buffer} if buffer else {})))
    torch.save(STORED[name] if content is None else content, folder / weights)
    return str(folder)


def load(path: str, step: int | None = None) -> SparseCoder:
    """The coder."""
    return DictionaryLearning(path=path, step=step).load(None, HookSite("layers.3", D_IN))


def dense(coder: SparseCoder, x: Tensor) -> Tensor:
    """The coder's activations as a matrix."""
    token, feature, activation = coder.encode(x)
    out = torch.zeros(len(x), coder.width)
    out[token, feature] = activation
    return out


def agrees(coder: SparseCoder, name: str, w: Weights, x: Tensor) -> None:
    """Assert that the coder's activations and reconstructions are the class' own."""
    activations, back = formula(name, w, x)
    torch.testing.assert_close(dense(coder, x), activations, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", STORED)
def test_encodes_by_the_formula(tmp_path: Path, x: Tensor, name: str) -> None:
    """Each class fires and decodes as the library's does; those trained for a number declare it."""
    coder = load(save(tmp_path, name))

    agrees(coder, name, STORED[name], x)
    assert (K if "k" in STORED[name] else None) == coder.declared_l0
    assert (WIDTH, D_IN, SAME_SITE) == (coder.width, coder.d_in, coder.target)


@pytest.mark.parametrize("name", STORED)
def test_an_interrupted_run_is_scaled_back(tmp_path: Path, x: Tensor, name: str) -> None:
    """A backup holds the weights a level deeper, and biases that are still those of normalised vectors."""
    backup = {"step": 7, "ae": STORED[name], "optimizer": {"state": {}}, "config": {}, "norm_factor": FACTOR}
    scaled = {key: w * FACTOR if key in SCALED else w for key, w in STORED[name].items()}

    agrees(load(save(tmp_path, name, backup)), name, scaled, x)


@pytest.mark.parametrize("factor", [{}, {"norm_factor": None}, {"norm_factor": 1.0}])
def test_an_interrupted_run_without_normalisation(tmp_path: Path, x: Tensor, factor: dict) -> None:
    """Where vectors were not normalised there is nothing to scale."""
    weights = STORED["AutoEncoder"]

    agrees(load(save(tmp_path, "AutoEncoder", {"ae": weights} | factor)), "AutoEncoder", weights, x)


def test_a_factor_in_the_config_is_folded_already(tmp_path: Path, x: Tensor) -> None:
    """Final weights were scaled when they were saved, whatever factor the config names."""
    coder = load(save(tmp_path, trainer={"norm_factor": FACTOR}))

    agrees(coder, "BatchTopKSAE", STORED["BatchTopKSAE"], x)


def test_a_decoder_of_unit_norm_is_left_alone(tmp_path: Path) -> None:
    """An AutoEncoder whose decoder has unit norm keeps its very weights; a dead row divides nothing by zero."""
    unit = DECODER / DECODER.norm(dim=0)
    kept = load(save(tmp_path, "AutoEncoder", STORED["AutoEncoder"] | {"decoder.weight": unit}))
    unit[:, 3] = 0
    dead = load(save(tmp_path, "AutoEncoder", STORED["AutoEncoder"] | {"decoder.weight": unit}))

    assert torch.equal(ENCODER, kept.encoder)
    assert dead.decoder is not None
    assert not dead.decoder[3].any()
    assert 3 not in dead.encode(random(50, D_IN)).feature


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", STORED)
def test_half_precision_is_stored_only(tmp_path: Path, x: Tensor, name: str, dtype: torch.dtype) -> None:
    """What is stored in half precision encodes in float32."""
    half = {key: w.to(dtype) if w.is_floating_point() else w for key, w in STORED[name].items()}
    coder = load(save(tmp_path, name, half))

    assert torch.float32 == coder.encoder.dtype
    agrees(coder, name, {key: w.float() for key, w in half.items()}, x)


def test_old_topk_needs_neither_k_nor_threshold(tmp_path: Path, x: Tensor) -> None:
    """Before the file had its k, only the config had it."""
    old = {key: w for key, w in STORED["AutoEncoderTopK"].items() if key not in COUNTED}

    agrees(load(save(tmp_path, "AutoEncoderTopK", old)), "AutoEncoderTopK", old, x)


def test_the_old_spelling_is_known(tmp_path: Path, x: Tensor) -> None:
    """The library's first Matryoshka coders are spelt differently."""
    weights = STORED["MatryoshkaBatchTopKSAE"]
    path = save(tmp_path, "MatroyshkaBatchTopKSAE", weights, {"activation_dim": None, "dict_size": None})

    agrees(load(path), "MatryoshkaBatchTopKSAE", weights, x)


@pytest.mark.parametrize(
    ("trainer", "buffer", "site"),
    [
        ({}, None, "resid_post_layer_3"),
        ({"submodule_name": "mlp_out_layer_3"}, {"io": "out", "ctx_len": 128}, "mlp_out_layer_3"),
        ({"submodule_name": "mlp_out"}, None, "mlp_out_layer_3"),
        ({"submodule_name": "gpt_neox.layers.3.mlp"}, None, "gpt_neox.layers.3.mlp"),
        ({"submodule_name": "embed", "layer": None}, None, "embed"),
        ({"submodule_name": None}, None, None),
        ({"submodule_name": "", "layer": ""}, None, None),
        ({}, {"io": "in"}, None),
        ({}, {"io": "in_and_out"}, None),
    ],
)
def test_the_site_is_the_trainers(
    tmp_path: Path, trainer: dict, buffer: dict | None, site: str | None
) -> None:
    """The trainer's submodule is declared, with its layer; none where it has no name, or was read elsewhere."""
    declared = DictionaryLearning(path=save(tmp_path, trainer=trainer, buffer=buffer)).declared_site()

    assert (DeclaredSite(site) if site else None) == declared


def test_a_transcoder_is_not_compared(tmp_path: Path) -> None:
    """A coder trained from inputs to outputs reconstructs a site that the config doesn't name."""
    assert load(save(tmp_path, buffer={"io": "in_and_out"})).target is None


def test_a_step_of_the_training_is_taken(tmp_path: Path, x: Tensor) -> None:
    """A checkpoint of an earlier step is loaded, and is another coder than the last one."""
    earlier = STORED["BatchTopKSAE"] | {"threshold": torch.tensor(0.5)}
    save(tmp_path, content=earlier, weights="checkpoints/ae_100.pt")
    path = save(tmp_path)

    agrees(load(path, 100), "BatchTopKSAE", earlier, x)
    assert DictionaryLearning(path=path).digest(None) != DictionaryLearning(path=path, step=100).digest(None)
    with pytest.raises(WrongRequest, match=r"ae_200\.pt"):
        load(path, 200)


@pytest.mark.parametrize("step", [None, 100])
def test_the_digest_is_of_config_and_weights(tmp_path: Path, step: int | None) -> None:
    """Other weights or another config have another digest; the site has none to do with it."""
    weights = WEIGHTS if step is None else "checkpoints/ae_100.pt"
    source = DictionaryLearning(path=save(tmp_path, weights=weights), step=step)
    before = source.digest(None)

    assert before == source.digest("layers.3")
    save(tmp_path, weights=weights, trainer={"seed": 1})
    assert before != (second := source.digest(None))
    save(tmp_path, content=STORED["AutoEncoder"], weights=weights, trainer={"seed": 1})
    assert second != source.digest(None)


def test_on_the_hub_the_commit_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x: Tensor) -> None:
    """A folder of a Hub repository loads, and is its commit and the step."""
    root = tmp_path / "models--owner--name"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text(COMMIT)
    save(root / f"snapshots/{COMMIT}/trainer_0", weights="checkpoints/ae_100.pt")
    save(root / f"snapshots/{COMMIT}/trainer_0")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    source = DictionaryLearning(path="owner/name/trainer_0")

    agrees(load(source.path, 100), "BatchTopKSAE", STORED["BatchTopKSAE"], x)
    assert f"owner/name/trainer_0@{COMMIT}" == source.digest(None)
    assert source.digest(None) in source.model_copy(update={"step": 100}).digest(None)
    assert source.digest(None) != source.model_copy(update={"step": 100}).digest(None)
    assert source == DictionaryLearning.detect("owner/name/trainer_0", None)


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        *(({"trainer": {"dict_class": name}}, True) for name in CLASSES),
        ({"trainer": {"dict_class": "CrossCoder"}}, True),  # and refused by its name when it is loaded
        ({"trainer": {}}, False),
        ({"trainer": "huggingface"}, False),
        ({"model_type": "llama"}, False),
        ([1], False),
        (None, False),
    ],
)
def test_it_is_found_by_its_config(tmp_path: Path, config: object, *, fits: bool) -> None:
    """A config that names a class of the library tells it; others' configs are passed by."""
    (tmp_path / WEIGHTS).touch()
    if config is not None:
        (tmp_path / CONFIG).write_text(json.dumps(config))

    result = DictionaryLearning.detect(str(tmp_path), None)

    assert (DictionaryLearning(path=str(tmp_path)) if fits else None) == result


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        (
            {"dict_class": "CrossCoder"},
            r"config\.json.*trainer\.dict_class: .*cannot load CrossCoder: use one of",
        ),
        ({"dict_class": None}, r"config\.json.*trainer\.dict_class: Field required"),
        ({"k": 7}, r"config\.json has k 7, where .*ae\.pt has 5"),
        ({"dict_size": 2 * WIDTH}, r"ae\.pt: encoder\.bias has shape \[64\], where \[128\] is expected"),
        ({"activation_dim": 17}, r"ae\.pt: b_dec has shape \[16\], where \[17\] is expected"),
    ],
)
def test_a_wrong_config_is_refused(tmp_path: Path, trainer: dict, message: str) -> None:
    """What cannot be loaded is refused by file and key."""
    with pytest.raises(WrongRequest, match=message):
        load(save(tmp_path, trainer=trainer))


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    """The folder above the trainers is refused with what it holds, as is a file that is no JSON."""
    save(tmp_path / "trainer_0")

    with pytest.raises(
        WrongRequest, match=r"has no config\.json: it holds trainer_0: name the folder of one"
    ):
        load(str(tmp_path))
    with pytest.raises(WrongRequest, match=r"has no config\.json"):
        DictionaryLearning(path=str(tmp_path)).digest(None)
    (tmp_path / CONFIG).write_text("{")
    with pytest.raises(WrongRequest, match=r"config\.json is not JSON"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("AutoEncoder", {"bias": None}, "no tensor bias"),
        ("AutoEncoderNew", {"encoder.bias": None}, r"no tensor encoder\.bias"),
        ("GatedAutoEncoder", {"r_mag": None}, "no tensor r_mag"),
        ("JumpReluAutoEncoder", {"threshold": torch.tensor(1.0)}, "threshold has shape"),
        ("JumpReluAutoEncoder", {"W_enc": ENCODER}, r"W_enc has shape \[64, 16\], where \[16, 64\]"),
        ("AutoEncoderTopK", {"decoder.weight": DECODER.T}, r"decoder\.weight has shape"),
        ("BatchTopKSAE", {"threshold": None}, "no tensor threshold"),
        ("BatchTopKSAE", {"threshold": torch.tensor(-1.0)}, "training had not set it yet: use a later"),
        ("MatryoshkaBatchTopKSAE", {"threshold": torch.tensor(-1.0)}, "training had not set it yet"),
        ("BatchTopKSAE", {"encoder.weight": torch.full((WIDTH, D_IN), torch.nan)}, "holds NaN"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path: Path, name: str, changed: dict, message: str) -> None:
    """A missing, misshapen, broken or unset tensor is named with its file."""
    content = {key: w for key, w in (STORED[name] | changed).items() if w is not None}

    with pytest.raises(WrongRequest, match=rf"ae\.pt.*{message}"):
        load(save(tmp_path, name, content))


def test_topk_without_k_is_refused(tmp_path: Path) -> None:
    """A top-k coder needs its k, in the file or in the config."""
    content = {key: w for key, w in STORED["AutoEncoderTopK"].items() if key != "k"}

    with pytest.raises(WrongRequest, match=r"ae\.pt has no k above zero"):
        load(save(tmp_path, "AutoEncoderTopK", content, {"k": None}))


def test_a_pickled_class_and_a_cut_file_are_refused(tmp_path: Path) -> None:
    """A module that was pickled whole is refused by its class, a file that was cut short by its name."""
    path = save(tmp_path)
    torch.save(nn.Linear(2, 2), tmp_path / WEIGHTS)
    with pytest.raises(WrongRequest, match=r"ae\.pt holds a pickled torch\.nn\.modules\.linear\.Linear"):
        load(path)

    save(tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-400])
    with pytest.raises(WrongRequest, match=r"ae\.pt is not a whole file"):
        load(path)
