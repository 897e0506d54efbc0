-- One row per explainer, scorer and feature: the score of the feature's own explanation, and of another feature's.
select
    explainer,
    scorer,
    feature,
    avg(score) filter (where control = 'none') as own,
    avg(score) filter (where control = 'shuffled') as other
from scores
where run = $run
group by explainer, scorer, feature
having own is not null and other is not null
order by explainer, scorer, feature
