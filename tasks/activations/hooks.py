"""Reads tensors at sites during a forward pass that goes no further than the deepest of them.

Knows modules and tensors, nothing of coders.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from storage.errors import WrongRequest
from tasks.activations.sites import Site

Forward = Callable[[Tensor], dict[Site, Tensor]]


class _AllFired(Exception):
    """Every site has fired: not an error, it ends the pass where nothing is left to see."""


@contextmanager
def capturing(model: nn.Module, modules: Mapping[Site, nn.Module]) -> Iterator[Forward]:
    """A function from token ids [batch, length] to each site's vectors [batch, length, d].

    The forward pass ends right after the last site has fired. All hooks are gone when the context ends.
    """
    found: dict[Site, Tensor] = {}
    ids = torch.empty(0, 0)

    def keep(site: Site, values: object) -> None:
        found[site] = _activation(site, values, ids)
        if len(found) == len(modules):
            raise _AllFired

    def before(site: Site, _: nn.Module, args: tuple[object, ...], options: dict[str, object]) -> None:
        keep(site, (options.get("hidden_states"), *args, *options.values()))

    def after(site: Site, _: nn.Module, __: object, output: object) -> None:
        keep(site, output)

    def forward(tokens: Tensor) -> dict[Site, Tensor]:
        nonlocal ids
        ids = tokens
        found.clear()
        try:
            model(tokens, use_cache=False)
        except _AllFired:
            return dict(found)
        silent = ", ".join(str(site) for site in modules if site not in found)
        msg = f"{silent} did not run in a forward pass of the model: name a site that text passes through"
        raise WrongRequest(msg)

    handles = [
        module.register_forward_pre_hook(partial(before, site), with_kwargs=True)
        if site.side == "input"
        else module.register_forward_hook(partial(after, site))
        for site, module in modules.items()
    ]
    try:
        yield forward
    finally:
        for handle in handles:
            handle.remove()


def _activation(site: Site, values: object, ids: Tensor) -> Tensor:
    """The first of the values that is one vector per token.

    Found by what it is and not where it stands: models pass and return tuples, masks and caches in
    orders of their own.
    """
    for value in values if isinstance(values, (tuple, list)) else [values]:
        if (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and value.ndim > ids.ndim
            and value.shape[: ids.ndim] == ids.shape
        ):
            return value.flatten(ids.ndim)
    msg = f"the {site.side} of {site.module} holds no vector per token: name another site"
    raise WrongRequest(msg)
