-- One row per scorer and feature: the score of the feature's own explanation, and of another feature's.
select
    scorer,
    feature,
    avg(score) filter (where control = 'none') as own,
    avg(score) filter (where control = 'shuffled') as other
from scores
where run = $run
group by scorer, feature
having own is not null and other is not null
order by scorer, feature
