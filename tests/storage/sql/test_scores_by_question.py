"""Intervals of scores whose contexts are asked several at once, against plain computations question by question."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import root_scalar
from scipy.stats import chi2, norm, t
from sklearn import metrics

from storage import query
from tests.storage.sql.test_scores import Judged, scores
from tests.storage.sql.test_scores_intervals import Sum, Z, area_size, certain, interval

BOUNDED = settings(max_examples=15, deadline=None)

ASKED = st.lists(
    st.tuples(
        st.booleans(), st.booleans(), st.integers(0, 8).map(lambda eighths: eighths / 8), st.integers(0, 5)
    ).map(lambda drawn: Judged(drawn[0], drawn[1], drawn[2], question=drawn[3])),
    min_size=8,
    max_size=40,
)


def enough(judged: Sequence[Judged]) -> bool:
    """Whether each class is in several questions and is asked several at once."""
    of = [[j.question for j in judged if j.truth == truth] for truth in (True, False)]
    return all(len(set(questions)) > 1 and len(set(questions)) < len(questions) for questions in of)


GROUPED = ASKED.filter(enough)


def sums(judged: Sequence[Judged], residual: Callable[[Judged], float]) -> dict[int | None, float]:
    """What the residuals in each question add up to."""
    added: dict[int | None, float] = defaultdict(float)
    for item in judged:
        added[item.question] += residual(item)
    return added


class Share:
    """The share of right verdicts of one class, with its interval."""

    def __init__(self, judged: Sequence[Judged], *, truth: bool) -> None:
        own = [item for item in judged if item.truth == truth]
        n = len(own)
        self.share = share = sum(item.verdict == truth for item in own) / n
        self.by_question = sums(own, lambda item: ((item.verdict == truth) - share) / n)
        questions = len(self.by_question)
        squares = sum(part**2 for part in self.by_question.values())
        self.variance = questions / (questions - 1) * squares * (n - 1) / n
        varies = 0 < share < 1 and self.variance > 0
        alike = n**2 / sum(count**2 for count in sums(own, lambda _: 1.0).values())
        left = certain(questions - 1 + min(3, questions - 2))
        size = max(alike, min(n, left * (share * (1 - share) / self.variance if varies else n)))
        self.low, self.high = interval(share, size)
        if share in (0, 1):
            far = (Z**2 / size) / (1 + Z**2 / size)
            self.low, self.high = (0.0, far) if share == 0 else (1 - far, 1.0)


def correlated(recall: Share, specificity: Share, questions: int) -> float:
    """Correlation of recall and specificity, by question, less what chance has made of it where it is below 0."""
    product = sum(recall.by_question.get(q, 0) * part for q, part in specificity.by_question.items())
    spread = math.sqrt(recall.variance * specificity.variance)
    r = max(-1.0, min(1.0, product * questions / (questions - 1) / spread)) if spread else 0.0
    fewer = min(len(recall.by_question), len(specificity.by_question))
    return r * (1 - 1 / (fewer - 1)) if r < 0 else r


def ratio_end(a: float, x: float, b: float, y: float, r: float) -> float:
    """The lesser root x of what MOVER says of a - x b, by bisection, where a can be as low as x and b as high as y."""

    def beyond(ratio: float) -> float:
        below, above = a - x, ratio * (y - b)
        return a - ratio * b - math.sqrt(max(0.0, below**2 + above**2 - 2 * r * below * above))

    return 0.0 if x <= 0 else float(root_scalar(beyond, bracket=(0, a / b), xtol=1e-13).root)


@given(GROUPED)
@BOUNDED
def test_shares_and_what_is_made_of_them_resample_by_question(judged: list[Judged]) -> None:
    """Recall and specificity with sums of residuals by question; their mean and their ratio with the correlation."""
    (row,) = scores(judged, windows=25, total=100)
    recall, specificity = Share(judged, truth=True), Share(judged, truth=False)
    for name, share in (("recall", recall), ("specificity", specificity)):
        assert pytest.approx((share.share, share.low, share.high), abs=2e-3) == (
            row[name],
            row[f"{name}_low"],
            row[f"{name}_high"],
        ), name
    r = correlated(recall, specificity, len({item.question for item in judged}))
    below, above = (
        (recall.share - row["recall_low"], specificity.share - row["specificity_low"]),
        (row["recall_high"] - recall.share, row["specificity_high"] - specificity.share),
    )
    for name, weight in (
        ("balanced_accuracy", 0.5),
        ("accuracy", sum(item.truth for item in judged) / len(judged)),
    ):
        ends = (
            math.sqrt(
                abs(
                    (weight * first) ** 2
                    + ((1 - weight) * second) ** 2
                    + 2 * r * weight * first * (1 - weight) * second
                )
            )
            for first, second in (below, above)
        )
        low, high = ends
        assert pytest.approx((row[name] - low, row[name] + high), abs=1e-6) == (
            row[f"{name}_low"],
            row[f"{name}_high"],
        )
    alarms = 1 - specificity.share
    if recall.share > 0 and alarms > 0:
        low = ratio_end(recall.share, row["recall_low"], alarms, 1 - row["specificity_low"], -r)
        for name, weight in (
            ("precision", sum(item.truth for item in judged) / len(judged)),
            ("weighted_precision", 0.25),
        ):
            assert pytest.approx(low * weight / (low * weight + 1 - weight), abs=1e-6) == row[f"{name}_low"]
    for name in (
        "recall",
        "specificity",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "weighted_precision",
        "f1",
    ):
        if row[name] is not None:
            assert -1e-9 <= row[f"{name}_low"] <= row[name] + 1e-9
            assert row[name] - 1e-9 <= row[f"{name}_high"] <= 1 + 1e-9


def brier_freedom(of: Sum) -> float:
    """Two fewer than Satterthwaite's, but not for that fewer than 2.5."""
    return max(min(2.5, of.freedom), of.freedom - 2)


