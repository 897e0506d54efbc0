"""The union of formats: chosen by kind, strict about fields, and free of torch until loaded."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

import tasks
from tasks.coders import Source
from tasks.coders.base import Checkpoint, CoderFormat
from tasks.coders.saelens import SAELens
from tasks.coders.sparsify import Sparsify

SOURCE: TypeAdapter[CoderFormat] = TypeAdapter(Source)
FORMATS: tuple[type[CoderFormat], ...] = get_args(get_args(Source)[0])


def minimal(format_: type[CoderFormat]) -> dict[str, str]:
    """The shortest config of a format."""
    path = {"path": "somewhere"} if issubclass(format_, Checkpoint) else {}
    return {"kind": format_.model_fields["kind"].default} | path


@pytest.mark.parametrize("format_", FORMATS)
def test_kind_chooses_the_format(format_: type[CoderFormat]) -> None:
    """The kind in a config chooses the format, and the config survives a pickle and a dump."""
    source = SOURCE.validate_python(minimal(format_))

    assert isinstance(source, format_)
    assert source == pickle.loads(pickle.dumps(source))
    assert source == SOURCE.validate_python(source.model_dump())


@pytest.mark.parametrize("format_", FORMATS)
def test_every_option_says_what_it_does(format_: type[CoderFormat]) -> None:
    """A format and each of its keys have a sentence, for the page that lists them."""
    assert format_.__doc__
    assert [] == [name for name, field in format_.model_fields.items() if not field.description]


@pytest.mark.parametrize("format_", [kind for kind in FORMATS if issubclass(kind, Checkpoint)])
def test_nothing_is_found_where_nothing_is(format_: type[Checkpoint], tmp_path: Path) -> None:
    """No format claims an empty folder, or one that is not there."""
    assert format_.detect(str(tmp_path), None) is None
    assert format_.detect(str(tmp_path / "nowhere"), None) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "hdf5", "path": "x"}, "'sparsify', 'saelens'"),
        ({"kind": "sparsify", "path": "x", "pth": "y"}, "sparsify.pth"),
        ({"kind": "saelens"}, "saelens.path"),
        ({"kind": "saelens", "path": "x", "norm_factor": 0}, "saelens.norm_factor"),
    ],
)
def test_a_wrong_config_is_refused_at_its_place(config: dict, message: str) -> None:
    """An unknown kind lists the known ones; an unknown, missing or wrong field is named by its path."""
    with pytest.raises(ValidationError, match=message):
        SOURCE.validate_python(config)


def test_options_are_part_of_a_config() -> None:
    """What changes a coder's activations is in the dump that a fingerprint is made of."""
    plain, folded = (SAELens(path="x", fold_decoder_norm=fold).model_dump() for fold in (False, True))

    assert plain != folded
    assert Sparsify(path="x").model_dump() != Sparsify(path="x", revision="v2").model_dump()


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
