"""Mean and deviation of a site's vectors, coordinate by coordinate, on some sequences."""

from collections.abc import Sequence

import numpy as np

from storage.errors import WrongRequest
from tasks.activations.collect import vectors
from tasks.activations.model import LoadedSubject
from tasks.activations.sites import Site
from tasks.coders.base import SiteStatistics


def measure(subject: LoadedSubject, sites: Sequence[Site], tokens: np.ndarray) -> dict[Site, SiteStatistics]:
    """Each site's statistics on `tokens` [sequences, length], one batch, in float64.

    Without the beginning-of-sequence token, whose vector is enormous in many models. A coordinate that is the same on
    all tokens has the deviation 1. Raises `WrongRequest` where vectors are not finite.
    """
    found = {}
    for site, x in next(vectors(subject, sites, tokens, len(tokens), keep_bos=False)).vectors.items():
        values = x.double()
        mean, deviation = values.mean(0), values.std(0, correction=0)
        if not deviation.isfinite().all():
            msg = f"the subject model gives NaN or infinity at {site}: run it in bfloat16 or float32"
            raise WrongRequest(msg)
        deviation = deviation.where(deviation > 0, 1)
        found[site] = SiteStatistics(tuple(mean.tolist()), tuple(deviation.tolist()))
    return found
