"""What a process keeps in memory, and which site a coder gets."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from storage.errors import RunFailed, WrongRequest
from tasks.activations import model_cache
from tasks.activations.collect import HookedCoder, firings, site_vectors
from tasks.activations.config import Coder
from tasks.activations.corpus import Corpus
from tasks.activations.pack import packed_rows
from tasks.activations.sites import Site
from tasks.activations.subject import Subject
from tasks.coders.base import SiteStatistics
from tasks.coders.baselines import Neurons, RandomWeights
from tasks.coders.saelens import SAELens
from tasks.coders.sparse_coder import StandardisedCoder
from tasks.coders.sparsify import Sparsify
from tests.flows.command import CORPUS, TOY
from tests.tasks.activations.models import D as NARROW
from tests.tasks.activations.models import model, words
from tests.tasks.coders.checkpoints import store

SUBJECT = Subject(model=str(TOY / "subject"), device="cpu")
D = 192


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Models are freed after each test."""
    yield
    model_cache.evict_other_runs("nothing")
    model_cache.evict_all()


def test_another_work_loads_anew(tmp_path: Path) -> None:
    """Other weights may lie under the same names: a process keeps a coder for one work and frees it for the next."""
    folder = store(
        tmp_path / "layers.2", "sae.safetensors", {"d_in": D, "num_latents": 64, "k": 5}, _weights()
    )
    coder = Coder(site="layers.2", source=Sparsify(path=str(folder.parent)), name="c")
    model_cache.evict_other_runs("one")
    first = model_cache.loaded_coder(SUBJECT, coder).coder.encoder.clone()
    save_file({k: 2 * v for k, v in load_file(folder / "sae.safetensors").items()}, folder / "new")
    (folder / "new").replace(folder / "sae.safetensors")

    model_cache.evict_other_runs("one")
    kept = model_cache.loaded_coder(SUBJECT, coder).coder.encoder
    assert torch.equal(first, kept)
    model_cache.evict_other_runs("two")
    assert torch.equal(2 * first, model_cache.loaded_coder(SUBJECT, coder).coder.encoder)


def _weights() -> dict[str, torch.Tensor]:
    make = torch.Generator().manual_seed(1)
    shapes = {"encoder.weight": (64, D), "encoder.bias": (64,), "W_dec": (64, D), "b_dec": (D,)}
    return {name: torch.randn(*shape, generator=make) for name, shape in shapes.items()}


def test_head_space_is_not_the_stream() -> None:
    """A coder at the heads' outputs, as wide as the stream, has no logits of its own; one on the stream has."""
    source = RandomWeights(width=64, k=4)
    places = ("layers.2", "layers.2.self_attn.o_proj.input")
    known = SiteStatistics((0.0,) * D, (1.0,) * D)
    model_cache.evict_other_runs(
        "places", {Coder(site=site, source=source, name="r"): known for site in places}
    )

    def writes(site: str, kind: RandomWeights | Neurons = source) -> bool:
        return model_cache.writes_to_the_stream(SUBJECT, Coder(site=site, source=kind, name="r"))

    assert writes("layers.2")
    assert not writes("layers.2.self_attn.o_proj.input")
    assert writes("layers.2.mlp.down_proj.input", Neurons())


def test_a_coder_that_nobody_places_is_refused() -> None:
    """Neurons without a site are refused with what to give."""
    with pytest.raises(WrongRequest, match="nothing names the site of the coder n: give it one"):
        model_cache.loaded_coder(SUBJECT, Coder(source=Neurons(), name="n"))


RANDOM = Coder(site="layers.2", source=RandomWeights(width=64, k=4), name="r")
TEXT = Corpus(path=str(CORPUS), tokens=64 * 32, sequence=32)


