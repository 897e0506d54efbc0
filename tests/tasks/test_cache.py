"""What the tasks of the cache are given."""

from storage.lake import Lake
from storage.layout import Step
from tasks.activations.config import Coder, Describing
from tasks.activations.corpus import Corpus
from tasks.activations.subject import Subject
from tasks.cache import CacheWork
from tasks.coders.baselines import Neurons
from tests.storage.toys import step


def work(*activations: Step) -> CacheWork:
    """Work with neurons whose firings are some steps."""
    return CacheWork(
        lake=Lake("nowhere"),
        subject=Subject(model="nowhere"),
        corpus=Corpus(path="none", tokens=8, sequence=4),
        shard=1,
        tokens=step("tokens"),
        describing=Describing(),
        batch=1,
        coders=tuple(
            (Coder(site="layers.0", source=Neurons(), name=fired.name), fired, fired) for fired in activations
        ),
    )


def test_a_work_is_marked_by_what_its_coders_are() -> None:
    """Other contents under the same name make another mark; more tokens of the same corpus do not."""
    mine = step(extends=True)

    assert work(mine).mark == work(step(extends=True, extent={"tokens": 99})).mark
    assert work(mine).mark != work(step(extends=True, config={"coder": "retrained"})).mark
    assert work(mine).mark != work(mine, step(name="another", extends=True)).mark
