"""Loads a reader's model and tokenizer, makes room for keys and values, and refuses models that cannot answer.

A model is kept while a reader has it open: readers of the same model share it, and between the stages of a run its
memory is free.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from transformers import PreTrainedModel

from storage.errors import WrongRequest
from tasks.llm.in_process.block_cache import BLOCK
from tasks.llm.in_process.config import TransformersConfig
from tasks.llm.in_process.engine import Engine
from tasks.llm.in_process.grammars import Grammars
from tasks.llm.in_process.network import Network, Row, refuse_recurrent
from tasks.llm.in_process.prompts import Prompts
from tasks.llm.request import Request
from tasks.model_files.memory import available_memory

_CPU_BATCH, _GPU_BATCH = 1 << 11, 1 << 14
"""Tokens that pass through a model at once: a CPU is not faster with more, a GPU is."""
_CPU_CACHE = 2e9
"""Most bytes for keys and values on a CPU, whose memory others want too."""
_FEWEST = 1024
"""Tokens whose keys and values a reader must have room for: a prompt with few-shots is longer."""

_engines: WeakValueDictionary[str, Engine] = WeakValueDictionary()
_models: WeakValueDictionary[tuple[object, ...], PreTrainedModel] = WeakValueDictionary()
_LOADING = Lock()


def engine(config: TransformersConfig) -> Engine:
    """The engine of a reader; the same for equal configs as long as one of them is open.

    Raises `WrongRequest` for a model that cannot be loaded, does not fit into memory, or cannot be a reader.
    """
    key = config.model_dump_json(exclude={"optional", "replies", "in_flight"})
    with _LOADING:
        made = _engines.get(key)
        if made is None:
            made = _engines[key] = _made(config)
        return made


@torch.inference_mode()
def _made(config: TransformersConfig) -> Engine:
    tokenizer = config.files.tokenizer()
    model = _model(config)
    refuse_recurrent(model.config)
    refused = (
        f"the reader's model {config.model} ({model.config.model_type}) cannot be run with kept keys and values here: "
        "serve it with vLLM and name it in a reader of kind openai"
    )
    tokens = list(range(8))
    tried = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=True)
    past = getattr(tried, "past_key_values", None)
    if past is None or getattr(model, "_is_stateful", False):
        raise WrongRequest(refused)
    layers = [layer for layer in past.layers if layer.keys is not None]
    hidden = model.config.get_text_config().hidden_size * tried.logits.element_size()
    each = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers) // len(tokens) + hidden
    network = Network(model, _slots(config, model.device, each))
    none = np.zeros(0, np.int64)
    try:
        own = network.logits(network.start([Row(none, tokens, none)])[0])
    except Exception as error:  # whatever an architecture that is run otherwise raises
        raise WrongRequest(refused) from error
    plain = tried.logits[0].float()
    bound = torch.finfo(tried.logits.dtype).eps ** 0.5
    if not torch.allclose(own, plain, rtol=bound, atol=bound * float(plain.abs().max()), equal_nan=True):
        raise WrongRequest(refused)
    named: Any = getattr(model.generation_config, "eos_token_id", None)
    named = [tokenizer.eos_token_id, *(named if isinstance(named, list | tuple) else [named])]
    ends = frozenset(token for token in named if isinstance(token, int))
    return Engine(
        network,
        Prompts(tokenizer, config.chat, config.model),
        Grammars(tokenizer, tried.logits.shape[-1], sorted(ends)),
        ends,
        config.batch_tokens or (_CPU_BATCH if model.device.type == "cpu" else _GPU_BATCH),
    )


def _model(config: TransformersConfig) -> PreTrainedModel:
    key = (config.model, config.revision, config.dtype, config.device)
    loaded = _models.get(key)
    if loaded is None:
        loaded = _models[key] = config.files.load(config.dtype, config.device)
    return loaded


def _slots(config: TransformersConfig, device: torch.device, each: int) -> int:
    """Tokens whose keys and values are kept, where each takes so many bytes. Raises `WrongRequest` for too few."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    most = float("inf") if free is None else free / 3
    wanted = (
        config.cache_gb * 1e9 if config.cache_gb else min(most, _CPU_CACHE if device.type == "cpu" else most)
    )
    if config.cache_gb and wanted < _FEWEST * each <= most:
        msg = (
            f"the reader's model {config.model} needs {_FEWEST * each / 1e9:.2g} GB for the keys and values of "
            f"{_FEWEST:,} tokens, the fewest that a reader keeps: set a higher cache_gb than {config.cache_gb:g}"
        )
        raise WrongRequest(msg)
    if wanted > most or wanted < _FEWEST * each:
        less = ", or set a lower cache_gb" if wanted > most else ""
        msg = (
            f"beside the reader's model {config.model} {(free or 0) / 1e9:,.2f} GB are free on {device}, and keys and "
            f"values need {3 * max(wanted, _FEWEST * each) / 1e9:,.2f} GB: name a smaller model or dtype{less}"
        )
        raise WrongRequest(msg)
    return int(wanted / each) // BLOCK * BLOCK


def refuse_unanswerable(engine: Engine, config: TransformersConfig, examples: Sequence[Request]) -> None:
    """Raise `WrongRequest` where the model's tokenizer cannot express an example, or what its answer is read from."""
    for example in (part for request in examples for part in request.parts or (request,)):
        if not example.texts:
            engine.prompts.ids(example)
        if example.held and not engine.ends:
            msg = (
                f"the reader's model {config.model} names no token that ends a reply, and a reply that is held to a "
                "form ends with it: set eos_token in its tokenizer_config.json, or held: false for what asks it"
            )
            raise WrongRequest(msg)
        if example.top_logprobs or example.prompt_logprobs:
            lacking = engine.prompts.lacking_digits(
                "".join(example.choices) or example.pattern or "0123456789"
            )
            if lacking:
                msg = (
                    f"the vocabulary of the reader's model {config.model} has no token for {', '.join(lacking)}, whose "
                    "probabilities a scorer reads: name another model, or set logprobs: false for that scorer"
                )
                raise WrongRequest(msg)