@given(GROUPED)
@BOUNDED
def test_areas_and_brier_resample_by_question(judged: list[Judged]) -> None:
    """DeLong's components and the jackknife's differences, summed by question; Brier's distances likewise."""
    (row,) = scores(judged)
    truths = np.array([item.truth for item in judged])
    values = np.array([item.probability for item in judged])
    questions = np.array([item.question for item in judged])
    above = (values[truths][:, None] > values[~truths]) + 0.5 * (values[truths][:, None] == values[~truths])
    won, left_out, distances = np.zeros(len(judged)), np.zeros(len(judged)), (values - truths) ** 2
    won[truths], won[~truths] = above.mean(1), above.mean(0)
    for place in range(len(judged)):
        kept = np.arange(len(judged)) != place
        left_out[place] = -metrics.average_precision_score(truths[kept], values[kept])
    names = {
        "auroc": (won, {True: 1 / truths.sum(), False: 1 / (~truths).sum()}),
        "auprc": (
            left_out,
            {truth: ((truths == truth).sum() - 1) / (truths == truth).sum() for truth in (True, False)},
        ),
        "brier": (distances, {True: 1 / len(judged), False: 1 / len(judged)}),
    }
    count = len(set(questions))
    asked = tuple(len(set(questions[truths == truth])) for truth in (True, False))
    for name, (parts, weights) in names.items():
        added = []
        for truth in (True, False):
            own = truths == truth
            residuals = np.where(own, (parts - parts[own].mean()) * weights[truth], 0)
            added.append(np.array([residuals[questions == q].sum() for q in sorted(set(questions))]))
        variances = [n / (n - 1) * (each**2).sum() for n, each in zip(asked, added, strict=True)]
        covariance = count / (count - 1) * (added[0] * added[1]).sum()
        together = name == "auprc" and count < len(judged)
        of = Sum((variances[0], variances[1]), (asked[0], asked[1]), covariance, count - 1, together=together)
        score, low, high = (row[end] for end in (name, f"{name}_low", f"{name}_high"))
        if name != "brier":
            size = area_size(score, of, truths.sum(), (~truths).sum())
        elif of.variance > 1e-14:
            size = certain(brier_freedom(of)) * score * (1 - score) / of.variance
        else:
            size = certain(brier_freedom(of)) * len(judged)
        if 0 < score < 1:
            assert pytest.approx(interval(score, size), abs=5e-3) == (low, high), name
        assert low <= score <= high


