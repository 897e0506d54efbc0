"""Reads tensors at sites during a forward pass that goes no further than the deepest of them.

Knows modules and tensors, nothing of coders.

What a norm makes of its input before its gain: TransformerLens' `hook_normalized`, which no module gives out.
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
"""Weights that stand for a gain of one: most architectures store the gain, Gemma the gain less one."""

PROBE_SIZE = 16
"""Coordinates of the probe for a norm that has neither weights nor a shape."""


@torch.no_grad()
def without_gain(norm: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    """A norm in float32 that multiplies by one and adds nothing; `name` is what an error calls the module.

    The norm's own code does the rest, so that its epsilon is the right one wherever it is kept (`eps`,
    `variance_epsilon`, a number in OLMo's code), and so is whether it centres. Raises `WrongRequest` if what
    comes out is neither x / rms(x) nor that of x less its mean.
    """
    if _looks_like_a_norm(norm):
        bare = copy.deepcopy(norm).float()
        for gain in UNIT_GAINS:
            for key, weight in bare.named_parameters():
                weight.fill_(0 if key == "bias" else gain)
            if _normalises(bare):
                return bare.forward  # a call would run the hooks that others have put on the norm
    msg = f"{name} is no norm, so it has no normalised form: name a norm, or leave :normalised out"
    raise WrongRequest(msg)


def _looks_like_a_norm(module: nn.Module) -> bool:
    """Whether it is worth running: anything else may want other arguments, or do something."""
    flat = all(weight.ndim == 1 for weight in module.parameters())
    return flat and "norm" in type(module).__name__.lower() and not any(module.children())


def _normalises(norm: nn.Module) -> bool:
    weight = next(norm.parameters(), None)
    shape = getattr(norm, "normalized_shape", (PROBE_SIZE,)) if weight is None else weight.shape
    # Neither centred nor of length one, and so large that no epsilon matters.
    x = torch.linspace(-30, 90, shape[-1], device=None if weight is None else weight.device)[None]
    try:
        made = norm.forward(x)
    except (AttributeError, RuntimeError, TypeError):
        return False
    wanted = (functional.rms_norm(x, x.shape[1:]), functional.layer_norm(x, x.shape[1:]))
    return any(torch.allclose(made, like, atol=1e-3) for like in wanted)


Forward = Callable[[Tensor], dict[Site, Tensor]]

Views = dict[Site, Callable[[Tensor, int], Tensor]]
"""What each site makes of one tensor, given how many of its dimensions count tokens."""


class _AllCaptured(Exception):
    """Every site has fired: not an error, it ends the pass where nothing is left to see."""


@contextmanager
def capture_vectors(model: nn.Module, modules: Mapping[Site, nn.Module]) -> Iterator[Forward]:
    """A function from token ids [batch, length] to each site's vectors [batch, length, d].

    Raw vectors are in the model's dtype. Those of other forms are in float32: they are computed in it, and a coder
    encodes in it too, so that to round them in between would only lose what was computed. Sites that read one
    tensor share one hook. The forward pass ends right after the last site has fired. All hooks are gone when the
    context ends.
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
    """Hand on what goes into a module, or what comes out of it, whenever it runs."""

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
    """What a site makes of its tensor [*ids' shape, ...]: [*ids' shape, d]."""
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
    """The first of the values that is one vector per token, its other dimensions as they are.

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
            return value
    msg = f"the {site.side} of {site.module} holds no vector per token: name another site"
    raise WrongRequest(msg)
