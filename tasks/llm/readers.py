"""Every reader. A new kind is one file and a line or two here."""

from typing import Annotated

from pydantic import Field

from tasks.llm.baseline.reader import BaselineReader
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.sentence_transformers import SentenceTransformersReader

ReaderConfig = Annotated[
    BaselineReader | OpenAIReader | SentenceTransformersReader, Field(discriminator="kind")
]