@pytest.mark.parametrize(
    "numbers", [{"verdict": True}, {"verdict": None, "probability": 0.5, "failed": False}]
)
def test_what_one_question_says_has_no_interval(numbers: dict) -> None:
    """Nobody knows how the next question would be answered, however many contexts this one has."""
    judged = [Judged(place < 4, **numbers, question=0) for place in range(14)]
    (row,) = scores(judged)
    assert row["score"] is not None
    assert {None} == {value for name, value in row.items() if name.endswith(("low", "high"))}


def test_a_value_is_a_contexts_own() -> None:
    """An embedding model is sent all texts at once and sees each by itself: as if each had its own request."""
    judged = [Judged(place % 2 == 0, None, failed=False, value=place * 7 % 10) for place in range(20)]
    (apart,), (together,) = scores(judged), scores([item._replace(question=0) for item in judged])
    assert apart == together
    assert together["auroc_low"] is not None


def test_an_effect_of_questions_makes_an_interval_wider() -> None:
    """Ten questions that are answered all right or all wrong say as much as ten verdicts, not as fifty."""
    correlated = [Judged(True, place % 10 < 6, question=place % 10) for place in range(50)]
    steady = [item._replace(question=None) for item in correlated]
    (wide,), (narrow,) = scores(correlated), scores(steady)
    assert wide["score"] == narrow["score"]
    assert (wide["low"], wide["high"]) == pytest.approx(interval(0.6, 10), abs=1e-6)
    assert (narrow["low"], narrow["high"]) == pytest.approx(interval(0.6, 50), abs=1e-6)


def test_judgements_of_one_context_in_two_questions_are_no_independent_ones() -> None:
    """As with `marks: active`: where both on a window are right or both wrong, they say as much as one."""
    draw = np.random.default_rng(4)
    rights, noise = draw.random(60) < 0.7, draw.random(60) / 3

    def judged(right: np.ndarray, *, same: bool) -> list[Judged]:
        pairs = [(place, truth) for truth in (True, False) for place in range(60)]
        return [
            Judged(
                truth,
                bool(right[place] == truth),
                float(np.abs((right[place] == truth) - noise[place])),
                context=place if same else None,
            )
            for place, truth in pairs
        ]

    (twice,), (apart,) = scores(judged(rights, same=True)), scores(judged(rights, same=False))
    for name in ("balanced_accuracy", "accuracy", "precision", "f1", "auroc", "auprc", "brier"):
        assert twice[name] == pytest.approx(apart[name])
        ratio = (twice[f"{name}_high"] - twice[f"{name}_low"]) / (
            apart[f"{name}_high"] - apart[f"{name}_low"]
        )
        assert 1.2 < ratio < 1.5, name
    for name in ("recall_low", "specificity_high"):
        assert twice[name] == apart[name]


