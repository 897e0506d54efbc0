"""The kinds of a discriminated union of components, by their key `kind`."""

from typing import Any, get_args

from pydantic import BaseModel


def kinds(union: Any) -> dict[str, type[BaseModel]]:
    """Each kind's model, in the order of the union."""
    members, *_ = get_args(union)
    models = {}
    for member in get_args(members):
        (kind,) = get_args(member.model_fields["kind"].annotation)
        models[kind] = member
    return models
