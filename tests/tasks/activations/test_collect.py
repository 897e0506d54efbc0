"""What is collected equals a dense computation over the whole model, sorted for its table."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from storage.errors import RunFailed
from storage.tables import ACTIVATIONS
from tasks.activations.collect import FiringColumns, HookedCoder, _by_feature, firings, round_activations
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tasks.coders.activation_functions import JumpRelu, TopK
from tasks.coders.sparse_coder import SparseCoder
from tests.tasks.activations.models import coder, model, tokens, words

IDS = tokens(7, 12)
FIRST = 1000


def hooked() -> dict[str, HookedCoder]:
    """Three coders at two sites."""
    item, other = coder(48, k=6), coder(20, k=2)
    relu = SparseCoder(item.encoder, item.encoder_bias, item.centre, item.decoder, item.decoder_bias,
                       JumpRelu(torch.tensor(3.0)))  # fmt: skip
    return {
        "a": HookedCoder(Site("layers.2"), item),
        "b": HookedCoder(Site("layers.2"), relu),
        "c": HookedCoder(Site("layers.1", "input"), other),
    }


def dense(subject: LoadedSubject, name: str, ids: np.ndarray, left_out: np.ndarray) -> FiringColumns:
    """The firings of a coder by dense arithmetic on hidden states that the model reports itself."""
    site, c, _ = hooked()[name]
    states = subject.model(torch.from_numpy(ids).long(), output_hidden_states=True).hidden_states
    x = states[3] if site.module == "layers.2" else states[1]
    p = torch.relu((x - c.centre) @ c.encoder.T + c.encoder_bias)
    if isinstance(c.activation, TopK):
        p = torch.where(p >= p.topk(c.activation.k).values[..., -1:], p, 0)
    else:
        assert isinstance(c.activation, JumpRelu)
        p = p * (p > c.activation.threshold)
    p[torch.from_numpy(left_out)] = 0
    sequence, position, feature = p.nonzero().numpy().T
    order = np.lexsort((position, sequence, feature))
    values = p[p != 0].numpy()
    return FiringColumns(*(column[order] for column in (feature, sequence + FIRST, position, values)))


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
@pytest.mark.parametrize("keep_bos", [True, False])
def test_firings_are_the_dense_ones(llama: LoadedSubject, batch: int, *, keep_bos: bool) -> None:
    """Every firing of every coder is there once, in order, whatever the batch."""
    result = firings(llama, hooked(), IDS, FIRST, batch, keep_bos=keep_bos)

    assert ["a", "b", "c"] == list(result)
    for name, columns in result.items():
        expected = dense(llama, name, IDS, (IDS == llama.bos) & (not keep_bos))
        assert len(expected.feature) > 0
        for want, have in zip(expected[:3], columns[:3], strict=True):
            np.testing.assert_array_equal(want, have)
        np.testing.assert_allclose(expected.activation, columns.activation, rtol=2e-3, atol=1e-4)


def test_columns_fit_the_table(llama: LoadedSubject) -> None:
    """The columns have the types of the `activations` table."""
    columns = firings(llama, hooked(), IDS, FIRST)["a"]

    for name, column in columns._asdict().items():
        assert ACTIVATIONS.schema.field(name).type == pa.from_numpy_dtype(column.dtype)


def test_every_bos_is_left_out(llama: LoadedSubject) -> None:
    """Where the first token also separates documents, all of its positions are left out."""
    ids = IDS.copy()
    ids[:, 5] = 0

    result = firings(llama, hooked(), ids, 0)["a"]

    assert set(result.position.tolist()) == set(range(12)) - {0, 5}


def test_without_bos_the_first_position_is_left_out() -> None:
    """A tokenizer without a first token leaves out the first position, whatever stands there."""
    subject = LoadedSubject(model("llama"), words(bos=None), torch.device("cpu"))

    result = firings(subject, hooked(), tokens(3, 12, None), 0)["a"]

    assert set(result.position.tolist()) == set(range(1, 12))


def test_no_sequences_no_firings(llama: LoadedSubject) -> None:
    """A shard without sequences gives empty columns."""
    result = firings(llama, hooked(), IDS[:0], 0)

    assert {0} == {len(column) for columns in result.values() for column in columns}


def test_one_architecture_is_like_another(subject: LoadedSubject) -> None:
    """Every architecture gives k firings at most on each token that has text."""
    kind = subject.model.config.model_type
    site = Site(f"{'h' if kind == 'gpt2' else 'layers'}.1")

    result = firings(subject, {"a": HookedCoder(site, coder(k=6))}, IDS, 0)["a"]
    _, counts = np.unique(result.sequence * 100 + result.position, return_counts=True)

    assert 7 * 11 == len(counts)
    assert counts.max() <= 6


def test_infinity_fails_the_run() -> None:
    """A subject model that overflows fails the run with the site and the sequence."""
    subject = LoadedSubject(model("llama"), words(), torch.device("cpu"))
    norm = dict(subject.model.named_modules())["model.layers.1.input_layernorm"]
    assert isinstance(norm, nn.Module)
    torch.nn.init.constant_(norm.weight, torch.inf)  # pyright: ignore[reportArgumentType]

    with pytest.raises(RunFailed, match=r"NaN or infinity at layers\.2 in sequences from 1000"):
        firings(subject, hooked(), IDS, FIRST)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, 65_535, 65_536, 65_537, 2**20, 2**31 - 1])))
def test_features_sort_stably(features: list[int]) -> None:
    """Features of any width are put in order, equal ones left as they came."""
    column = np.array(features, np.int32)

    np.testing.assert_array_equal(np.argsort(column, kind="stable"), _by_feature(torch.from_numpy(column)))


@settings(deadline=None)
@given(st.lists(st.floats(2.0**-14, 65_000, width=32), min_size=1), st.booleans())
def test_activations_are_rounded_as_halves_are(values: list[float], negative: bool) -> None:
    """Inside the range of a half-precision number, rounding gives what that one would; outside, 11 bits as well."""
    x = torch.tensor(values) * (-1 if negative else 1)

    assert torch.equal(x.half().float(), round_activations(x))
    assert torch.equal(round_activations(x) * 2.0**60, round_activations(x * 2.0**60))


def test_rounding_errs_by_less_than_a_2048th() -> None:
    """Over all float32 between two powers of 2 the worst relative error is half the last bit's, just below 2^-11."""
    x = torch.arange(2**23, dtype=torch.int32).add(0x3F800000).view(torch.float32)

    error = ((round_activations(x).double() - x.double()).abs() / x.double()).max().item()

    assert 2.0**-11 / (1 + 2.0**-11) == pytest.approx(error, rel=1e-12)
    assert error < 2.0**-11
