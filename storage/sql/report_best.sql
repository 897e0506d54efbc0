-- The $n best explained features: the mean of their scores, most firings first among equals.
with mean_scores as (
    select
        coder,
        explainer,
        feature,
        replicate,
        avg(balanced_accuracy) as score
    from scores
    where control = 'none'
    group by all
)

select
    summary.coder,
    summary.feature,
    summary.explainer,
    summary.explanation,
    summary.firings,
    summary.detection,
    summary.fuzzing
from summary
inner join mean_scores using (coder, explainer, feature, replicate)
where summary.explanation is not null
order by mean_scores.score desc, summary.firings desc, summary.coder, summary.feature
limit $n
