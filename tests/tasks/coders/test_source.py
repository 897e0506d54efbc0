"""The union of formats: chosen by kind, strict about fields, and free of torch until loaded."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

import tasks
from tasks.coders import Source
from tasks.coders.saelens import SAELens
from tasks.coders.sparsify import Sparsify

SOURCE = TypeAdapter[Sparsify | SAELens](Source)


@pytest.mark.parametrize("kind", [Sparsify, SAELens])
def test_kind_chooses_the_format(kind: type[Sparsify | SAELens]) -> None:
    """The kind in a config chooses the format, and the config survives a pickle and a dump."""
    source = SOURCE.validate_python({"kind": kind.__name__.lower(), "path": "somewhere"})

    assert isinstance(source, kind)
    assert source == pickle.loads(pickle.dumps(source))
    assert source == SOURCE.validate_python(source.model_dump())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"kind": "npz", "path": "x"}, "'sparsify', 'saelens'"),
        ({"kind": "sparsify", "path": "x", "pth": "y"}, "sparsify.pth"),
        ({"kind": "saelens"}, "saelens.path"),
    ],
)
def test_a_wrong_config_is_refused_at_its_place(config: dict, said: str) -> None:
    """An unknown kind lists the known ones; an unknown or missing field is named by its path."""
    with pytest.raises(ValidationError, match=said):
        SOURCE.validate_python(config)


def test_configs_cost_no_torch() -> None:
    """Importing every config of this side loads neither torch nor transformers nor the pipeline's tools."""
    code = (
        "import sys, tasks.coders, tasks.activations.subject, tasks.activations.corpus, "
        "tasks.activations.sites; "
        "print({'torch', 'transformers', 'safetensors', 'prefect', 'duckdb'} & set(sys.modules))"
    )
    root = Path(str(tasks.__file__)).parents[1]

    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)

    assert "set()" == done.stdout.strip()