def test_a_random_coder_is_made_to_the_measure_of_its_site() -> None:
    """Mean and deviation are of the corpus' first sequences without their first token, and nearly all features fire."""
    fit = model_cache.check_coders(SUBJECT, TEXT, (RANDOM,))["r"]
    subject, measured = model_cache.loaded_subject(SUBJECT), model_cache.measured_statistics()[RANDOM]
    rows = packed_rows(TEXT.documents(), subject.tokenizer, 32, model_cache.CHECKED_SEQUENCES)
    tokens = np.array([row["tokens"] for row in rows])
    x = next(site_vectors(subject, [Site("layers.2")], tokens, len(tokens), keep_bos=False)).vectors[
        Site("layers.2")
    ]

    np.testing.assert_allclose(x.double().mean(0), measured.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x.double().std(0, correction=0), measured.deviation, rtol=1e-5)
    assert (4, 64, len(x), True) == (fit.l0, fit.width, fit.tokens, fit.baseline)
    assert fit.firing > 60


@pytest.mark.parametrize("tokens", [TEXT.tokens, 4 * TEXT.tokens])
def test_the_measure_depends_on_the_first_sequences_alone(tokens: int) -> None:
    """Neither more of the corpus, nor other coders, nor a process that begins anew change the coder."""
    other = RANDOM.model_copy(update={"site": "layers.1", "name": "o"})
    model_cache.check_coders(SUBJECT, TEXT, (RANDOM,))
    first = model_cache.measured_statistics()[RANDOM]
    model_cache.evict_all()

    model_cache.check_coders(SUBJECT, TEXT.model_copy(update={"tokens": tokens}), (other, RANDOM))

    assert first == model_cache.measured_statistics()[RANDOM]


def test_what_was_measured_before_is_taken() -> None:
    """A process that is told what the site is like, as another had measured it, makes that one's coder."""
    model_cache.evict_other_runs("work")
    model_cache.check_coders(SUBJECT, TEXT, (RANDOM,))
    own = model_cache.loaded_coder(SUBJECT, RANDOM).coder
    told = SiteStatistics((0.5,) * D, (2.0,) * D)

    model_cache.evict_other_runs("work", {RANDOM: told})
    taken = model_cache.loaded_coder(SUBJECT, RANDOM).coder

    assert isinstance(own, StandardisedCoder)
    assert isinstance(taken, StandardisedCoder)
    assert not torch.equal(own.mean, taken.mean)
    assert torch.equal(torch.full((D,), 2.0), taken.deviation)


def wider(tmp_path: Path) -> Subject:
    """A model whose tokenizer knows one token more than it has embeddings for, and which does not name it first."""
    made, tokenizer = model("llama"), words()
    tokenizer.add_tokens(["MR"])
    made.resize_token_embeddings(len(tokenizer) - 1)
    made.save_pretrained(tmp_path / "subject")
    tokenizer.save_pretrained(tmp_path / "subject")
    return Subject(model=str(tmp_path / "subject"), device="cpu")


def corpus(tmp_path: Path, *texts: str) -> Corpus:
    """A corpus of these documents."""
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Corpus(path=str(tmp_path / "c.jsonl"), tokens=10**6, sequence=16)


@pytest.mark.parametrize("at", [0, 2 * model_cache.SCANNED_SEQUENCES])
def test_a_token_without_an_embedding_is_refused(tmp_path: Path, at: int) -> None:
    """Wherever in the corpus it occurs, the sentence names it, before anything is written."""
    subject, filler = wider(tmp_path), ["and so on. " * 10] * at
    coders = (Coder(site="layers.1", source=Neurons(k=4), name="n"),)
    message = r"subject gives token \d+ \('MR'\), and the model has embeddings for \d+ tokens only: resize"

    assert model_cache.check_coders(subject, corpus(tmp_path, "Bennet met Mrs Hill. " * 9, *filler), coders)
    model_cache.evict_all()
    with pytest.raises(WrongRequest, match=message):
        model_cache.check_coders(
            subject, corpus(tmp_path, "Bennet met Mrs Hill. " * 9, *filler, "MR Bennet " * 9), coders
        )


