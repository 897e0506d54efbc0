"""A real vLLM server on the CPU, with a tiny model of random weights: started, killed and started again at will.

It is started by the scripts of `deployments/vllm/`, with what the CPU and a tiny model need on top.
"""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.flows.command import ROOT, TOY
from tests.tasks.hostile import CONTROL

NAME = "tiny"
"""What the server calls the model."""
LENGTH = 1024
"""Tokens that a prompt and its reply may have together."""
BLOCK = 32
"""Tokens per block of the prefix cache; the CPU's own 128 would leave short prompts out of it."""
PATIENCE = 300
"""Seconds that a server has to start in, on however busy a machine."""

CHATML = (
    "{{ bos_token }}{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OWN = "@@turn"
"""A control token of no known family."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "0",
    "OMP_NUM_THREADS": "1",
}
SCRIPTS = ROOT / "deployments" / "vllm"


def make_model(folder: Path) -> Path:
    """A Llama of 1.4 million random weights in float32, with the toy's tokenizer and the chat template ChatML.

    Its tokenizer has control tokens of many families. It finds numbers likelier than other tokens, so that some are
    always among the likeliest.
    """
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(TOY / "subject" / "tokenizer.json"),
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        additional_special_tokens=[
            *(token for token in CONTROL if token not in ("<bos>", "<eos>", "<pad>")),
            OWN,
        ],
    )
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2 * LENGTH,
        initializer_range=0.2,  # or every token would be as likely as any other
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        dtype="float32",
    )
    network = LlamaForCausalLM(config)
    numbers = [tokenizer.encode(str(number), add_special_tokens=False)[0] for number in range(11)]
    with torch.no_grad():
        network.lm_head.weight /= 5
        network.lm_head.weight[numbers] *= 10
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Server:
    """One address at which a server can be started, ended in several ways, and started again."""

    def __init__(self, command: Path, model: Path, log: Path) -> None:
        """Nothing runs yet."""
        self._command, self.model, self._log = command, model, log
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.script = ""
        """What it was started by."""

    @property
    def url(self) -> str:
        """Address to give to a client."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self, *flags: str, script: str = "explainer") -> None:
        """Start it by a script, with some more flags, and wait until it answers."""
        self.script = script
        command = [
            *(str(SCRIPTS / f"{script}.sh"), str(self.model), "--served-model-name", NAME),
            *("--dtype", "float32", "--enforce-eager", "--max-model-len", str(LENGTH)),
            *("--block-size", str(BLOCK), "--max-num-seqs", "16", *flags),
        ]
        where = {"VLLM": str(self._command), "PORT": str(self.port)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **ENVIRONMENT, **where},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait()

    def wait(self) -> None:
        """Wait until it answers. Raises `RuntimeError` with the end of its log when it does not."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with suppress(URLError, OSError), urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return
            time.sleep(0.5)
        msg = f"vLLM did not start:\n{self._log.read_text(errors='replace')[-3000:]}"
        raise RuntimeError(msg)

    def kill_worker(self) -> None:
        """End the process that computes, as a crash or the kernel would."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        workers = [child for child in children if "Worker" in " ".join((child.name(), *child.cmdline()))]
        assert workers, [child.cmdline() for child in children]
        for worker in workers:
            worker.kill()

    def terminate(self) -> None:
        """Tell it to end, as a supervisor does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def gone(self) -> None:
        """Wait until all of its processes have ended; those that hang are killed."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)
        self._process = None
