"""Forward hooks that capture the vectors at sites, and the normalised form of a norm's input.

The forward pass stops after the last site that is captured. The normalised form is a norm's output before its gain and
bias, TransformerLens' `hook_normalized`, which is no module's output and so is computed from the norm's input.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from storage.errors import WrongRequest
from tasks.activations.sites import Site

UNIT_GAINS = (1.0, 0.0)
"""Weights that mean a gain of one: most architectures store the gain, Gemma stores the gain minus one."""

PROBE_SIZE = 16
"""Size of the test vector for a norm that has neither weights nor a shape."""


@torch.no_grad()
def without_gain(norm: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    """The norm in float32 with a gain of one and no bias; `name` is the module's name in error messages.

    It is a copy that runs the norm's own code, so that the epsilon is right wherever it is stored (`eps`,
    `variance_epsilon`, a constant in OLMo's code), and so is whether the norm subtracts the mean. Raises `WrongRequest`
    if the output is neither x / rms(x) nor the same of x - mean(x).
    """
    if _looks_like_a_norm(norm):
        bare = copy.deepcopy(norm).float()
        for gain in UNIT_GAINS:
            for key, weight in bare.named_parameters():
                weight.fill_(0 if key == "bias" else gain)
            if _normalises(bare):
                return bare.forward  # calling the module would run hooks that are registered on the norm
    msg = f"{name} is no norm, so it has no normalised form: name a norm, or leave :normalised out"
    raise WrongRequest(msg)


def _looks_like_a_norm(module: nn.Module) -> bool:
    """Whether it may be run as a norm: other modules may take other arguments or have side effects."""
    flat = all(weight.ndim == 1 for weight in module.parameters())
    return flat and "norm" in type(module).__name__.lower() and not any(module.children())


def _normalises(norm: nn.Module) -> bool:
    weight = next(norm.parameters(), None)
    shape = getattr(norm, "normalized_shape", (PROBE_SIZE,)) if weight is None else weight.shape
    # Its mean is not 0 and its RMS not 1, and it is so large that no epsilon matters.
    x = torch.linspace(-30, 90, shape[-1], device=None if weight is None else weight.device)[None]
    try:
        made = norm.forward(x)
    except (AttributeError, RuntimeError, TypeError):
        return False
    wanted = (functional.rms_norm(x, x.shape[1:]), functional.layer_norm(x, x.shape[1:]))
    return any(torch.allclose(made, like, atol=1e-3) for like in wanted)


Forward = Callable[[Tensor], dict[Site, Tensor]]

Views = dict[Site, Callable[[Tensor, int], Tensor]]
"""For each site that reads a tensor: the function from it, and the number of its token dimensions, to [*tokens, d]."""


class _AllCaptured(Exception):
    """Ends the forward pass once every site has been captured; not an error."""


@contextmanager
def capture_vectors(model: nn.Module, modules: Mapping[Site, nn.Module]) -> Iterator[Forward]:
    """A function from token ids [batch, length] to each site's vectors [batch, length, d].

    Raw vectors are in the model's dtype. Those of other forms are in float32: they are computed in it and coders encode
    in it, so rounding in between would only lose precision. Sites that read the same tensor share a hook. The forward
    pass ends as soon as the last site is captured. All hooks are removed when the context ends. The function raises
    `WrongRequest` where a site doesn't run or holds no vector per token.
    """
    captured: dict[Site, Tensor] = {}
    ids = torch.empty(0, 0)

    def keep(views: Views, values: object) -> None:
        activation = _activation(next(iter(views)), values, ids)
        for site, view in views.items():
            captured[site] = view(activation, ids.ndim)
        if len(captured) == len(modules):
            raise _AllCaptured

    def forward(tokens: Tensor) -> dict[Site, Tensor]:
        nonlocal ids
        ids = tokens
        captured.clear()
        try:
            model(tokens, use_cache=False)
        except _AllCaptured:
            return dict(captured)
        _refuse_silent(modules.keys() - captured.keys())

    handles = [
        _hook(module, side, partial(keep, views)) for (module, side), views in _tensors(modules).items()
    ]
    try:
        yield forward
    finally:
        for handle in handles:
            handle.remove()


def _hook(module: nn.Module, side: str, keep: Callable[[object], None]) -> RemovableHandle:
    """Register a hook that passes a module's input or output, by `side`, to `keep`."""

    def before(_: nn.Module, args: tuple[object, ...], options: dict[str, object]) -> None:
        keep((options.get("hidden_states"), *args, *options.values()))

    def after(_: nn.Module, __: object, output: object) -> None:
        keep(output)

    if side == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def _refuse_silent(sites: Iterable[Site]) -> NoReturn:
    silent = ", ".join(str(site) for site in sorted(sites))
    msg = f"{silent} did not run in a forward pass of the model: name a site that text passes through"
    raise WrongRequest(msg)


def _tensors(modules: Mapping[Site, nn.Module]) -> dict[tuple[nn.Module, str], Views]:
    """The tensors to hook, by module and side, each with the sites that read it."""
    views: dict[tuple[nn.Module, str], Views] = {}
    for site, module in modules.items():
        side = "input" if site.form == "normalised" else site.side
        views.setdefault((module, side), {})[site] = _view(site, module)
    return views


def _view(site: Site, module: nn.Module) -> Callable[[Tensor, int], Tensor]:
    """The function from a site's tensor [*ids' shape, ...] to its vectors [*ids' shape, d]."""
    if site.form == "normalised":
        bare = without_gain(module, site.module)
        return lambda x, dims: bare(x.float()).flatten(dims)
    if site.form == "centred":
        return _centred
    return Tensor.flatten


def _centred(x: Tensor, dims: int) -> Tensor:
    x = x.flatten(dims).float()
    return x - x.mean(-1, keepdim=True)


def _activation(site: Site, values: object, ids: Tensor) -> Tensor:
    """The first of the values that has a vector per token, with its further dimensions unchanged.

    It is recognised by dtype and shape, not by position: models differ in the order of the tuples, masks and caches
    that they pass and return.
    """
    for value in values if isinstance(values, (tuple, list)) else [values]:
        if (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and value.ndim > ids.ndim
            and value.shape[: ids.ndim] == ids.shape
        ):
            return value
    msg = f"the {site.side} of {site.module} holds no vector per token: name another site"
    raise WrongRequest(msg)
