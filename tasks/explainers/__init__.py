"""Every explainer. A new one is one file, its prompt file and one line here."""

from tasks.explainers.exemplars import Exemplars

Explainer = Exemplars
