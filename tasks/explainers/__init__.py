"""Every explainer: a new one is one file, its prompt file, and its import and name here."""

from functools import reduce
from operator import or_
from typing import Annotated, get_args

from pydantic import Field

from tasks.explainers.chain_of_thought import ChainOfThought
from tasks.explainers.chat import ChatExplainer
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

_CHAT = [member for member in get_args(get_args(Explainer)[0]) if issubclass(member, ChatExplainer)]

Otherwise = Annotated[reduce(or_, _CHAT), Field(discriminator="kind")]
"""Every explainer that asks a reader: those that `single_token` can pass features on to."""

SingleToken.model_rebuild(_types_namespace={"Otherwise": Otherwise})
