"""Every reader. A new kind is one file and a line or two here."""

from typing import Annotated

from pydantic import Field

from tasks.llm.baseline import BaselineReader
from tasks.llm.embedding_model import SentenceTransformersReader
from tasks.llm.endpoints import OpenAIReader

ReaderConfig = Annotated[
    BaselineReader | OpenAIReader | SentenceTransformersReader, Field(discriminator="kind")
]
