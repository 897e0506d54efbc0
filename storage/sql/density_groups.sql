-- One row per feature of $lacking and other feature whose windows it is given: `other`, how often that fires
-- (`firings`), `rank` from 0, and `others`, how many the feature has. Features that fire on $min_firings tokens or more
-- are divided by index into blocks of $block, and each block by firings into groups of $others + 1 or a few more. The
-- others of a feature are the $others after it in its group, by index, from the beginning again after the last: within
-- a group each is another one's as often as any, so that what is seen in windows of a feature and of its others is the
-- same on the whole. Neither the bucket nor the chosen features matter.
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
),

numbered as (
    select
        *,
        row_number() over (partition by block, share order by feature) - 1 as place,
        count(*) over (partition by block, share) as members
    from divided
)

select
    numbered.feature,
    others.feature as other,
    others.firings,
    (others.place - numbered.place + numbered.members) % numbered.members - 1 as rank,
    least($others, numbered.members - 1) as others
from numbered
inner join numbered as others using (block, share)
where
    numbered.feature in (select unnest($lacking))
    and others.feature != numbered.feature
    and (others.place - numbered.place + numbered.members) % numbered.members <= $others
order by numbered.feature, rank
