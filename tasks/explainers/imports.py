"""Import: explanations written elsewhere, to be scored like gloss's own. Sends no requests.

From Parquet, JSON lines, Neuronpedia or delphi; the formats are in `tasks/explainers/imported/`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from storage.errors import WrongRequest
from tasks.coders.files import filesystem, shortened
from tasks.contexts.context import Feature
from tasks.explainers.base import NOBODY, ExplainerInputs, ExplainerOptions, Explanation
from tasks.explainers.imported import FORMATS
from tasks.explainers.imported.base import Columns, Record, find
from tasks.fields import ComponentName, flagged


class Import(ExplainerOptions, frozen=True):
    """Take explanations from files."""

    kind: Literal["import"]
    name: ComponentName = "import"
    """What the tables call it; two explainers of one kind need two names."""
    path: str
    """A file, or a folder whose files are all read; local or a URL such as s3://bucket/explanations.parquet."""
    format: Literal["parquet", "jsonl", "neuronpedia", "delphi"]
    """How they are written. `jsonl`: one JSON object per line. `neuronpedia`: an export of explanations, or batches of
    the public data set. `delphi`: the folder `explanations` of a run. JSON lines also as `.gz`."""
    columns: Columns | None = None
    """What columns or keys are called; if null, as the format calls them: `feature` and `text`, in `neuronpedia`
    `index`, `description`, `layer` and `explanationModelName`."""
    where: dict[str, Annotated[str | int | bool, BeforeValidator(flagged)]] = Field(default={})
    """Only rows that have these values in these columns, such as {typeName: oai_token-act-pair}."""
    coders: dict[str, str] = Field(default={})
    """What the files call each coder of the run: a value of the column `coder`, in `neuronpedia` a source such as
    9-res-jb, in `delphi` a hookpoint. Needed where there are several, there or here; a coder of the run that is left
    out then has no explanations."""

    @model_validator(mode="after")
    def _can_tell_coders(self) -> Self:
        if self.coders and self._named.coder is None:
            msg = (
                f"coders needs to know which column of {self.path} names the coder; give it as columns.coder"
            )
            raise ValueError(msg)
        return self

    @property
    def _named(self) -> Columns:
        return self.columns or FORMATS[self.format].COLUMNS

    @property
    def asking(self) -> None:
        """Nobody is asked."""

    def unmet_need(self, given: ExplainerInputs) -> str | None:
        """Files that the run doesn't write itself, and names of the coders, where there are several."""
        written = f"{filesystem(given.lake)[1]}/explanations"
        if f"{written}/".startswith(f"{filesystem(self.path)[1]}/"):
            return (
                f"path {self.path} is where this run writes explanations itself; name the folder of one step in it, "
                f"{given.lake}/explanations/<fingerprint>, as `gloss run --dry-run` of its run shows it"
            )
        strange = sorted({*self.coders} - {*given.coders})
        if strange:
            return (
                f"coders has {strange[0]}, which is no coder of this run; they are {', '.join(given.coders)}"
            )
        if len(given.coders) > 1 and not self.coders:
            return (
                f"coders must say what the files call {' and '.join(given.coders)}, "
                "for an explanation of one is none of the other"
            )
        return None

    def check(self, coders: Sequence[str]) -> None:
        """Read everything once. Raises `WrongRequest` where something is missing, wrong or there twice."""
        for coder in coders:
            self._of(coder)

    def known(self, coder: str, features: Sequence[Feature]) -> Mapping[int, Explanation]:
        """Every feature's explanation, or that there is none."""
        explanations = self._of(coder)
        nothing = Explanation(None, f"{self.path} has no explanation of it")
        return {feature.feature: explanations.get(feature.feature, nothing) for feature in features}

    def identity(self) -> dict[str, object]:
        """What the files hold, wherever they lie, and what of it is taken."""
        options = self.model_dump(mode="json", exclude={"path"})
        return {"component": options, "files": find(self.path, FORMATS[self.format]).digest()}

    @cached_property
    def explanations(self) -> Mapping[str | None, Mapping[int, Explanation]]:
        """All that the files hold and `where` lets pass, by coder as they call it, and by feature."""
        form, by_coder = FORMATS[self.format], defaultdict[str | None, dict[int, Explanation]](dict)
        for record in find(self.path, form).records(form):
            if all(str(_value(record, name)) == str(value) for name, value in self.where.items()):
                self._take(record, by_coder)
        if not by_coder:
            kept = f" where {self.where}" if self.where else ""
            msg = f"{self.path} has no explanations{kept}; look at path and where"
            raise WrongRequest(msg)
        return dict(by_coder)

    def _take(self, record: Record, by_coder: dict[str | None, dict[int, Explanation]]) -> None:
        named = self._named
        of = by_coder[str(_value(record, named.coder)) if named.coder else None]
        feature, text = _feature(record, named.feature), _value(record, named.text)
        if text is not None and not isinstance(text, str):
            msg = (
                f"{named.text} of {record.where} is {text!r}, not text: name another column with columns.text"
            )
            raise WrongRequest(msg)
        if text is None or not text.strip():
            return
        if feature in of:
            msg = (
                f"{record.where} is a second explanation of feature {feature}; "
                "say with where which are meant, such as {column: value}, or take one of them away"
            )
            raise WrongRequest(msg)
        model = record.values.get(named.model) if named.model else None
        of[feature] = Explanation(" ".join(text.split()), None, model=str(model or NOBODY))

    def _of(self, coder: str) -> Mapping[int, Explanation]:
        """The explanations of one coder of the run."""
        by_coder = self.explanations
        theirs = shortened(sorted(str(name) for name in by_coder))
        if not self.coders:
            if len(by_coder) > 1:
                msg = f"{self.path} has explanations of several coders ({theirs}); say with coders which is {coder}"
                raise WrongRequest(msg)
            return next(iter(by_coder.values()))
        name = self.coders.get(coder)
        if name is not None and name not in by_coder:
            msg = f"{self.path} has no explanations of {name}, as coders.{coder} has it; it has {theirs}"
            raise WrongRequest(msg)
        return {} if name is None else by_coder[name]


def _value(record: Record, name: str) -> object:
    if name not in record.values:
        msg = f"{record.where} has no {name}: it has {', '.join(record.values) or 'nothing'}"
        raise WrongRequest(msg)
    return record.values[name]


def _feature(record: Record, name: str) -> int:
    """The index of a feature, as a number or in text."""
    value = _value(record, name)
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    msg = f"{name} of {record.where} is {value!r}, not the index of a feature: name another column with columns.feature"
    raise WrongRequest(msg)
