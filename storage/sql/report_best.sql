-- The $n best explained features with all their scores: the mean of these, most firings first among equals.
with scored as (
    select
        coder,
        explainer,
        feature,
        replicate,
        avg(balanced_accuracy) as mean_score,
        list(scorer order by scorer) as scorers,
        list(balanced_accuracy order by scorer) as scores
    from scores
    where control = 'none' and balanced_accuracy is not null
    group by all
)

select
    summary.coder,
    summary.feature,
    summary.explainer,
    summary.explanation,
    summary.firings,
    scored.scorers,
    scored.scores
from summary
inner join scored using (coder, explainer, feature, replicate)
where summary.explanation is not null
order by scored.mean_score desc, summary.firings desc, summary.coder, summary.feature, summary.explainer
limit $n
