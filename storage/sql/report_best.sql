-- The $n best explained features with all their scores, each by its best explanation: by the lower bound of the mean
-- over scorers that judge the explanation, since the highest of many noisy means are overestimates. Mean and bound are
-- over the same scorers: those that have an interval; where none has one, the mean is over all and there is no bound.
-- The scorers in the mean stand first (in_mean is how many there are of them).
with judged as (
    select
        coder,
        explainer,
        feature,
        replicate,
        scorer,
        score,
        not alone and (low is not null or count(low) filter (where not alone) over explained = 0) as in_mean
    from placed
    where control = 'none' and score is not null
    window explained as (partition by coder, explainer, feature, replicate)
),

scored as (
    select
        coder,
        explainer,
        feature,
        replicate,
        list(scorer order by in_mean desc, scorer) as scorers,
        list(score order by in_mean desc, scorer) as scores,
        avg(score order by scorer) filter (where in_mean) as score,
        count(*) filter (where in_mean) as in_mean
    from judged
    group by coder, explainer, feature, replicate
)

select
    summary.coder,
    summary.feature,
    summary.explainer,
    summary.explanation,
    summary.firings,
    scored.score,
    summary.low,
    scored.scorers,
    scored.scores,
    scored.in_mean
from summary
inner join scored using (coder, explainer, feature, replicate)
where summary.explanation is not null and summary.score is not null
qualify
    row_number() over (
        partition by summary.coder, summary.feature
        order by summary.low desc nulls last, scored.score desc, summary.explainer, summary.replicate
    ) = 1
order by
    summary.low desc nulls last,
    scored.score desc,
    summary.firings desc,
    summary.coder,
    summary.feature,
    summary.explainer,
    summary.replicate
limit $n
