"""The union of all kinds of readers that a config may name. A new kind is one file and one line here."""

from typing import Annotated

from pydantic import Field

from tasks.llm.baseline.reader import BaselineReader
from tasks.llm.in_process.reader import TransformersReader
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.sentence_transformers import SentenceTransformersReader

AnyReader = Annotated[
    BaselineReader | OpenAIReader | TransformersReader | SentenceTransformersReader,
    Field(discriminator="kind"),
]
