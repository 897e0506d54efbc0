-- One row per sampled feature that has fewer than $n contexts of a kind for a role so far: about how many windows it
-- may be given, all those in which it is silent (`silent`) and those in sequences without a firing
-- (`in_silent_sequences`), times the share of documents that are the role's. Needs `drawable`, `cuts` and `drawn`.
with given as (
    select
        feature,
        count(*) as given
    from drawn
    where role = $role and kind = $kind
    group by feature
),

shares as (
    select
        feature,
        if($role = 'explain', last::double / pow(2, 64), 1 - last::double / pow(2, 64)) as share
    from cuts
)

select
    drawable.feature,
    ceil((drawable.windows_total - drawable.windows) * coalesce(shares.share, 1))::bigint as silent,
    ceil(drawable.silent_windows * coalesce(shares.share, 1))::bigint as in_silent_sequences
from drawable
left join given using (feature)
left join shares using (feature)
where drawable.status = 'sampled' and coalesce(given.given, 0) < $n
order by drawable.feature
