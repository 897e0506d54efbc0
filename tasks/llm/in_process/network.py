"""Passes of token rows through a causal model, each row after a beginning whose keys and values are kept.

Rows may have different beginnings and lengths: in a pass the columns of a row are padding, its beginning, its new
tokens, and padding again. The first padding is masked; no token of a row sees the last, which comes after it. A row
that goes on to write a reply is moved to the right, over the last padding, so that its tokens stay side by side, as
models with a sliding window need them.

Logits are taken from the model's own `forward` with its backbone replaced by given hidden states, so that whatever an
architecture does to them (scaling, soft caps) is done here too, for as many positions as are wanted.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.utils.generic import ModelOutput

from storage.errors import WrongRequest

_ROOM = 32
"""Columns by which the keys and values of rows that write a reply grow at a time."""
_SHARED = {"full_attention", "sliding_attention", "chunked_attention"}
"""Kinds of layers that keep keys and values of each token, which all prompts with the same beginning can use."""


@dataclass(frozen=True)
class Row:
    """One row of a pass."""

    past: np.ndarray
    """[P] slots that hold the keys and values of the tokens before."""
    ids: Sequence[int]
    """[S] the new tokens, at least one."""
    slots: np.ndarray
    """[n] slots that take the keys and values of the first n new tokens."""


@dataclass(frozen=True)
class _Layout:
    """Where the tokens of a pass stand; the same in all layers."""

    past: Tensor
    """[rows or 1, P] slots of the beginnings, padded on the left with slot 0."""
    kept: Tensor
    """[n] which of the rows' new tokens, counted over [rows, S], are kept."""
    slots: Tensor
    """[n] where they are kept."""
    source: Tensor | None
    """[rows, P + S] the column that each column of rows that go on to write is taken from; None where none does."""


