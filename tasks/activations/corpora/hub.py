"""Datasets of the Hugging Face Hub, streamed by the library `datasets`, which is imported only here."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

import huggingface_hub
from huggingface_hub import errors as hub_errors

from storage.errors import RunFailed, WrongRequest
from tasks.activations.corpora.base import BATCH_ROWS, CorpusSelection, column_texts, require_text_column

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

PREFIX = "hf://"

_NAME = re.compile(r"hf://(datasets/)?(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def dataset_repository(path: str) -> str | None:
    """The dataset `owner/name` that a path names; None when it names files, on the Hub or elsewhere.

    Raises `ValueError` for an `hf://` path that is neither.
    """
    name = _NAME.fullmatch(path)
    if name is None and path.startswith(PREFIX) and not path.startswith(f"{PREFIX}datasets/"):
        msg = (
            f"path {path} names no dataset: write hf://owner/name, with a revision under the key `revision`, "
            "or hf://datasets/owner/name/folder for files"
        )
        raise ValueError(msg)
    return name["repo"] if name else None


class HubDataset(NamedTuple):
    """A dataset of the Hub."""

    repo: str
    subset: str | None
    revision: str | None
    selection: CorpusSelection

    def texts(self) -> Iterator[str | None]:
        """Every row's text, split after split; raises `RunFailed` when the stream breaks off."""
        row = 0
        for split in self._splits().values():
            for batch in self._batches(split, row):
                yield from column_texts(batch, self._split_selection, row, self._shown)
                row += batch.num_rows

    def digest(self) -> str:
        """The dataset's commit and subset."""
        # A full commit hash needs no request, so that a finished cache doesn't need the Hub.
        known = self.revision and _COMMIT.fullmatch(self.revision)
        return "/".join(
            part
            for part in (f"{self.repo}@{self.revision if known else self._commit()}", self.subset)
            if part
        )

    @property
    def _shown(self) -> str:
        return f"the dataset {self.repo} of the Hub"

    @property
    def _split_selection(self) -> CorpusSelection:
        """The selection within a split of the library, where no column has to name the split."""
        return self.selection._replace(split=None)

    def _splits(self) -> dict[str, "datasets.IterableDataset"]:
        """The selected splits, as the library's streams of Arrow tables."""
        import datasets  # noqa: PLC0415  (a second of imports, needed for the Hub only)

        datasets.disable_progress_bars()
        commit = self._commit()
        try:
            splits = datasets.load_dataset(self.repo, self.subset, revision=commit, streaming=True)
        except Exception as error:  # the library has its readers' errors, and those of its HTTP client
            reason = " ".join(str(error).split()).rstrip(".")
            msg = f"{self._shown} cannot be opened ({reason}): correct corpus.path, corpus.subset or corpus.revision"
            raise WrongRequest(msg) from error
        if self.selection.split is None:
            return {str(name): split for name, split in splits.items()}
        if self.selection.split not in splits:
            msg = f"{self._shown} has no split {self.selection.split}: it has {', '.join(map(str, splits))}"
            raise WrongRequest(msg)
        return {self.selection.split: splits[self.selection.split]}

    def _batches(self, split: "datasets.IterableDataset", first: int) -> Iterator["pa.Table"]:
        row = first
        try:
            tables = cast("Iterator[pa.Table]", split.with_format("arrow").iter(BATCH_ROWS))
            for batch in tables:
                require_text_column(batch.schema, self._split_selection, self._shown)
                yield batch
                row += batch.num_rows
        except WrongRequest:
            raise
        except Exception as error:  # as above
            reason = " ".join(str(error).split()).rstrip(".")
            msg = f"{self._shown} broke off after {row} rows ({reason}): run the same command again"
            raise RunFailed(msg) from error

    def _commit(self) -> str:
        return _commit(self.repo, self.revision)


@lru_cache
def _commit(repo: str, revision: str | None) -> str:
    """The commit of a revision, requested once, so that the streamed data is the data that was hashed."""
    try:
        commit = huggingface_hub.HfApi().dataset_info(repo, revision=revision).sha
    except (hub_errors.HfHubHTTPError, hub_errors.HFValidationError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        msg = (
            f"the Hub does not give the dataset {repo} ({reason}): correct corpus.path or corpus.revision, "
            "or log in with `hf auth login`"
        )
        raise WrongRequest(msg) from error
    except Exception as error:  # the HTTP client's errors when the Hub cannot be reached
        msg = (
            f"the Hub cannot be reached for the dataset {repo} ({error}): try again later, "
            "or name local files or a folder that save_to_disk wrote"
        )
        raise WrongRequest(msg) from error
    return str(commit)
