"""Transcoders of circuit-tracer agree with their formulas written out; the layer's files are found."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from storage.errors import WrongRequest
from tasks.coders.base import DeclaredSite, HookSite
from tasks.coders.circuit_tracer import CircuitTracer
from tasks.coders.sparse_coder import SparseCoder
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LAYERS = 3
HOOKS = {
    "model_name": "some/model",
    "scan": "some-scan",
    "feature_input_hook": "mlp.hook_in",
    "feature_output_hook": "hook_mlp_out",
}
SET = HOOKS | {"model_kind": "transcoder_set"}
CROSS = HOOKS | {"model_kind": "cross_layer_transcoder"}
QWEN = {"d_model": {"value": D_IN, "desc": None}, "d_feature": {"value": WIDTH}, "lr": {"value": 1e-4}}
SITE = "layers.1.mlp.input"

Weights = dict[str, Tensor]
Others = Mapping[str, Tensor | None]


def weights(layer: int = 1, others: Others | None = None) -> Weights:
    """One layer of a set; `others` replace tensors, null removes them."""
    made = {
        "W_enc": random(WIDTH, D_IN, seed=10 * layer + 1),
        "b_enc": random(WIDTH, seed=10 * layer + 2),
        "W_dec": random(WIDTH, D_IN, seed=10 * layer + 3),
        "b_dec": random(D_IN, seed=10 * layer + 4),
    }
    return {name: tensor for name, tensor in {**made, **(others or {})}.items() if tensor is not None}


def of_set(
    folder: Path, config: dict | None = None, name: str = "config.yaml", others: Others | None = None
) -> str:
    """A set of three layers; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(SET if config is None else config))
    for layer in range(LAYERS):
        save_file(weights(layer, others), folder / f"layer_{layer}.safetensors")
    return str(folder)


def cross_layer(folder: Path, *, threshold: Tensor | None = None, skip: bool = False) -> str:
    """A cross-layer transcoder of three layers; its path."""
    (folder / "config.yaml").write_text(yaml.safe_dump(CROSS))
    for layer in range(LAYERS):
        made = weights(layer)
        encoder = {f"{name}_{layer}": made[name] for name in ("W_enc", "b_enc", "b_dec")}
        if threshold is not None:
            encoder[f"threshold_{layer}"] = threshold
        if skip:
            encoder[f"W_skip_{layer}"] = random(D_IN, D_IN)
        save_file(encoder, folder / f"W_enc_{layer}.safetensors")
        decoder = {f"W_dec_{layer}": random(WIDTH, LAYERS - layer, D_IN, seed=layer)}
        save_file(decoder, folder / f"W_dec_{layer}.safetensors")
    return str(folder)


def load(path: str, site: str | None = SITE, layer: int | None = None) -> SparseCoder:
    """The transcoder of a layer."""
    return CircuitTracer(path=path, layer=layer).load(site, HookSite(SITE, D_IN))


def dense(coder: SparseCoder, x: Tensor) -> Tensor:
    """The coder's activations as a matrix."""
    token, feature, activation = coder.encode(x)
    out = torch.zeros(len(x), coder.width)
    out[token, feature] = activation
    return out


def topk(p: Tensor) -> Tensor:
    """The five largest, if above zero."""
    best = p.topk(5)
    return torch.zeros_like(p).scatter(1, best.indices, best.values.relu())


