"""Train the toy from the demo's corpus.parquet: tokenizer, subject model, sparse coder, model card.

    python train.py                     remake the shipped assets in this folder
    python train.py --out DIR           make them elsewhere
    python train.py --out DIR --quick   a smoke run of under a minute; its numbers mean nothing

Runs on two CPU cores without network. Everything is seeded and the number of threads is fixed, so
that the same machine and library versions give the same files. Only rows of the train split are
learnt from. The coder is made by train_coder.py.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from train_coder import CoderPlan, make_coder
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
SEED = 22
THREADS = 2
BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"


@dataclass(frozen=True)
class Plan:
    """How much is trained: the sizes of the subject model and the length of its training."""

    vocabulary: int = 4096
    row: int = 256
    width: int = 192
    layers: int = 5
    heads: int = 6
    inner: int = 512
    epochs: int = 3
    batch: int = 16
    matrix_rate: float = 5e-3
    other_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.1
    documents: int | None = None  # None: the whole corpus
    coder: CoderPlan = CoderPlan()


QUICK = replace(
    Plan(), epochs=1, warmup=5, documents=50, coder=replace(CoderPlan(), epochs=1, firing_rows=100)
)


def seed_everything() -> None:
    """Make a run repeatable: seeds, number of threads, deterministic algorithms."""
    torch.manual_seed(SEED)
    np.random.seed(SEED)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()


def read_corpus(path: Path, most: int | None) -> dict[str, list[str]]:
    """The texts of either split, in the file's order."""
    table = pq.read_table(path, columns=["text", "split"]).to_pylist()
    if most:  # the last documents are the held-out ones, so take from both ends
        table = table[:most] + table[-most // 8 :]
    return {s: [r["text"] for r in table if r["split"] == s] for s in ("train", "heldout")}


def train_tokenizer(texts: list[str], vocabulary: int, folder: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, saved as a Hugging Face folder."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)
    config = folder / "tokenizer_config.json"  # a class name that transformers 4 knows as well
    values = json.loads(config.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    config.write_text(json.dumps(values, indent=2) + "\n")
    return fast


def pack_rows(texts: list[str], tokenizer: PreTrainedTokenizerFast, row: int) -> torch.Tensor:
    """Documents one after another, each ended by EOS, in rows that start with BOS: [rows, row]."""
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    flat = torch.tensor([t for ids in encoded for t in (*ids, tokenizer.eos_token_id)])
    rows = flat[: len(flat) // (row - 1) * (row - 1)].view(-1, row - 1)
    return torch.cat([torch.full((len(rows), 1), tokenizer.bos_token_id), rows], dim=1)


def make_subject(plan: Plan, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained subject model of the planned size."""
    config = LlamaConfig(
        vocab_size=plan.vocabulary,
        hidden_size=plan.width,
        intermediate_size=plan.inner,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads,
        num_key_value_heads=plan.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def batches(rows: torch.Tensor, plan: Plan) -> Iterator[torch.Tensor]:
    """Batches of rows, in a new random order in every epoch."""
    for _ in range(plan.epochs):
        for chosen in torch.randperm(len(rows)).split(plan.batch):
            yield rows[chosen]


def make_optimizers(model: LlamaForCausalLM, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices (it learns more from as many tokens), AdamW for the rest."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in known]
    return [
        torch.optim.Muon(
            matrices,
            lr=plan.matrix_rate,
            weight_decay=plan.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def train_subject(model: LlamaForCausalLM, rows: torch.Tensor, plan: Plan) -> int:
    """Warm-up and a cosine to zero, in bfloat16 autocast; gives the tokens seen."""
    steps = plan.epochs * -(-len(rows) // plan.batch)
    optimizers = make_optimizers(model, plan)
    schedules = [
        transformers.get_cosine_schedule_with_warmup(o, plan.warmup, steps) for o in optimizers
    ]
    model.train()
    seen, start = 0, time.time()
    for step, batch in enumerate(batches(rows, plan), 1):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        model.zero_grad()
        seen += batch.numel()
        if step % 100 == 0 or step == steps:
            speed = seen / (time.time() - start)
            progress = f"loss {loss.item():.3f}, {speed:.0f} tokens/s"
            print(f"subject {step}/{steps}: {progress}", flush=True)
    model.eval()
    return seen


@torch.no_grad()
def mean_loss(model: LlamaForCausalLM, rows: torch.Tensor) -> float:
    """Nats per predicted token."""
    losses = [model(input_ids=b, labels=b).loss.double() * len(b) for b in rows.split(16)]
    return (torch.stack(losses).sum() / len(rows)).item()


def unigram_loss(train: np.ndarray, heldout: np.ndarray, vocabulary: int) -> float:
    """Add-one unigram: nats per predicted token."""
    counts = np.bincount(train[:, 1:].ravel(), minlength=vocabulary) + 1.0
    return float(-np.log(counts / counts.sum())[heldout[:, 1:]].mean())


def bigram_loss(train: np.ndarray, heldout: np.ndarray, vocabulary: int) -> float:
    """Interpolated Kneser-Ney bigram; its discount from the counts (Ney, Essen and Kneser 1994)."""
    counts = np.zeros((vocabulary, vocabulary), np.float32)
    np.add.at(counts, (train[:, :-1].ravel(), train[:, 1:].ravel()), 1)
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    discount = once / (once + 2 * twice)
    followed = (counts > 0).sum(0) + 1.0  # in how many contexts a token is seen; add-one
    continuation = followed / followed.sum()
    totals = np.maximum(counts.sum(1), 1)
    backoff = np.where(counts.sum(1) > 0, discount * (counts > 0).sum(1) / totals, 1.0)
    before, after = heldout[:, :-1].ravel(), heldout[:, 1:].ravel()
    direct = np.maximum(counts[before, after] - discount, 0) / totals[before]
    return float(-np.log(direct + backoff[before] * continuation[after]).mean())


def measure_subject(
    model: LlamaForCausalLM, rows: dict[str, torch.Tensor], vocabulary: int
) -> dict[str, float | int]:
    """Losses of the subject model and of two baselines, on the same held-out tokens."""
    train, heldout = rows["train"].numpy(), rows["heldout"].numpy()
    return {
        "train_tokens": train.size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "heldout_tokens": int(heldout[:, 1:].size),
        "heldout_loss": mean_loss(model, rows["heldout"]),
        "train_loss": mean_loss(model, rows["train"][: len(heldout)]),
        "unigram_loss": unigram_loss(train, heldout, vocabulary),
        "bigram_loss": bigram_loss(train, heldout, vocabulary),
    }


def describe_run(start: float) -> dict[str, float | int | str]:
    """What the whole run took, and on what."""
    return {
        "cpu_seconds": round(time.process_time()),
        "wall_seconds": round(time.time() - start),
        "cores": THREADS,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def write_card(metrics: dict, plan: Plan, out: Path) -> None:
    """metrics.json and MODEL_CARD.md, from the measured numbers."""
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    template = (HERE / "model_card.template.md").read_text()
    (out / "MODEL_CARD.md").write_text(template.format(plan=plan, **metrics))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the toy subject model and its coder.")
    parser.add_argument("--out", type=Path, help="where to write (default: this folder)")
    parser.add_argument("--quick", action="store_true", help="a smoke run; needs --out")
    options = parser.parse_args()
    if options.quick and not options.out:
        parser.error("--quick would overwrite the shipped assets: give --out DIR too")
    out, plan = options.out or HERE, QUICK if options.quick else Plan()
    start = time.time()

    seed_everything()
    texts = read_corpus(HERE.parents[1] / "deployments" / "demo" / "corpus.parquet", plan.documents)
    tokenizer = train_tokenizer(texts["train"], plan.vocabulary, out / "subject")
    rows = {split: pack_rows(t, tokenizer, plan.row) for split, t in texts.items()}
    print(f"corpus: {', '.join(f'{len(r)} {s} rows' for s, r in rows.items())}", flush=True)

    subject = make_subject(plan, tokenizer)
    seen = train_subject(subject, rows["train"], plan)
    subject.to(torch.bfloat16).save_pretrained(out / "subject")
    (out / "subject/model.safetensors").chmod(0o644)
    trained = {"tokens_seen": seen, "cpu_seconds": round(time.process_time())}
    subject = LlamaForCausalLM.from_pretrained(out / "subject", dtype=torch.float32).eval()
    measured = trained | measure_subject(subject, rows, plan.vocabulary)
    print(f"subject: {measured}", flush=True)

    seed_everything()  # the coder depends on the saved subject model, not on how it came about
    before_coder = time.process_time()
    coder = make_coder(subject, rows, plan.coder, out / "coder")
    coder["cpu_seconds"] = round(time.process_time() - before_coder)
    metrics = {"subject": measured, "coder": coder, "total": describe_run(start)}
    write_card(metrics, plan, out)
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
