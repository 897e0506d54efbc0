"""The runs on a pretrained model: what their configs share, and what is read of the server's counters and prompts."""

from typing import cast

from deployments.demo.demo_vllm import CONFIG, JUDGE, NAME, Server, counted, has_foreign
from flows.config_file import load_config
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Message, Request
from tests.docs.pages import ROOT

METRICS = """
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
vllm:prompt_tokens_total{engine="0",model_name="smollm2"} 1.5e+03
vllm:prompt_tokens_total{engine="1",model_name="smollm2"} 20.0
vllm:prompt_tokens_created{engine="0",model_name="smollm2"} 1.7e+09
vllm:request_success_total{engine="0",finished_reason="stop",model_name="smollm2"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="smollm2"} 2.0
"""


def test_both_runs_go_on_with_one_cache() -> None:
    """Subject, text and the trained coder are the same, so that the second run caches nothing again."""
    demo, served = (load_config(ROOT / path) for path in ("deployments/demo/demo.yaml", CONFIG))
    assert (demo.subject, demo.corpus, demo.describe) == (served.subject, served.corpus, served.describe)
    assert (demo.lake, demo.coders[:1]) == (served.lake, served.coders)
    assert ["sparsify", "neurons", "random"] == [coder.source.kind for coder in demo.coders]
    reader = served.readers[JUDGE]
    assert isinstance(reader, OpenAIReader)
    assert NAME == reader.model


def test_counters_are_summed_over_their_labels() -> None:
    """Those of several engines and of several ways to end; other metrics with such names are left alone."""
    sums = counted(METRICS)
    assert (1520, 5, 0) == (sums["prompt tokens"], sums["requests"], sums["found there"])


class Tokens:
    """A server that makes a token of every word, and knows `<end>` for a control token."""

    def tokens(self, **asked: object) -> list[int]:
        messages = cast("list[dict[str, str]]", asked.get("messages", []))
        texts = [f"{turn['content']} <end>" for turn in messages] or [str(asked["prompt"])]
        return [1 if word == "<end>" else 2 for text in texts for word in text.split()]


def test_control_tokens_beside_those_of_the_turns_are_found() -> None:
    """In the text of a turn or of a prompt."""
    server = cast("Server", Tokens())

    def chat(text: str) -> Request:
        return Request("key", messages=(Message("system", "Say."), Message("user", text)))

    assert [False, True] == [has_foreign(server, chat(text), {1}) for text in ("two words", "an <end> early")]
    assert [False, True] == [
        has_foreign(server, Request("key", prompt=text), {1}) for text in ("two words", "an <end> early")
    ]
