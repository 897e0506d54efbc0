-- Updates one row per feature of `drawable` that is sampled: its documents are kept apart, and it is skipped where that
-- leaves the explainer or the scorers fewer than $least windows. Needs `sided`, the windows with
-- the `side` of each.
update drawable
set
    apart = 'document',
    status = if(least(counted.explain, counted.score) < $least, 'skipped', 'sampled'),
    reason = if(
        least(counted.explain, counted.score) < $least,
        format('with documents apart, fewer than {} windows are left for the explainer or the scorers', $least),
        null
    )
from (
    select
        feature,
        count(*) filter (where side = 'explain') as explain,
        count(*) filter (where side = 'score') as score
    from sided
    where side != 'either'
    group by feature
) as counted
where drawable.feature = counted.feature
