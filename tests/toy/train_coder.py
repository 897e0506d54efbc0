"""Train a TopK sparse coder on one site of the toy's subject model, and write it in two layouts.

The site is the output of `layers.2`. A vector x of it is coded as

    codes = top_k(relu(W_enc (x - b_dec) + b_enc)),    x ~ codes W_dec + b_dec,

with rows of W_dec of length one. Latents that have not fired for a while are given the error of
the others to explain (the auxiliary loss of Gao et al. 2024), which keeps them alive. The BOS
position, a constant vector, is left out of training and of every number.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaForCausalLM

LAYER = 2
SITE = f"layers.{LAYER}"
HOOK = f"blocks.{LAYER}.hook_resid_post"
COMMON = 200  # firings that a feature needs to be explained well


@dataclass(frozen=True)
class CoderPlan:
    """Size of the coder and length of its training."""

    latents: int = 2048
    k: int = 24
    epochs: int = 2
    batch: int = 1024
    rate: float = 1e-3
    auxiliary_k: int = 96
    auxiliary_weight: float = 1 / 32
    dead_after: int = 100_000  # samples without a firing
    firing_rows: int = 3_922  # rows of the corpus on which firings are counted (1M tokens)


class Coder(nn.Module):
    """A TopK sparse coder, with tensors named as in the sparsify layout."""

    def __init__(self, width: int, latents: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.encoder = nn.Linear(width, latents)
        nn.init.zeros_(self.encoder.bias)
        self.W_dec = nn.Parameter(F.normalize(self.encoder.weight.detach().clone(), dim=1))
        self.encoder.weight.data = self.W_dec.detach().clone()
        self.b_dec = nn.Parameter(torch.zeros(width))

    def latents(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.encoder(x - self.b_dec))

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The k largest latents of every vector: values and indices, [n, k]."""
        return self.latents(x).topk(self.k, dim=-1)

    def decode(self, values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return combine(values, indices, self.W_dec) + self.b_dec

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decode(*self.encode(x))


def combine(values: torch.Tensor, indices: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Sum of the indexed rows, weighted by the values."""
    dense = values.new_zeros(len(values), len(rows)).scatter(1, indices, values)
    return dense @ rows


@torch.no_grad()
def activations(model: LlamaForCausalLM, rows: torch.Tensor) -> torch.Tensor:
    """The site's vectors for every token but BOS, [tokens, width], in half precision."""
    kept: list[torch.Tensor] = []
    hook = model.model.layers[LAYER].register_forward_hook(
        lambda _module, _inputs, output: kept.append(first(output)[:, 1:].flatten(0, 1).half())
    )
    for batch in rows.split(16):
        model.model(input_ids=batch)
    hook.remove()
    return torch.cat(kept)


def first(output: torch.Tensor | tuple) -> torch.Tensor:
    """A decoder layer's residual stream, whether or not it is given inside a tuple."""
    return output[0] if isinstance(output, tuple) else output


def geometric_median(x: torch.Tensor, rounds: int = 20) -> torch.Tensor:
    """Weiszfeld's iteration."""
    centre = x.mean(0)
    for _ in range(rounds):
        weights = 1 / (x - centre).norm(dim=1, keepdim=True).clamp_min(1e-6)
        centre = (weights * x).sum(0) / weights.sum()
    return centre


def auxiliary_loss(
    coder: Coder, x: torch.Tensor, error: torch.Tensor, dead: torch.Tensor, k: int
) -> torch.Tensor:
    """How badly the dead latents explain what the living leave over, relative to all of it."""
    which = dead.nonzero().squeeze(1)
    weight, bias = coder.encoder.weight[which], coder.encoder.bias[which]
    latents = F.relu(F.linear(x - coder.b_dec, weight, bias))
    values, indices = latents.topk(min(k, len(which)), dim=-1)
    guess = combine(values, indices, coder.W_dec[which])
    return (guess - error).square().sum() / error.square().sum()


def keep_unit_norm(coder: Coder) -> None:
    """Take the gradient's part along each decoder row away, before a step."""
    rows, gradient = coder.W_dec.data, coder.W_dec.grad
    gradient -= (gradient * rows).sum(1, keepdim=True) * rows


def batches(samples: torch.Tensor, plan: CoderPlan) -> Iterator[torch.Tensor]:
    """Full batches of samples, in a new random order in every epoch."""
    for _ in range(plan.epochs):
        whole = len(samples) // plan.batch * plan.batch
        for chosen in torch.randperm(len(samples))[:whole].split(plan.batch):
            yield samples[chosen].float()


def train(samples: torch.Tensor, plan: CoderPlan) -> Coder:
    """A coder for the samples; trained at unit scale, then scaled back to theirs."""
    scale = samples[:50_000].float().square().mean().sqrt().item()
    coder = Coder(samples.shape[1], plan.latents, plan.k)
    coder.b_dec.data = geometric_median(samples[:50_000].float() / scale)
    optimizer = torch.optim.Adam(coder.parameters(), lr=plan.rate, betas=(0.9, 0.999))
    steps = plan.epochs * (len(samples) // plan.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / 100, 5 * (steps - s) / steps)
    )
    silent = torch.zeros(plan.latents, dtype=torch.long)
    start = time.time()
    for step, x in enumerate(batches(samples, plan), 1):
        x = x / scale
        values, indices = coder.encode(x)
        error = x - coder.decode(values, indices)
        loss = error.square().sum() / (x - x.mean(0)).square().sum()
        silent += len(x)
        silent[indices[values > 0].unique()] = 0
        dead = silent > plan.dead_after
        total = loss
        if dead.any():
            total = loss + plan.auxiliary_weight * auxiliary_loss(
                coder, x, error.detach(), dead, plan.auxiliary_k
            )
        optimizer.zero_grad()
        total.backward()
        keep_unit_norm(coder)
        optimizer.step()
        schedule.step()
        coder.W_dec.data = F.normalize(coder.W_dec.data, dim=1)
        if step % 200 == 0 or step == steps:
            speed = step * plan.batch / (time.time() - start)
            progress = f"FVU {loss.item():.4f}, {int(dead.sum())} silent, {speed:.0f} samples/s"
            print(f"coder {step}/{steps}: {progress}", flush=True)
    coder.encoder.bias.data *= scale
    coder.b_dec.data *= scale
    return coder.requires_grad_(False)


def count_firings(coder: Coder, samples: torch.Tensor) -> torch.Tensor:
    """How often each latent fires."""
    counts = torch.zeros(coder.W_dec.shape[0], dtype=torch.long)
    for chunk in samples.split(4096):
        values, indices = coder.encode(chunk.float())
        counts += torch.bincount(indices[values > 0], minlength=len(counts))
    return counts


@torch.no_grad()
def spliced_loss(model: LlamaForCausalLM, coder: Coder, rows: torch.Tensor) -> float:
    """The subject's loss with the site's vectors, BOS's apart, as the coder gives them back."""

    def replace(_module: nn.Module, _inputs: tuple, output: torch.Tensor | tuple) -> torch.Tensor:
        x = first(output)
        coded = torch.cat([x[:, :1], coder(x[:, 1:].flatten(0, 1)).view_as(x[:, 1:])], dim=1)
        return (coded, *output[1:]) if isinstance(output, tuple) else coded

    hook = model.model.layers[LAYER].register_forward_hook(replace)
    losses = [model(input_ids=b, labels=b).loss.item() * len(b) for b in rows.split(16)]
    hook.remove()
    return sum(losses) / len(rows)


def measure(coder: Coder, heldout: torch.Tensor, corpus: torch.Tensor) -> dict[str, float | int]:
    """Fit on held-out activations, and how often the latents fire on the corpus."""
    x = heldout.float()
    error = x - torch.cat([coder(part) for part in x.split(4096)])
    counts = count_firings(coder, corpus)
    return {
        "latents": len(counts),
        "k": coder.k,
        "heldout_samples": len(x),
        "fvu": (error.square().sum() / (x - x.mean(0)).square().sum()).item(),
        "l0": count_firings(coder, heldout).sum().item() / len(heldout),
        "firing_tokens": len(corpus),
        "dead": int((counts == 0).sum()),
        "dead_share": (counts == 0).float().mean().item(),
        "features_common": int((counts >= COMMON).sum()),
        "firings_median": int(counts.median()),
        "firings_most": int(counts.max()),
    }


def write_sparsify(coder: Coder, folder: Path) -> None:
    """The layout of EleutherAI's sparsify: one folder per site."""
    latents, width = coder.W_dec.shape
    config = {
        "activation": "topk",
        "expansion_factor": latents // width,
        "normalize_decoder": True,
        "num_latents": latents,
        "k": coder.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": width,
    }
    write(coder.state_dict(), config, folder / SITE, "sae.safetensors")


def write_saelens(coder: Coder, row: int, folder: Path) -> None:
    """The layout of SAELens, version 6."""
    state = coder.state_dict()
    tensors = {
        "W_enc": state["encoder.weight"].T.contiguous(),
        "b_enc": state["encoder.bias"],
        "W_dec": state["W_dec"],
        "b_dec": state["b_dec"],
    }
    latents, width = coder.W_dec.shape
    config = {
        "d_in": width,
        "d_sae": latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.0.0",
            "model_name": "subject",
            "hook_name": HOOK,
            "hf_hook_name": f"model.{SITE}",
            "context_size": row,
            "prepend_bos": True,
            "model_class_name": "AutoModelForCausalLM",
        },
        "architecture": "topk",
        "k": coder.k,
        "rescale_acts_by_decoder_norm": False,
    }
    write(tensors, config, folder, "sae_weights.safetensors")


def write(tensors: dict[str, torch.Tensor], config: dict, folder: Path, name: str) -> None:
    """A config and its tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({k: v.detach().clone() for k, v in tensors.items()}, folder / name)
    (folder / name).chmod(0o644)


def check_layouts(folder: Path, x: torch.Tensor) -> None:
    """Both written layouts must hold the same numbers and give the same codes."""
    a = load_file(folder / "sparsify" / SITE / "sae.safetensors")
    b = load_file(folder / "saelens" / "sae_weights.safetensors")
    one = F.relu(F.linear(x - a["b_dec"], a["encoder.weight"], a["encoder.bias"]))
    two = F.relu(F.linear(x - b["b_dec"], b["W_enc"].T, b["b_enc"]))
    if not (torch.equal(one, two) and torch.equal(a["W_dec"], b["W_dec"])):
        raise SystemExit("the two written layouts of the coder disagree")


def make_coder(
    model: LlamaForCausalLM, rows: dict[str, torch.Tensor], plan: CoderPlan, folder: Path
) -> dict[str, float | int]:
    """Train on the train rows, write both layouts, measure."""
    samples = activations(model, rows["train"])
    print(f"coder: {len(samples)} activations of {SITE}", flush=True)
    coder = train(samples, plan)
    write_sparsify(coder, folder / "sparsify")
    write_saelens(coder, rows["train"].shape[1], folder / "saelens")
    heldout = activations(model, rows["heldout"])
    check_layouts(folder, heldout[:512].float())
    corpus = samples[: plan.firing_rows * (rows["train"].shape[1] - 1)]
    seen = plan.epochs * (len(samples) // plan.batch) * plan.batch
    numbers = {"samples_seen": seen, **measure(coder, heldout, corpus)}
    numbers["spliced_loss"] = spliced_loss(model, coder, rows["heldout"])
    if not all(math.isfinite(v) for v in numbers.values()):
        raise SystemExit(f"the coder's numbers are not finite: {numbers}")
    return numbers
