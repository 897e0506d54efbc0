"""The sparse-coder formats that a config can name. A new one is one file and one line in `Format`."""

from tasks.coders.baselines import Neurons, RandomWeights
from tasks.coders.circuit_tracer import CircuitTracer
from tasks.coders.dictionary_learning import DictionaryLearning
from tasks.coders.gemma_scope import GemmaScope
from tasks.coders.gemma_scope_2 import GemmaScope2
from tasks.coders.goodfire import Goodfire
from tasks.coders.llama_scope import LlamaScope
from tasks.coders.openai import OpenAI
from tasks.coders.qwen_scope import QwenScope
from tasks.coders.saelens import SAELens
from tasks.coders.sparsify import Sparsify

Format = (
    Sparsify
    | SAELens
    | GemmaScope
    | GemmaScope2
    | DictionaryLearning
    | OpenAI
    | CircuitTracer
    | QwenScope
    | LlamaScope
    | Goodfire
    | Neurons
    | RandomWeights
)
