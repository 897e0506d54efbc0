"""Where non-activating contexts come from. A new kind is one file in this folder and its name in the union below.

In none of their windows does the feature fire. The mixture is `n` of each kind; where a kind has fewer windows it
gives those, and the table `samples` counts them.
"""

from typing import Annotated, get_args

from pydantic import Field

from tasks.sampling.negatives.anywhere import Random, Silent
from tasks.sampling.negatives.base import Kind
from tasks.sampling.negatives.neighbours import Cooccurring, Similar
from tasks.sampling.negatives.other_feature import OtherFeature
from tasks.sampling.negatives.same_token import SameToken
from tasks.sampling.negatives.similar_text import SimilarText

Negatives = Annotated[
    Random | Silent | OtherFeature | SameToken | Cooccurring | Similar | SimilarText,
    Field(discriminator="kind"),
]
"""Every kind."""

KINDS: dict[str, type[Kind]] = {
    kind.model_fields["kind"].default: kind for kind in get_args(get_args(Negatives)[0])
}
"""Every kind by its name."""
