-- Temporary table `drawable`: one row per feature of [$first, $end) with what can be drawn for it, or why it is
-- skipped. Needs `described`, `alike`, and the number of sequences (`active`), windows of the grid (`gridded`) and
-- windows that may be drawn (`counted`) in which each feature fires. $sequences and $slots give the size of the cache;
-- $needed_silent is the number of windows that must lie in sequences without a firing.
create or replace temporary table drawable as
with base as (
    select
        feature,
        firings,
        max
    from described
    where feature >= $first and feature < $end
),

chosen as (
    select unnest($chosen) as feature
),

repeats as (
    select
        feature,
        count(*) as repeated
    from alike
    group by feature
),

texts as (
    select
        counted.feature,
        counted.rows as placed,
        counted.rows - coalesce(repeats.repeated, 0) as texts
    from counted
    left join repeats using (feature)
),

joined as (
    select
        base.feature,
        base.firings,
        base.max,
        chosen.feature is not null as is_chosen,
        coalesce(gridded.rows, 0) as windows,
        $slots * ($sequences - coalesce(active.rows, 0)) as silent_windows,
        coalesce(texts.placed, 0) as placed,
        coalesce(texts.texts, 0) as texts,
        least(coalesce(texts.texts, 0), $most_windows) as candidates
    from base
    left join chosen using (feature)
    left join active using (feature)
    left join gridded using (feature)
    left join texts using (feature)
)

select
    $coder as coder,
    feature,
    firings,
    max,
    if(is_chosen, windows, null) as windows,
    if(is_chosen, silent_windows, null) as silent_windows,
    $slots * $sequences as windows_total,
    if(is_chosen, candidates, null) as candidates,
    if(is_chosen, placed - texts, null) as repeated,
    if(is_chosen, texts - candidates, null) as left_out,
    case
        when not is_chosen then 'not chosen'
        when firings < $min_firings or silent_windows < $needed_silent or candidates < $min_windows then 'skipped'
        else 'sampled'
    end as status,
    case
        when not is_chosen then null
        when firings = 0 then 'it never fires'
        when firings < $min_firings then format('it fires on fewer than {} tokens', $min_firings)
        when windows < $min_windows then format('it fires in fewer than {} windows', $min_windows)
        when placed < $min_windows then format('fewer than {} windows fit around its peaks', $min_windows)
        when candidates < $min_windows
            then format('fewer than {} of its windows have a text of their own', $min_windows)
        when silent_windows < $needed_silent
            then format('it is too dense: fewer than {} windows lie in sequences where it is silent', $needed_silent)
    end as reason,
    'window' as apart
from joined
