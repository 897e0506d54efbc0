"""Every explainer. A new one is one file, its prompt file and a line or two here.

One that asks a reader has another line in `single_token.py`, which passes features on to it.
"""

from typing import Annotated

from pydantic import Field

from tasks.explainers.chain_of_thought import ChainOfThought
from tasks.explainers.contrastive import Contrastive
from tasks.explainers.exemplars import Exemplars
from tasks.explainers.imports import Import
from tasks.explainers.logits import Logits
from tasks.explainers.no_activations import NoActivations
from tasks.explainers.single_token import SingleToken
from tasks.explainers.structured import Structured

Explainer = Annotated[
    Exemplars | ChainOfThought | NoActivations | Logits | Contrastive | SingleToken | Structured | Import,
    Field(discriminator="kind"),
]
