-- Updates one row per feature of `drawable` that leaves the explainer or the scorers fewer than $least windows once
-- documents are kept apart: it is skipped. Needs `sides`.
update drawable
set
    status = 'skipped',
    reason = format('with documents apart, fewer than {} windows are left for the explainer or the scorers', $least)
from (
    select
        feature,
        count(*) filter (where side = 'explain') as explain,
        count(*) filter (where side = 'score') as score
    from sides
    group by feature
) as counted
where drawable.feature = counted.feature and least(counted.explain, counted.score) < $least
