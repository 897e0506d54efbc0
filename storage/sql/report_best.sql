-- The $n best explained features with all their scores, each by its best explanation: by the lower bound of the mean
-- over scorers that judge the explanation, since the highest of many noisy means are overestimates. Scorers that judge
-- it, which are in the mean, stand before those that need no explanation (judging is how many there are of them).
with scored as (
    select
        coder,
        explainer,
        feature,
        replicate,
        list(scorer order by alone, scorer) as scorers,
        list(score order by alone, scorer) as scores,
        count(*) filter (where not alone) as judging
    from placed
    where control = 'none' and score is not null
    group by all
)

select
    summary.coder,
    summary.feature,
    summary.explainer,
    summary.explanation,
    summary.firings,
    summary.score,
    summary.low,
    scored.scorers,
    scored.scores,
    scored.judging
from summary
inner join scored using (coder, explainer, feature, replicate)
where summary.explanation is not null and summary.score is not null
qualify
    row_number() over (
        partition by summary.coder, summary.feature
        order by summary.low desc nulls last, summary.score desc, summary.explainer, summary.replicate
    ) = 1
order by
    summary.low desc nulls last,
    summary.score desc,
    summary.firings desc,
    summary.coder,
    summary.feature,
    summary.explainer,
    summary.replicate
limit $n
