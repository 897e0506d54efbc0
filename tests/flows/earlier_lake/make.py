"""Makes lake.tar.gz on a checkout of the commit that it stands for: `python -m tests.flows.earlier_lake.make`."""

import re
import shutil
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

from flows.cli.main import main
from tests.tasks.llm.faulty_server import Body, faulty_server

HERE = Path(__file__).parent


UNSHOWN = re.compile(r"\W|bos|eos")
"""What a question shows in another way since: the subject's special tokens, and signs around and within others."""


def answer(_number: int, body: Body) -> str:
    """A reply that only depends on the question's text: a readable explanation, or verdicts."""
    question = body["messages"][-1]["content"]
    text = UNSHOWN.sub("", question[max(question.find("Example 1:"), 0) :])
    mark = sha256(text.encode()).hexdigest()
    if "Description:" not in question:
        return f"EXPLANATION: Words of kind {mark[:12]}."
    shown = len(re.findall(r"^Example \d+:", question, re.MULTILINE))
    return str([int(sign, 16) % 2 for sign in mark[:shown]])


def make() -> None:
    """Run, and pack the lake."""
    with tempfile.TemporaryDirectory() as folder, faulty_server(answer) as server:
        lake = Path(folder, "lake")
        url = f"readers.judge.urls=[{server.url}]"
        assert main(["run", str(HERE / "run.yaml"), "--lake", str(lake), "--set", url]) == 0
        with tarfile.open(HERE / "lake.tar.gz", "w:gz") as packed:
            packed.add(lake, "lake")
        shutil.rmtree(lake)


if __name__ == "__main__":
    make()
