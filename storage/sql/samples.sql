-- One row per feature of the bucket: how many contexts were drawn for it, or why none. Needs `drawable` and `drawn`.
with counted as (
    select
        feature,
        count(*) filter (where role = 'explain' and kind = 'activating') as explain,
        count(*) filter (where role = 'explain' and kind != 'activating') as contrast,
        count(*) filter (where role = 'score' and kind = 'activating') as score,
        count(*) filter (where role = 'score' and kind != 'activating') as negatives
    from drawn
    group by feature
)

select
    drawable.* replace (if(drawable.status = 'sampled', drawable.apart, null) as apart),
    coalesce(counted.explain, 0) as explain,
    coalesce(counted.contrast, 0) as contrast,
    coalesce(counted.score, 0) as score,
    coalesce(counted.negatives, 0) as negatives
from drawable
left join counted using (feature)
order by drawable.feature
