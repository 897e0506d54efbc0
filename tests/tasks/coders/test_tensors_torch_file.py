"""Files of torch.save give tensors and plain values; a class in them is refused by its name."""

import argparse
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from storage.errors import WrongRequest
from tasks.coders import tensors
from tasks.coders.base import ExpectedTensors
from tests.tasks.coders.checkpoints import random

SAYS = "the config has none"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a file is written."""
    return tmp_path / "ae.pt"


class Trap:
    """An object whose pickle runs code."""

    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_nested_content_is_read(file: Path, options: dict) -> None:
    """Dicts in dicts, strings and numbers come as they were saved, in the new and in the old form of the file."""
    content = {
        "step": 3, "lr": 1e-4, "done": True, "name": "ae", "none": None,
        "ae": OrderedDict(weight=random(4, 3), k=torch.tensor(5)), "list": [1, (2, "x")],
    }  # fmt: skip
    torch.save(content, file, **options)

    result = tensors.load_torch_file(file, "ae.pt")

    nested = result.pop("ae")
    assert isinstance(nested, dict)
    assert torch.equal(random(4, 3), nested["weight"])
    assert {name: value for name, value in content.items() if name != "ae"} == result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_tensors_are_read_as_float32(file: Path, dtype: torch.dtype) -> None:
    """Whatever is stored; a parameter is a tensor like others, and what changes nothing is left alone."""
    weight = torch.nn.Parameter(random(4, 3).to(dtype))
    torch.save({"w": weight, "other": torch.full((2,), torch.nan)}, file)

    result = tensors.checked_tensors(
        tensors.load_torch_file(file, "ae.pt"),
        "ae.pt",
        ExpectedTensors({"w": (4, 3)}, SAYS, {"other": "it is of the training"}),
    )

    assert {"w": (4, 3), "other": (2,)} == tensors.tensor_shapes(tensors.load_torch_file(file, "ae.pt"))
    assert {"w"} == set(result)
    assert torch.equal(weight.float(), result["w"])
    assert not result["w"].requires_grad


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux what is in memory")
def test_float32_is_mapped_and_not_copied(file: Path) -> None:
    """Reading 64 MB takes no memory of the process' own."""
    size = 64 * 2**20
    torch.save({"w": torch.ones(size // 4)}, file)

    def anonymous() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    before = anonymous()
    result = tensors.checked_tensors(
        tensors.load_torch_file(file, "ae.pt"), "ae.pt", ExpectedTensors({"w": (size // 4,)}, SAYS)
    )
    assert anonymous() - before < size // 10
    assert size == result["w"].nbytes


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize(
    ("held", "name"),
    [
        (argparse.Namespace(k=3), "argparse.Namespace"),
        (Trap(), "_pytest.outcomes.fail|_pytest.outcomes._Fail|pytest"),
        (Path("x"), r"pathlib.\w+"),
    ],
)
def test_a_pickled_class_is_refused_by_its_name(file: Path, held: object, name: str, options: dict) -> None:
    """Nothing is run, and what would have been is named."""
    torch.save({"w": torch.ones(3), "held": held}, file, **options)

    with pytest.raises(
        WrongRequest, match=rf"^ae.pt holds a pickled ({name})\S*, which would run code[^\n]*$"
    ):
        tensors.load_torch_file(file, "ae.pt")


@pytest.mark.parametrize("kept", [0, 3, 10, 0.5, 0.99])
def test_a_truncated_file_is_refused(file: Path, kept: float) -> None:
    """A file that ends too early is refused in one sentence, wherever it ends."""
    torch.save({"w": random(100, 100)}, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])

    with pytest.raises(
        WrongRequest, match=r"^ae.pt is not a whole file of torch.save \([^\n]+\): fetch[^\n]+$"
    ):
        tensors.load_torch_file(file, "ae.pt")


def test_what_torch_did_not_save_is_refused(file: Path) -> None:
    """Text, another zip archive, and a bare pickle are no checkpoints."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", "y")
    for content in [b"not a pickle", file.read_bytes()]:
        file.write_bytes(content)
        with pytest.raises(WrongRequest, match=r"^ae.pt is not a whole file of torch.save[^\n]+$"):
            tensors.load_torch_file(file, "ae.pt")


def test_another_kind_of_pickle_is_refused(file: Path) -> None:
    """torch reads without running only what its own default writes, and says nothing of others that helps."""
    file.write_bytes(pickle.dumps({"w": 1}))
    message = r"^ae.pt is not a whole file of torch.save \(its pickle is of another kind\): fetch[^\n]+$"
    with pytest.raises(WrongRequest, match=message):
        tensors.load_torch_file(file, "ae.pt")
    torch.save({"w": torch.ones(3)}, file, pickle_protocol=4)
    with pytest.raises(WrongRequest, match=message):
        tensors.load_torch_file(file, "ae.pt")


def test_a_bare_tensor_is_refused(file: Path) -> None:
    """A file without names is no state dict."""
    torch.save(torch.ones(3), file)
    with pytest.raises(WrongRequest, match=r"ae.pt holds a Tensor, not tensors by name"):
        tensors.load_torch_file(file, "ae.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": torch.ones(2)}, "has no tensor w: it holds other"),
        ({"w": "text"}, "has no tensor w: it holds none"),
        ({"w": torch.eye(3)}, r": w has shape \[3, 3\], where \[2\] is expected"),
        ({"w": torch.tensor([1.0, torch.inf])}, ": w holds NaN or infinity"),
    ],
)
def test_wrong_tensors_are_refused(file: Path, content: dict, message: str) -> None:
    """A missing, misshapen or broken tensor is named with its file."""
    torch.save(content, file)
    with pytest.raises(WrongRequest, match=f"ae.pt ?{message}"):
        tensors.checked_tensors(
            tensors.load_torch_file(file, "ae.pt"), "ae.pt", ExpectedTensors({"w": (2,)}, SAYS)
        )


def test_a_matrix_is_one() -> None:
    """What shapes are taken from has two of them."""
    assert (3, 2) == tensors.matrix_shape({"w": torch.ones(3, 2)}, "ae.pt", "w")
    with pytest.raises(WrongRequest, match=r"ae.pt: w has shape \[3\], where a matrix is expected"):
        tensors.matrix_shape({"w": torch.ones(3)}, "ae.pt", "w")