def test_a_shard_with_such_a_token_fails_in_a_sentence(tmp_path: Path) -> None:
    """Where the corpus has changed after it was looked through, the run ends with the same words."""
    result = wider(tmp_path).load()

    with pytest.raises(RunFailed, match="gives token 5000"):
        firings(result, {}, np.full((1, 16), 5000), 0)


CENTRED = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}


def hooked(
    tmp_path: Path, metadata: dict[str, object], site: str | None, cfg: dict[str, object] | None = None
) -> HookedCoder:
    """A SAELens checkpoint that says so much of its place in a GPT-2, hooked to one."""
    model("gpt2").save_pretrained(tmp_path / "subject")
    words().save_pretrained(tmp_path / "subject")
    cfg = {"architecture": "standard", "d_in": NARROW, "d_sae": 32, "metadata": metadata} | (cfg or {})
    weights = {"W_enc": torch.ones(NARROW, 32), "W_dec": torch.ones(32, NARROW)}
    biases = {"b_enc": torch.zeros(32), "b_dec": torch.zeros(NARROW)}
    source = SAELens(path=str(store(tmp_path / "sae", "sae_weights.safetensors", cfg, weights | biases)))
    subject = Subject(model=str(tmp_path / "subject"), device="cpu")
    return model_cache.loaded_coder(subject, Coder(site=site, source=source, name="c"))


def placed(tmp_path: Path, metadata: dict[str, object], site: str | None = None) -> Site:
    """Its site."""
    return hooked(tmp_path, metadata, site).site


@pytest.mark.parametrize(
    ("metadata", "site", "result"),
    [
        ({}, None, "h.1"),
        (CENTRED, None, "h.1:centred"),
        (CENTRED, "blocks.2.hook_resid_post", "h.2"),
    ],
)
def test_a_checkpoint_places_its_coder(
    tmp_path: Path, metadata: dict[str, object], site: str | None, result: str
) -> None:
    """Where the config gives no site the checkpoint's is taken, centred if its model's weights were."""
    assert result == str(placed(tmp_path, {"hook_name": "blocks.1.hook_resid_post"} | metadata, site))


@pytest.mark.parametrize(
    ("metadata", "site", "result"),
    [
        ({}, None, "h.1.mlp"),
        (CENTRED, None, "h.1.mlp:centred"),
        (CENTRED, "blocks.1.hook_mlp_in", "h.1.mlp:centred"),
    ],
)
def test_what_a_transcoder_writes_is_centred_as_its_models_weights_were(
    tmp_path: Path, metadata: dict[str, object], site: str | None, result: str
) -> None:
    """It is compared with what it was trained to give; a site that the config names says nothing of that."""
    transcoder: dict[str, object] = {"architecture": "transcoder", "d_out": NARROW}
    places = {"hook_name": "blocks.1.hook_mlp_in", "hook_name_out": "blocks.1.hook_mlp_out"}

    assert result == str(hooked(tmp_path, places | metadata, site, transcoder).target)


def test_a_checkpoint_that_names_no_one_tensor_is_refused(tmp_path: Path) -> None:
    """What the config has to say instead is in the error."""
    with pytest.raises(
        WrongRequest, match=r"write h\.1\.ln_2:normalised \(before\) or h\.1\.ln_2 \(after\)$"
    ):
        placed(tmp_path, {"hook_name": "blocks.1.ln2.hook_normalized"})


def test_a_sequence_longer_than_the_model_reads_is_refused() -> None:
    """A model has so many positions, and a longer sequence is refused before anything runs."""
    corpus = Corpus(path=str(CORPUS), tokens=8192, sequence=4096)

    with pytest.raises(WrongRequest, match=r"corpus\.sequence is 4096, and the model has 512 positions"):
        model_cache.check_coders(SUBJECT, corpus, ())
