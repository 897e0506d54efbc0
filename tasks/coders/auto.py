"""Detects the format of a checkpoint from the names of its files and from its configs.

Loads torch only in `load`.
"""

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from storage.errors import WrongRequest
from tasks.coders import files
from tasks.coders.base import Checkpoint, DeclaredSite, HookSite
from tasks.coders.formats import Format

if TYPE_CHECKING:
    from tasks.coders.sparse_coder import SparseCoder


class Auto(Checkpoint, frozen=True):
    """A checkpoint whose format the config does not name. It is equivalent to naming the detected format."""

    detected_by: ClassVar[str] = "any of the others"

    kind: Literal["auto"] = "auto"
    """The format is found by the checkpoint's files."""

    @cached_property
    def source(self) -> Checkpoint:
        """The checkpoint in its own format. Raises `WrongRequest` where none fits, or several do."""
        known, fitting, unreachable = checkpoint_formats(), [], None
        for format_ in known:
            try:
                detected = format_.detect(self.path, self.revision)
            except WrongRequest as error:
                # Offline, the Hub's cache holds some files of a repository and does not list the others.
                unreachable = unreachable or error
            else:
                fitting += [detected] if detected else []
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            both = " and ".join(_kind(type(source)) for source in fitting)
            msg = f"{self.path} fits {both}: name one of them as the coder's source.kind"
            raise WrongRequest(msg)
        if unreachable:
            raise unreachable
        if files.hub_folder(self.path, self.revision) is None and not files.path_exists(self.path):
            hub = "" if "://" in self.path else ", and no repository of the Hub has such a name (owner/name)"
            msg = f"there is no file or folder {self.path}{hub}: correct the coder's source.path"
            raise WrongRequest(msg)
        looked = "; ".join(f"{_kind(format_)}: {format_.detected_by}" for format_ in known)
        there = _there(self.path, self.revision)
        msg = f"no coder of a format that gloss knows is in {self.path}: {there}looked for {looked}"
        raise WrongRequest(msg)

    def declared_site(self) -> DeclaredSite | None:
        """The site that the checkpoint names."""
        return self.source.declared_site()

    def identity(self, site: str | None) -> dict[str, object]:
        """The identity of the detected format: naming it later changes nothing."""
        return self.source.identity(site)

    def digest(self, site: str | None) -> str:
        """The digest of the detected format."""
        return self.source.digest(site)

    def load(self, site: str | None, place: HookSite) -> "SparseCoder":
        """The coder, as its format loads it."""
        return self.source.load(site, place)


def checkpoint_formats() -> list[type[Checkpoint]]:
    """Every format that has files, in the order of the union."""
    return [format_ for format_ in get_args(Format) if issubclass(format_, Checkpoint)]


def _kind(format_: type[Checkpoint]) -> str:
    return format_.model_fields["kind"].default


def _there(path: str, revision: str | None) -> str:
    """The contents of the path as a clause; empty where they cannot be listed."""
    remote = files.hub_folder(path, revision)
    commit = f"@{remote.revision}" if remote and remote.revision else ""
    try:
        there = files.list_names(f"hf://{remote.repo}{commit}/{remote.folder}" if remote else path)
    except WrongRequest:
        return ""
    return f"it holds {files.shortened(there)}; " if there else "it is empty, or a file of no known name; "
