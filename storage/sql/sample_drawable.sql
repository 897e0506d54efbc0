-- Temporary table `drawable`: one row per feature of [$first, $end): what can be drawn of it, or why nothing can.
-- Needs the temporary tables `firings` and `windows`. $sequences and $slots give the size of the cache.
create or replace temporary table drawable as
with base as (
    select
        feature,
        firings,
        max
    from read_parquet($features, hive_partitioning = false)
    where feature >= $first and feature < $end
),

chosen as (
    select unnest($chosen) as feature
),

active as (
    select
        feature,
        count(*) as windows,
        $slots * ($sequences - count(distinct sequence)) as silent_windows
    from windows
    group by feature
),

joined as (
    select
        base.feature,
        base.firings,
        base.max,
        chosen.feature is not null as is_chosen,
        coalesce(active.windows, 0) as windows,
        coalesce(active.silent_windows, $slots * $sequences) as silent_windows
    from base
    left join chosen using (feature)
    left join active using (feature)
)

select
    $coder as coder,
    feature,
    firings,
    max,
    if(is_chosen, windows, null) as windows,
    if(is_chosen, silent_windows, null) as silent_windows,
    $slots * $sequences as windows_total,
    case
        when not is_chosen then 'not chosen'
        when firings < $min_firings or silent_windows < $negatives or windows < $min_windows then 'skipped'
        else 'sampled'
    end as status,
    case
        when not is_chosen then null
        when firings = 0 then 'it never fires'
        when firings < $min_firings then format('it fires on fewer than {} tokens', $min_firings)
        when windows < $min_windows then format('it fires in fewer than {} windows', $min_windows)
        when silent_windows < $negatives
            then format('it is too dense: fewer than {} windows lie in sequences where it is silent', $negatives)
    end as reason
from joined
