-- One row per scorer and feature: its balanced accuracy.
select
    scorer,
    feature,
    balanced_accuracy
from scores
where run = $run and control = 'none' and balanced_accuracy is not null
order by scorer, feature