def test_a_perfect_score_of_few_questions_is_less_certain_than_of_many() -> None:
    """Where nothing varies nothing says how questions vary: two of twenty contexts say as much as two verdicts."""
    lows = [
        scores([Judged(True, verdict=True, question=place // shown) for place in range(40)])[0]["low"]
        for shown in (1, 5, 20)
    ]
    assert lows == sorted(lows, reverse=True)
    assert 0.9 < lows[0] < 1
    assert lows[2] == pytest.approx(2 / (2 + Z**2))


def test_few_questions_do_not_narrow_an_interval_by_chance() -> None:
    """A correlation below 0, which makes intervals narrower, counts for less the fewer questions it was found from."""
    with duckdb.connect() as connection:
        query.run(connection, "shrunk_correlation")
        rows = connection.execute(
            "select shrunk_correlation(r, questions) from (values (-1.0, 2), (-0.6, 4), (-0.6, 40), (0.6, 4)) "
            "as _ (r, questions)"
        ).fetchall()
    assert [value for (value,) in rows] == pytest.approx([0, -0.4, -0.6 * 38 / 39, 0.6])


@pytest.mark.parametrize("questions", [3, 4, 5, 10, 20, 40])
@pytest.mark.parametrize("shown", [2, 3, 5])
@pytest.mark.parametrize("effect", [1, 1.2, 1.5, 2])
def test_bounds_of_a_design_effect_and_students_t_keep_the_level_together(
    questions: int, shown: int, effect: float
) -> None:
    """Over all estimates of this design effect, which follow a chi-square, 92 to 98 % contain a normal share."""
    n = questions * shown
    estimates = effect * chi2.ppf((np.arange(1000) + 0.5) / 1000, questions - 1) / (questions - 1)
    with duckdb.connect() as connection:
        for macro in ("student", "few_questions_factor", "effective_size"):
            query.run(connection, macro)
        rows = connection.execute(
            "select effective_size(0.5, 0.25 / $n * unnest($estimates), $n, $n * $shown, $questions)",
            {"n": n, "estimates": estimates.tolist(), "shown": shown, "questions": questions},
        ).fetchall()
    sizes = np.array([size for (size,) in rows])
    assert sizes.min() >= questions - 1e-9
    assert sizes.max() <= n
    contained = 2 * norm.cdf(Z * np.sqrt(n / sizes / effect)) - 1
    assert 0.92 < contained.mean() < 0.98


@pytest.mark.parametrize("probability", [0.1, 0.3])
def test_distances_that_do_not_vary_are_not_certain(probability: float) -> None:
    """Whatever rounding leaves of them: an interval as wide as that of a share of so many contexts."""
    judged = [Judged(place % 2 == 0, False, probability, question=place // 5) for place in range(100)]
    (row,) = scores(judged)
    size = 100 * certain(20 - 1 - 2)
    assert (row["brier_low"], row["brier_high"]) == pytest.approx(interval(row["brier"], size), abs=1e-4)


def test_questions_that_do_not_vary_are_not_correlated() -> None:
    """Where each has 2 of 5 positives and 1 of 5 negatives right, rounding makes no correlation of 1."""
    judged = [
        Judged(truth, truth == (place < (2 if truth else 1)), question=question)
        for question in range(20)
        for truth in (True, False)
        for place in range(5)
    ]
    (row,) = scores(judged)
    size = 100 * certain(20 - 1 + 3)
    (first_low, first_high), (second_low, second_high) = interval(0.4, size), interval(0.2, size)
    below, above = (
        math.hypot(0.4 - first_low, 0.2 - second_low) / 2,
        math.hypot(first_high - 0.4, second_high - 0.2) / 2,
    )
    assert (row["low"], row["high"]) == pytest.approx((0.3 - below, 0.3 + above), abs=1e-4)


def test_classes_that_take_back_what_the_other_adds_do_not_vary() -> None:
    """But for what rounding leaves of their variances and covariance."""
    with duckdb.connect() as connection:
        query.run(connection, "summed_variance")
        rows = connection.execute(
            "select summed_variance(v, w, c) from (values (0.3, 0.3, -0.3 + 1e-17), (3e-30, 1e-30, 0.0), "
            "(0.1, 0.2, -0.1), (null, 0.2, 0.0)) as _ (v, w, c)"
        ).fetchall()
    assert [value for (value,) in rows] == [0, 0, pytest.approx(0.1), None]


def test_quantiles_of_students_t() -> None:
    """Of 1, 2 and 3 degrees of freedom exactly, of more to within a thousandth; of none there is none."""
    with duckdb.connect() as connection:
        query.run(connection, "student")
        rows = connection.execute("select df, student(df) from range(1, 400) as _ (df)").fetchall()
        assert [(None,)] == connection.execute("select student(0)").fetchall()
        between = connection.execute(
            "select df, student(df) from (values (2.1), (2.5), (3.5)) as _ (df)"
        ).fetchall()
        small = connection.execute(
            "select df, student(df) from (values (1.01), (1.5), (1.9)) as _ (df)"
        ).fetchall()
    assert all(
        quantile == pytest.approx(t.ppf(0.975, float(freedom)), rel=3e-3) for freedom, quantile in small
    )
    assert all(quantile == pytest.approx(t.ppf(0.975, freedom), abs=1e-3) for freedom, quantile in rows)
    assert all(
        quantile == pytest.approx(t.ppf(0.975, float(freedom)), abs=0.04) for freedom, quantile in between
    )
