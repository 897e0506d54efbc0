-- One row per sampled feature that has fewer than $n contexts of a kind for a role so far: `silent`, the number of
-- windows in which it is silent, and `in_silent_sequences`, the number of those in sequences without a firing. Needs
-- `drawable` and `drawn`.
with given as (
    select
        feature,
        count(*) as given
    from drawn
    where role = $role and kind = $kind
    group by feature
)

select
    drawable.feature,
    drawable.windows_total - drawable.windows as silent,
    drawable.silent_windows as in_silent_sequences
from drawable
left join given using (feature)
where drawable.status = 'sampled' and coalesce(given.given, 0) < $n
order by drawable.feature
