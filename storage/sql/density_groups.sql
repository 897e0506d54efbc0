-- One row per feature that fires on $min_firings tokens or more: how often it does (`firings`), and its group, in which
-- it is number `place` of `members` by index. Features are divided by index into blocks of $block, and each block by
-- firings into groups of $others + 1 or a few more. By group, and by index within each.
with live as (
    select
        feature,
        firings,
        row_number() over (order by feature) - 1 as place,
        count(*) over () as members
    from read_parquet($features, hive_partitioning = false)
    where firings >= $min_firings
),

blocks as (
    select
        feature,
        firings,
        place * greatest(1, members // $block) // members as block
    from live
),

ordered as (
    select
        *,
        row_number() over (partition by block order by firings, feature) - 1 as place,
        count(*) over (partition by block) as members
    from blocks
),

divided as (
    select
        feature,
        firings,
        block,
        place * greatest(1, members // ($others + 1)) // members as share
    from ordered
)

select
    feature,
    firings,
    row_number() over (partition by block, share order by feature) - 1 as place,
    count(*) over (partition by block, share) as members
from divided
order by block, share, feature
