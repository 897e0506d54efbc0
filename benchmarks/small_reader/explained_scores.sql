-- One row per explainer and feature: the embedding score of its explanation, and of another feature's.
select
    explainer,
    feature,
    avg(score) filter (where control = 'none') as own,
    avg(score) filter (where control = 'shuffled') as other
from scores
where run = $run
group by explainer, feature
having own is not null and other is not null
order by explainer, feature