class _Layer(CacheLayerMixin):
    """Keys and values of one layer: those kept for all prompts, and those of the rows that write a reply."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self._slots = slots
        self._kept: tuple[Tensor, Tensor] | None = None
        self.layout: _Layout | None = None
        """Of the pass; None while replies are written."""
        self.length = 0
        """Columns before those of the pass."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make room for what is kept. The system gives memory only for what is written, on a CPU."""
        self._kept = cast(
            "tuple[Tensor, Tensor]",
            tuple(
                new.new_empty(self._slots, new.shape[1], new.shape[3]) for new in (key_states, value_states)
            ),
        )
        for kept in self._kept:
            kept[0] = 0  # padding points here, and must be a number
        self.is_initialized = True

    def get_seq_length(self) -> int:
        """Columns before those of the pass."""
        return self.length

    def get_max_length(self) -> int:
        """No bound."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many columns a pass of so many new ones sees, and the first of them."""
        return self.length + query_length, 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Take new keys and values [rows, heads, S, d]; returns all that the new tokens see."""
        if self.layout is None:
            return self._append(key_states, value_states)
        if self._kept is None:
            self.lazy_initialization(key_states, value_states)
        assert self._kept is not None
        layout, seen = self.layout, []
        for new, kept in zip((key_states, value_states), self._kept, strict=True):
            before = kept[layout.past].transpose(1, 2).expand(len(new), -1, -1, -1)
            seen.append(torch.cat([before, new], dim=2) if self.length else new)
            kept[layout.slots] = new.transpose(1, 2).flatten(0, 1)[layout.kept]
        if layout.source is not None:
            columns = layout.source[:, None, :, None]
            self.keys, self.values = (
                torch.take_along_dim(whole, columns.expand(-1, whole.shape[1], -1, whole.shape[3]), 2)
                for whole in seen
            )
        return seen[0], seen[1]

    def _append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        assert self.keys is not None
        assert self.values is not None
        end = self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            room = end + _ROOM - self.keys.shape[2]
            self.keys, self.values = (
                nn.functional.pad(whole, (0, 0, 0, room)) for whole in (self.keys, self.values)
            )
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, rows: Tensor | None) -> None:
        """Go on with some of the rows that write; with none, free their memory."""
        self.keys, self.values = (
            None if rows is None or whole is None else whole[rows] for whole in (self.keys, self.values)
        )


class Network:
    """A loaded model, and the keys and values that are kept of it."""

    def __init__(self, model: PreTrainedModel, slots: int) -> None:
        """Keep keys and values of so many tokens, slot 0 among them.

        Raises `WrongRequest` for an architecture without a backbone, or with layers whose state prompts cannot share.
        """
        refuse_recurrent(model.config)
        if model.base_model is model:
            msg = f"transformers names no backbone of the architecture {model.config.model_type}: serve it with vLLM"
            raise WrongRequest(msg)
        self.model = model
        self.device = next(model.parameters()).device
        self._backbone = cast("nn.Module", model.base_model)
        self._positions = "position_ids" in signature(self._backbone.forward).parameters
        self._given = _Given()
        # A copy that shares all weights, so that nobody who uses the same model is disturbed.
        self._head = copy(model)
        self._head._modules = {**model._modules, model.base_model_prefix: self._given}  # noqa: SLF001
        layers = model.config.get_text_config().num_hidden_layers
        self._layers = [_Layer(slots) for _ in range(layers)]
        self._cache = Cache(layers=list(self._layers))
        self._hidden: Tensor | None = None
        self._mask = np.zeros((0, 0), bool)
        self.slots = slots
        """Tokens whose keys and values can be kept."""
        self.positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        """Most tokens of a prompt and its reply; None where the model has no bound."""
        self.computed = 0
        """Tokens that have passed through the model, without padding."""

    def start(self, rows: Sequence[Row], *, writes: bool = False) -> list[Tensor]:
        """Compute the new tokens of some rows; [S, d] hidden states of each row's new tokens.

        With `writes` the rows can be continued by `go_on`.
        """
        before, new = max(len(row.past) for row in rows), max(len(row.ids) for row in rows)
        ids, places = np.zeros((len(rows), new), np.int64), np.zeros((len(rows), new), np.int64)
        mask = np.zeros((len(rows), before + new), bool)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = row.ids
            places[number] = np.arange(len(row.past), len(row.past) + new)
            mask[number, before - len(row.past) :] = True
        layout = self._layout(rows, before, new, writes=writes)
        hidden = self._pass(layout, ids, np.minimum(places, self._last), mask, before)
        if len(layout.slots):
            if self._hidden is None:
                self._hidden = hidden.new_empty(self.slots, hidden.shape[2])
            self._hidden[layout.slots] = hidden.flatten(0, 1)[layout.kept]
        self.computed += sum(len(row.ids) for row in rows)
        if writes:
            self._mask = np.zeros((len(rows), before + new), bool)
            for number, row in enumerate(rows):
                self._mask[number, before + new - len(row.past) - len(row.ids) :] = True
        return [hidden[number, : len(row.ids)] for number, row in enumerate(rows)]

    def go_on(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Compute the next tokens of the rows that write, equally many of each; [rows, d] last hidden states."""
        new = len(ids[0])
        lengths = self._mask.sum(1, keepdims=True)
        self._mask = np.pad(self._mask, ((0, 0), (0, new)), constant_values=True)
        before = self._layers[0].length
        hidden = self._pass(None, np.array(ids, np.int64), lengths + np.arange(new), self._mask, before)
        self.computed += hidden.shape[0] * new
        return hidden[:, -1]

    def select(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows that write; with none, free their memory."""
        chosen = torch.tensor(rows, device=self.device) if rows else None
        for layer in self._layers:
            layer.select(chosen)
        self._mask = self._mask[list(rows)]

    def hidden(self, slots: np.ndarray) -> Tensor:
        """[n, d] hidden states of kept tokens."""
        assert self._hidden is not None
        return self._hidden[torch.from_numpy(slots).to(self.device)]

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, vocabulary] float32 logits of the token after each of n hidden states."""
        self._given.states = hidden[None]
        return self._head(input_ids=None, use_cache=False).logits[0].float()

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row that writes, so far."""
        return self._mask.sum(1).tolist()

    @property
    def _last(self) -> int:
        """The highest position."""
        return (self.positions or 2**31) - 1

    def _layout(self, rows: Sequence[Row], before: int, new: int, *, writes: bool) -> _Layout:
        past = np.stack([np.pad(row.past, (before - len(row.past), 0)) for row in rows]).astype(np.int64)
        if (past == past[0]).all():
            past = past[:1]
        source = None
        if writes:
            # Moved to the right by the padding at the row's end; what comes in on the left is masked.
            moved = [new - len(row.ids) for row in rows]
            source = np.stack([np.maximum(np.arange(before + new) - by, 0) for by in moved])
        kept = [np.arange(len(row.slots)) + number * new for number, row in enumerate(rows)]

        def on_device(numbers: np.ndarray) -> Tensor:
            return torch.from_numpy(numbers).to(self.device)

        return _Layout(
            past=on_device(past),
            kept=on_device(np.concatenate(kept)),
            slots=on_device(np.concatenate([row.slots for row in rows]).astype(np.int64)),
            source=None if source is None else on_device(source),
        )

    def _pass(
        self, layout: _Layout | None, ids: np.ndarray, places: np.ndarray, mask: np.ndarray, before: int
    ) -> Tensor:
        for layer in self._layers:
            layer.layout, layer.length = layout, before
        given = {"position_ids": torch.from_numpy(places).to(self.device)} if self._positions else {}
        if not mask.all():
            given["attention_mask"] = torch.from_numpy(mask).to(self.device)
        output = self._backbone(
            input_ids=torch.from_numpy(ids).to(self.device),
            past_key_values=self._cache,
            use_cache=True,
            **given,
        )
        self._given.output = type(output)
        if layout is not None:
            for layer in self._layers:
                layer.length = before + ids.shape[1]
        return output.last_hidden_state


class _Given(nn.Module):
    """Stands for a backbone: its hidden states are those that it was given."""

    states: Tensor
    output: type[ModelOutput]
    """What the backbone returns."""

    def forward(self, *_args: Any, **_kwargs: Any) -> ModelOutput:
        """The hidden states."""
        return self.output(last_hidden_state=self.states)


def refuse_recurrent(config: Any) -> None:
    """Raise `WrongRequest` for a model whose layers keep one state for all tokens, as Mamba's do."""
    text = config.get_text_config()
    other = sorted(set(getattr(text, "layer_types", None) or ()) - _SHARED)
    if other or getattr(text, "is_encoder_decoder", False) or hasattr(text, "state_size"):
        what = f"layers of the kind {other[0]}" if other else f"the architecture {text.model_type}"
        msg = (
            f"the model has {what}, whose state prompts with the same beginning cannot share: serve it with vLLM and "
            "name it in a reader of kind openai"
        )
        raise WrongRequest(msg)


def fits_into_memory(compute: Callable[[], None]) -> bool:
    """Compute something; False where memory ran out, with all of it freed: until then the error holds its tensors."""
    try:
        compute()
    except RuntimeError as error:
        message = str(error).casefold()  # torch has no class of its own for a CPU
        if not isinstance(error, torch.OutOfMemoryError) and (
            "not enough memory" not in message and "out of memory" not in message
        ):
            raise
        return False
    return True
