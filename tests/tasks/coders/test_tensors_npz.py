"""Arrays of an npz file come one by one: mapped where they can be, never pickled, refused when broken."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn import functional

from storage.errors import WrongRequest
from tasks.coders import tensors
from tasks.coders.base import ExpectedTensors

SAYS = "the config has none"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where an archive is written."""
    return tmp_path / "params.npz"


def anonymous() -> int:
    """Bytes of this process that are no pages of a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def resident() -> int:
    """Bytes of this process in memory, those of files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@settings(max_examples=40, deadline=None)
@given(
    written=arrays.arrays(
        st.sampled_from(["<f4", ">f4", "<f2", ">f8", "<i4", "u1"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0),
        elements=st.integers(0, 100),
    ),
    fortran=st.booleans(),
    compressed=st.booleans(),
)
def test_an_array_is_read_as_numpy_reads_it(
    tmp_path_factory: pytest.TempPathFactory, written: np.ndarray, *, fortran: bool, compressed: bool
) -> None:
    """Whatever its type, byte order, order of axes and compression, as float32."""
    file = tmp_path_factory.mktemp("npz") / "x.npz"
    ordered = np.array(written, order="F" if fortran else "C")
    (np.savez_compressed if compressed else np.savez)(file, x=ordered)

    with np.load(file, allow_pickle=False) as known:
        expected = torch.from_numpy(known["x"].astype(np.float32))
    assert written.shape == tensors.npz_shapes(file, "x.npz")["x"]
    assert torch.equal(
        expected, tensors.read_npz(file, "x.npz", ExpectedTensors({"x": written.shape}, SAYS))["x"]
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux what is in memory")
def test_a_large_array_is_mapped_and_not_copied(file: Path) -> None:
    """Reading 200 MB of float32 takes no memory of the process' own, and knowing their shapes none at all."""
    size = 200 * 2**20
    np.savez(
        file, W_enc=np.ones((size // 2 // 4096, 1024), np.float32), W_dec=np.ones((size // 8,), np.float32)
    )

    before = resident()
    shapes = tensors.npz_shapes(file, "params.npz")
    assert resident() - before < size // 50

    before = anonymous()
    result = tensors.read_npz(file, "params.npz", ExpectedTensors(shapes, SAYS))
    assert anonymous() - before < size // 20
    assert size == sum(tensor.nbytes for tensor in result.values())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux what is in memory")
def test_a_compressed_array_is_held_once(file: Path) -> None:
    """What has to be unpacked takes the memory that its numbers take."""
    size = 64 * 2**20
    np.savez_compressed(file, x=np.ones((size // 4,), np.float32))

    before = anonymous()
    result = tensors.read_npz(file, "params.npz", ExpectedTensors({"x": (size // 4,)}, SAYS))
    assert anonymous() - before < 1.3 * size
    assert size == result["x"].nbytes


def test_a_mapped_array_computes_like_any_other(file: Path) -> None:
    """An array that lies at an odd offset of the archive gives what a copy of it gives, and writing stays here."""
    rng = np.random.default_rng(0)
    np.savez(file, W=rng.normal(size=(64, 48)).astype("f4"))
    whole = file.read_bytes()
    mapped = tensors.read_npz(file, "params.npz", ExpectedTensors({"W": (64, 48)}, SAYS))["W"]
    copy = mapped.clone()
    x, bag = torch.from_numpy(rng.normal(size=(5, 48)).astype("f4")), torch.tensor([[1, 5, 9]])

    assert mapped.data_ptr() % 4 != 0
    assert torch.equal(functional.linear(x, mapped), functional.linear(x, copy))
    assert torch.equal(functional.linear(x, mapped[:48].T), functional.linear(x, copy[:48].T))
    assert torch.equal(
        functional.embedding_bag(bag, mapped, mode="sum"), functional.embedding_bag(bag, copy, mode="sum")
    )
    mapped.zero_()
    assert whole == file.read_bytes()


def test_only_what_is_wanted_is_read(file: Path) -> None:
    """An array that changes nothing may be broken, and is not read; any other is refused by its name."""
    np.savez(file, a=np.ones(3, np.float32), b=np.full(3, np.nan, np.float32))
    known = ExpectedTensors({"a": (3,)}, SAYS, harmless={"b": "it is of the training"})

    assert {"a"} == set(tensors.read_npz(file, "params.npz", known))
    with pytest.raises(WrongRequest, match=r"params\.npz has a tensor b, and the config has none: correct"):
        tensors.read_npz(file, "params.npz", ExpectedTensors({"a": (3,)}, SAYS))


def test_pickled_objects_are_refused(file: Path) -> None:
    """An array of Python objects is refused by its name, and its pickle is not run."""

    class Trap:
        def __reduce__(self) -> tuple:
            return (pytest.fail, ("a pickle was run",))

    with zipfile.ZipFile(file, "w") as archive, archive.open("x.npy", "w") as opened:
        np.lib.format.write_array_header_1_0(opened, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        opened.write(pickle.dumps([Trap()]))

    with pytest.raises(WrongRequest, match=r"params.npz: x holds pickled Python objects"):
        tensors.read_npz(file, "params.npz", ExpectedTensors({"x": (1,)}, SAYS))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["a"]), "x holds <U1"),
        (np.zeros(2, "V2"), r"x holds \|V2"),
        (np.zeros(2, np.complex64), "x holds complex64"),
        (np.zeros(2, np.longdouble), "x holds float128"),
        (np.zeros(2, [("λ", "f4")]), "x has named fields"),
        (np.array([1.0, np.nan], np.float32), "x holds NaN or infinity"),
        (np.zeros(3, np.float32), r"x has shape \[3\], where \[2\] is expected"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(file: Path, array: np.ndarray, message: str) -> None:
    """An array of another kind, shape or broken contents is named with its file."""
    with pytest.warns(UserWarning, match="format 3.0") if array.dtype.names else pytest.MonkeyPatch.context():
        np.savez(file, x=array)
    with pytest.raises(WrongRequest, match=f"params.npz: {message}"):
        tensors.read_npz(file, "params.npz", ExpectedTensors({"x": (2,)}, SAYS))


def test_a_missing_array_is_refused(file: Path) -> None:
    """What is not there is named, with what is."""
    np.savez(file, a=np.ones(3), b=np.ones(3))
    with pytest.raises(WrongRequest, match=r"params.npz has no tensor x: it holds a, b"):
        tensors.read_npz(file, "params.npz", ExpectedTensors({"x": (1,)}, SAYS))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.6, 0.999])
def test_a_truncated_file_is_refused(file: Path, kept: float, *, compressed: bool) -> None:
    """A file that ends too early is refused by name, wherever it ends."""
    written = np.random.default_rng(0).normal(size=1000).astype("f4")
    (np.savez_compressed if compressed else np.savez)(file, x=written)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])

    with pytest.raises(
        WrongRequest, match=r"^params.npz is not a whole npz file \(.*\): fetch the checkpoint again$"
    ):
        tensors.read_npz(file, "params.npz", ExpectedTensors({"x": (1000,)}, SAYS))


def test_an_array_shorter_than_its_header_says_is_refused(file: Path) -> None:
    """The header's shape is held against the bytes that there are."""
    with zipfile.ZipFile(file, "w") as archive, archive.open("x.npy", "w") as opened:
        np.lib.format.write_array_header_1_0(opened, {"descr": "<f4", "fortran_order": False, "shape": (9,)})
        opened.write(b"\0" * 20)
    with pytest.raises(WrongRequest, match=r"params.npz: x is cut short"):
        tensors.read_npz(file, "params.npz", ExpectedTensors({"x": (9,)}, SAYS))


def test_overwritten_bytes_of_a_compressed_array_are_refused(file: Path) -> None:
    """What does not unpack, or not to what was packed, is not taken for numbers."""
    np.savez_compressed(file, x=np.random.default_rng(0).normal(size=1000).astype("f4"))
    broken = bytearray(file.read_bytes())
    broken[1000:1100] = bytes(100)
    file.write_bytes(broken)
    with pytest.raises(WrongRequest, match=r"params.npz is not a whole npz file"):
        tensors.read_npz(file, "params.npz", ExpectedTensors({"x": (1000,)}, SAYS))
