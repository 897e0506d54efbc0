"""What buckets of explainers and scorers need, made of a plan: for those who work at them, in earnest or aside."""

from flows.asking import asked
from flows.plan import Explaining, Plan, Scoring
from tasks.explain import ExplainWork
from tasks.llm.ledger import Asked
from tasks.score import ScoreWork


def explain_work(plan: Plan, explaining: Explaining) -> ExplainWork:
    """What one explainer's buckets need."""
    explainer, coder = explaining.explainer, explaining.coder
    asking = explainer.asking

    def ledger(component: str, reader: str) -> Asked:
        return asked(plan.config, coder.coder.name, "explain", component, reader)

    return ExplainWork(
        lake=plan.lake,
        coder=coder.coder.name,
        step=explaining.step,
        features=coder.features,
        contexts=coder.contexts,
        explainer=explainer,
        asked=ledger(explainer.name, asking.reader) if asking else None,
        judged=ledger(f"{explainer.name}/best_of", asking.chooser) if asking and asking.best_of else None,
    )


def score_work(plan: Plan, scoring: Scoring) -> ScoreWork:
    """What one scorer's buckets need."""
    scorer, coder = scoring.scorer, scoring.coder.coder.name
    return ScoreWork(
        lake=plan.lake,
        coder=coder,
        explainer=scoring.explainer,
        judgements=scoring.judgements,
        scores=scoring.scores,
        contexts=scoring.coder.contexts,
        explanations=scoring.explaining.step if scoring.explaining else None,
        scorer=scorer,
        controls=plan.config.controls.shuffled,
        seed=plan.config.seed,
        asked=asked(plan.config, coder, "score", f"{scoring.explainer}/{scorer.name}", scorer.reader),
    )
