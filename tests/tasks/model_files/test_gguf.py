"""GGUF files are converted once; a conversion that is not whole is made again, and none is left half-written."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from storage.errors import WrongRequest
from tasks.model_files import convert, gguf
from tasks.model_files.causal_model import CausalModelFiles
from tests.tasks.model_files.ggufs import write_gguf

ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A GGUF in a folder of its own."""
    write_gguf(tmp_path / "here" / "m.gguf")
    return tmp_path / "here" / "m.gguf"


def parts(cache: Path) -> set[str]:
    """The last words of the names of what lies in the cache."""
    return {entry.name.rpartition("-")[2] for entry in cache.iterdir()}


def test_a_file_and_its_folder_are_the_same_model(file: Path) -> None:
    """By content, wherever it lies; so a lake is found complete on another machine."""
    by_folder, by_file = CausalModelFiles(str(file.parent)), CausalModelFiles(str(file))
    moved = file.rename(file.parent.parent / "other.GGUF")

    before = CausalModelFiles(str(moved)).digest()

    moved.rename(file)
    assert before == by_folder.digest() == by_file.digest() == by_file.tokenizer_digest()
    write_gguf(file, split="default")
    assert before != by_file.digest()


def test_safetensors_go_before_a_gguf(folder: Path) -> None:
    """A folder that holds both is what it was before."""
    before = CausalModelFiles(str(folder)).digest()
    write_gguf(folder / "m.gguf")

    assert before == CausalModelFiles(str(folder)).digest()


def test_a_tokenizer_costs_no_weights(file: Path, cache: Path) -> None:
    """An estimate needs the tokenizer alone: seconds, where the weights of a large model are minutes."""
    model = CausalModelFiles(str(file))
    assert "<eos>" == model.tokenizer().eos_token
    assert {"<bos>", "<eos>"} <= (model.control_tokens() or set())
    assert {"tokenizer"} == parts(cache)
    model.load("float32", "cpu")
    assert {"tokenizer", "model"} == parts(cache)


def test_a_conversion_is_made_once(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is a folder that transformers, or a server, can be given as it is."""
    place = Path(CausalModelFiles(str(file)).folder())
    monkeypatch.setattr(convert, "build_model", lambda *_: pytest.fail("it was made again"))
    gguf._verified.clear()

    assert place == Path(CausalModelFiles(str(file.parent)).folder())
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= {
        entry.name for entry in place.iterdir()
    }
    assert 0o755 == place.stat().st_mode & 0o777
    assert {0o644} == {entry.stat().st_mode & 0o777 for entry in place.iterdir()}


def _cut(place: Path) -> None:
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _alter(place: Path) -> None:
    weights = place / "model.safetensors"
    whole = bytearray(weights.read_bytes())
    whole[-1] ^= 1
    weights.write_bytes(whole)


def _lose_a_file(place: Path) -> None:
    (place / "tokenizer.json").unlink()


def _lose_the_record(place: Path) -> None:
    (place / gguf.RECORD).unlink()


def _break_the_record(place: Path) -> None:
    (place / gguf.RECORD).write_text("{")


def _take_another_files(place: Path) -> None:
    record = json.loads((place / gguf.RECORD).read_text())
    (place / gguf.RECORD).write_text(json.dumps(record | {"source": "0" * 64}))


@pytest.mark.parametrize(
    "spoil", [_cut, _alter, _lose_a_file, _lose_the_record, _break_the_record, _take_another_files]
)
def test_a_broken_conversion_is_made_again(file: Path, cache: Path, spoil: Callable[[Path], None]) -> None:
    """By the hashes of its files; nothing is left of the broken one."""
    model = CausalModelFiles(str(file))
    place = Path(model.folder())
    before = {name: weight.clone() for name, weight in load_file(place / "model.safetensors").items()}
    spoil(place)

    again = model.folder()

    assert str(place) == again
    after = load_file(place / "model.safetensors")
    assert all((before[name] == after[name]).all() for name in before | after)
    assert {"tokenizer", "model"} == parts(cache)


def test_a_full_disk_leaves_nothing(file: Path, cache: Path) -> None:
    """The sentence says where room is needed; the process may write files of 20 kB only, as on a full disk."""
    code = (
        "import resource, signal, sys\n"
        "from storage.errors import WrongRequest\n"
        "from tasks.model_files.causal_model import CausalModelFiles\n"
        "model = CausalModelFiles(sys.argv[1])\n"
        "model.config_folder()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: model.folder()\n"
        "except WrongRequest as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert f"the conversion of {file} cannot be written to {cache} (" in done.stdout
    assert done.stdout.strip().endswith("name another folder in the environment variable GLOSS_CACHE")
    assert {"tokenizer"} == parts(cache)


def test_a_cache_that_is_a_file_is_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any place that cannot be written to."""
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("GLOSS_CACHE", str(tmp_path / "taken"))

    with pytest.raises(WrongRequest, match=r"cannot be written to .*GLOSS_CACHE"):
        CausalModelFiles(str(file)).tokenizer()


def test_processes_that_convert_at_once_do_each_other_no_harm(
    file: Path, cache: Path, tmp_path: Path
) -> None:
    """Both end with the same whole conversion."""
    code = (
        "import sys\nfrom tasks.model_files import convert\n"
        "from tasks.model_files.causal_model import CausalModelFiles\n"
        "print(CausalModelFiles(sys.argv[1]).folder())"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    places = {process.communicate()[0].strip() for process in both}

    assert [0, 0] == [process.returncode for process in both]
    (place,) = places
    assert {"tokenizer", "model"} == parts(cache)
    assert gguf._is_whole(Path(place), gguf._sha256(file))


def test_another_process_may_be_faster(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its conversion, put into place during one's own, is kept."""
    build = convert.build_model
    inner = []

    def slow(source: Path, folder: Path) -> None:
        build(source, folder)
        if not inner:
            inner.append(folder)
            CausalModelFiles(str(file)).folder()

    monkeypatch.setattr(convert, "build_model", slow)
    place = Path(CausalModelFiles(str(file)).folder())

    assert {"tokenizer", "model"} == parts(cache)
    assert gguf._is_whole(place, gguf._sha256(file))


def test_what_a_killed_process_left_is_removed(file: Path, cache: Path) -> None:
    """A day later; what is being written now is left alone."""
    old, new = (cache / f"abc-model{gguf.PARTIAL}{age}" for age in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    before = time.time() - 2 * gguf.ABANDONED_AFTER
    os.utime(old, (before, before))

    CausalModelFiles(str(file)).tokenizer()

    assert (False, True) == (old.exists(), new.exists())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GLOSS_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c/gguf"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/gloss/gguf"),
        ({"HOME": "/h"}, "/h/.cache/gloss/gguf"),
    ],
)
def test_the_cache_lies_where_the_environment_says(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gloss' own variable before the desktop's."""
    for name in ("GLOSS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert Path(expected) == gguf.cache_folder()