THRESHOLD = random(WIDTH, seed=5).abs() * 3
RULES: dict[str, tuple[dict, Weights, Callable[[Tensor], Tensor]]] = {
    "relu": ({}, {}, torch.relu),
    "relu by name": ({"activation": "relu"}, {}, torch.relu),
    "jumprelu": ({}, {"activation_function.threshold": THRESHOLD}, lambda p: p * (p > THRESHOLD)),
    "topk": ({"activation": "topk", "k": 5}, {}, topk),
    "topk of the file": ({}, {"k": torch.tensor(5)}, topk),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("skip", [True, False])
def test_a_layer_agrees_with_its_formula(tmp_path: Path, x: Tensor, rule: str, *, skip: bool) -> None:
    """Activations are the rule on x W^T + b, the reconstruction adds b_dec and x W_skip^T."""
    config, tensors, activate = RULES[rule]
    w_skip = random(D_IN, D_IN, seed=7)
    more = tensors | ({"W_skip": w_skip} if skip else {})
    coder, w = load(of_set(tmp_path, SET | config, others=more)), weights()

    expected = activate(x @ w["W_enc"].T + w["b_enc"])
    back = expected @ w["W_dec"] + w["b_dec"] + (x @ w_skip.T if skip else 0)

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(coder.reconstruct(x, coder.encode(x)), back, rtol=1e-4, atol=1e-3)
    assert "blocks.1.hook_mlp_out" == coder.target
    assert (5 if "topk" in rule else None) == coder.declared_l0


@pytest.mark.parametrize("threshold", [None, THRESHOLD])
def test_a_cross_layer_transcoder_agrees_with_its_formula(
    tmp_path: Path, x: Tensor, threshold: Tensor | None
) -> None:
    """A layer's features are encoded by themselves, and write the sum of what they write into every layer."""
    coder, w = load(cross_layer(tmp_path, threshold=threshold, skip=True)), weights()

    p = x @ w["W_enc"].T + w["b_enc"]
    expected = torch.relu(p) if threshold is None else p * (p > threshold)
    summed = random(WIDTH, 2, D_IN, seed=1).sum(1)

    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-4, atol=1e-4)
    assert coder.decoder is not None
    torch.testing.assert_close(coder.decoder, summed)
    torch.testing.assert_close(coder.decode(coder.encode(x), len(x)), expected @ summed, rtol=1e-4, atol=1e-3)
    assert coder.target is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_stored_only(tmp_path: Path, x: Tensor, dtype: torch.dtype) -> None:
    """What is stored in half precision encodes in float32."""
    half = {name: tensor.to(dtype) for name, tensor in weights().items()}
    coder = load(of_set(tmp_path, others=half))

    expected = torch.relu(x @ half["W_enc"].float().T + half["b_enc"].float())

    assert torch.float32 == coder.encoder.dtype
    torch.testing.assert_close(dense(coder, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("site", "layer"),
    [
        ("layers.2.mlp.input", None),
        ("blocks.2.mlp.hook_in", None),
        ("layers.2:centred", None),
        ("layers.1", 2),
        (None, 2),
    ],
)
def test_the_layer_is_the_one_that_is_named(tmp_path: Path, site: str | None, layer: int | None) -> None:
    """The number in the site's name says which layer, unless the config does."""
    coder = load(of_set(tmp_path), site, layer)

    assert torch.equal(weights(2)["W_enc"], coder.encoder)
    assert "blocks.2.hook_mlp_out" == coder.target


@pytest.mark.parametrize("site", [None, "embed_tokens"])
def test_no_layer_is_refused(tmp_path: Path, site: str | None) -> None:
    """Where neither names a layer, none is guessed; the checkpoint declares no site then."""
    path = of_set(tmp_path)

    with pytest.raises(WrongRequest, match=r"holds a transcoder for every layer: set source\.layer"):
        load(path, site)
    with pytest.raises(WrongRequest, match=r"set source\.layer"):
        CircuitTracer(path=path).digest(site)
    assert CircuitTracer(path=path).declared_site() is None


def test_the_input_hook_is_declared(tmp_path: Path) -> None:
    """A layer that is chosen declares its input hook as TransformerLens names it."""
    assert (
        DeclaredSite("blocks.2.mlp.hook_in") == CircuitTracer(path=of_set(tmp_path), layer=2).declared_site()
    )


@pytest.mark.parametrize("name", ["wandb-config.yaml", "wanb-config.yaml"])
@pytest.mark.parametrize("config", [True, False])
def test_sets_for_qwen_need_no_config(tmp_path: Path, name: str, *, config: bool) -> None:
    """A set with the training's config, also misspelt, reads the MLP's input; a config beside it may say less."""
    path = of_set(tmp_path, QWEN, name)
    if config:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model_name": "Qwen/Qwen3-0.6B"}))

    assert CircuitTracer.detect(path, None) == CircuitTracer(path=path)
    assert DeclaredSite("blocks.0.mlp.hook_in") == CircuitTracer(path=path, layer=0).declared_site()
    assert "blocks.1.hook_mlp_out" == load(path).target


def test_sizes_of_the_training_hold(tmp_path: Path) -> None:
    """Weights that are not as wide as the training's config says are refused."""
    path = of_set(tmp_path, QWEN | {"d_feature": {"value": WIDTH * 2}}, "wandb-config.yaml")

    with pytest.raises(WrongRequest, match=r"b_enc has shape \[64\], where \[128\] is expected"):
        load(path)


@pytest.mark.parametrize("entry", ["inner/file.safetensors", "{folder}/inner/file.safetensors"])
def test_listed_files_are_found(tmp_path: Path, entry: str) -> None:
    """A set may list its files; a relative one lies beside the config."""
    listed = ["nowhere.safetensors", entry.format(folder=tmp_path)]
    path = of_set(tmp_path, SET | {"transcoders": listed})
    (tmp_path / "inner").mkdir()
    save_file(weights(9), tmp_path / "inner/file.safetensors")

    assert torch.equal(weights(9)["W_enc"], load(path).encoder)
    with pytest.raises(WrongRequest, match=r"nowhere\.safetensors"):
        load(path, layer=0)
    with pytest.raises(WrongRequest, match=r"config\.yaml lists 2 transcoders: there is none for layer 2"):
        load(path, layer=2)


@pytest.mark.parametrize("query", ["", "?revision=main"])
def test_files_on_the_hub_are_found(tmp_path: Path, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set may list files of the Hub, whose commit then is part of what it is."""
    snapshot = tmp_path / f"hub/models--owner--name/snapshots/{COMMIT}"
    (snapshot / "inner").mkdir(parents=True)
    (snapshot / "../../refs").resolve().mkdir()
    (snapshot / "../../refs/main").resolve().write_text(COMMIT)
    save_file(weights(9), snapshot / "inner/file.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    listed = [f"hf://owner/name/inner/file.safetensors{query}"]
    path = of_set(tmp_path / "set", SET | {"transcoders": listed})

    assert torch.equal(weights(9)["W_enc"], load(path, layer=0).encoder)
    assert COMMIT in CircuitTracer(path=path, layer=0).digest(None)


@pytest.mark.parametrize("kind", [of_set, cross_layer])
def test_the_digest_is_of_the_layer(tmp_path: Path, kind: Callable[[Path], str]) -> None:
    """Each layer has its own digest, and another one when its weights or the config change."""
    path = kind(tmp_path)
    source = CircuitTracer(path=path)
    before = {layer: source.digest(f"layers.{layer}") for layer in range(LAYERS)}
    assert before[1] == CircuitTracer(path=path, layer=1).digest("layers.2")

    largest = max(tmp_path.glob("*_1.safetensors"), key=lambda file: file.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[:-4] + hashlib.sha256(content).digest()[:4])

    assert LAYERS == len(set(before.values()))
    assert before[1] == CircuitTracer(path=path, layer=1).digest(None) or before[1] != source.digest(
        "layers.1"
    )
    assert before[1] != source.digest("layers.1")
    assert before[2] == source.digest("layers.2")
    (tmp_path / "config.yaml").write_text((tmp_path / "config.yaml").read_text() + "k: 3\n")
    assert before[2] != source.digest("layers.2")


def test_a_folder_on_the_hub_has_a_digest_for_each_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All layers are of one commit, and still differ; no weights are fetched to know it."""
    root = tmp_path / "hub/models--owner--name"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text(COMMIT)
    (root / f"snapshots/{COMMIT}").mkdir(parents=True)
    (root / f"snapshots/{COMMIT}/config.yaml").write_text(yaml.safe_dump(SET))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    source = CircuitTracer(path="owner/name")

    assert f"owner/name@{COMMIT} layer_1.safetensors" == source.digest("layers.1")
    assert source.digest("layers.1") != source.digest("layers.2")
    assert source == CircuitTracer.detect("owner/name", None)


@pytest.mark.parametrize(
    ("files", "fits"),
    [
        ({"config.yaml": SET}, True),
        ({"config.yaml": CROSS}, True),
        (
            {"config.yaml": {"model_kind": "transcoder_set"}},
            True,
        ),  # and refused for its hooks when it is loaded
        ({"config.yaml": {"model_kind": "transformer"}}, False),
        ({"config.yaml": HOOKS}, False),
        ({"config.yaml": ["a", "list"]}, False),
        ({"wandb-config.yaml": QWEN}, True),
        ({"wandb-config.yaml": {"lr": {"value": 1}}}, False),
        ({"config.json": SET}, False),
        ({}, False),
    ],
)
def test_it_is_found_by_its_config(tmp_path: Path, files: dict[str, object], *, fits: bool) -> None:
    """A config of circuit-tracer tells it; others' configs and an empty folder are passed by."""
    for name, content in files.items():
        (tmp_path / name).write_text(yaml.safe_dump(content))

    assert (CircuitTracer(path=str(tmp_path)) if fits else None) == CircuitTracer.detect(str(tmp_path), None)
    assert CircuitTracer.detect(str(tmp_path / "config.yaml"), None) is None  # its path is the folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"a: [", r"config\.yaml is not YAML"),
        (b"\xff\xfe\x00", r"config\.yaml is not YAML"),
        (b"a list", r"config\.yaml holds no keys"),
        (yaml.safe_dump(HOOKS).encode(), r"config\.yaml is not a config.*model_kind: Field required"),
        (b"model_kind: transcoder_set", r"config\.yaml.*feature_input_hook: Field required"),
        (yaml.safe_dump(SET | {"model_kind": "crosscoder"}).encode(), "model_kind: Input should be"),
        (yaml.safe_dump(SET | {"activation": "gelu"}).encode(), "activation gelu, which gloss does not know"),
        (yaml.safe_dump(SET | {"activation": "topk"}).encode(), "activation topk, for which no k is given"),
        (yaml.safe_dump(SET | {"activation": "jump_relu"}).encode(), "has no thresholds"),
        (
            yaml.safe_dump(SET | {"transcoders": ["a", "hf://google/scope/layer_1/params.npz"]}).encode(),
            "another format's file: name google/scope/layer_1",
        ),
        (
            yaml.safe_dump(CROSS | {"transcoders": ["hf://google/scope/clt/params.safetensors"]}).encode(),
            "as one cross-layer transcoder",
        ),
    ],
)
def test_a_wrong_config_is_refused(tmp_path: Path, config: bytes, message: str) -> None:
    """What cannot be loaded is refused by file and key."""
    path = of_set(tmp_path)
    (tmp_path / "config.yaml").write_bytes(config)

    with pytest.raises(WrongRequest, match=message):
        load(path)


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    """A folder without a config is refused with what it holds."""
    path = of_set(tmp_path)
    (tmp_path / "config.yaml").unlink()

    with pytest.raises(WrongRequest, match=r"has no config\.yaml: it holds layer_0\.safetensors"):
        load(path)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"b_enc": None}, "no tensor b_enc"),
        ({"b_dec": None}, "no tensor b_dec"),
        ({"W_enc": None}, "no tensor W_enc"),
        ({"W_enc": random(D_IN, WIDTH)}, r"W_enc has shape \[16, 64\], where \[64, 16\] is expected"),
        ({"W_dec": random(WIDTH, D_IN + 1)}, "W_dec has shape"),
        ({"b_enc": random(WIDTH, 1)}, "b_enc has shape"),
        ({"W_skip": random(D_IN)}, "W_skip has shape"),
        ({"activation_function.threshold": random(1)}, "threshold has shape"),
        ({"W_dec": torch.full((WIDTH, D_IN), torch.nan)}, "W_dec holds NaN"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path: Path, others: dict, message: str) -> None:
    """A missing, misshapen or broken tensor is named with its file."""
    with pytest.raises(WrongRequest, match=rf"layer_1\.safetensors.*{message}"):
        load(of_set(tmp_path, others=others))


@pytest.mark.parametrize("name", ["W_enc_1.safetensors", "W_dec_1.safetensors"])
def test_truncated_and_missing_files_are_refused(tmp_path: Path, name: str) -> None:
    """A file that is cut short, or gone, is named."""
    path = cross_layer(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-10])

    with pytest.raises(WrongRequest, match=f"{name} is not a whole safetensors file"):
        load(path)
    (tmp_path / name).unlink()
    with pytest.raises(WrongRequest, match=f"has no {name}"):
        load(path)
