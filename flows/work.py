"""What buckets of explainers and scorers need, made of a plan: for those who work at them, in earnest or aside."""

from flows.asking import asked
from flows.plan import Explaining, Plan, Scoring
from flows.progress import say_once
from tasks.contexts.special_tokens import SpecialTokens
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
        special=special_tokens(plan),
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
        special=special_tokens(plan),
    )


def special_tokens(plan: Plan) -> SpecialTokens:
    """The special tokens of the subject's tokenizer, from its files; by their form where these name none."""
    subject = plan.config.subject
    names = subject.special_tokens()
    if names is None:
        say_once(
            plan.config.lake,
            plan.config.run,
            f"subject: no file of {subject.model}'s tokenizer that names special tokens is at hand; in contexts they "
            "are known by their form, such as <|im_end|>",
        )
    return SpecialTokens(names)
