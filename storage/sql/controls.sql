-- One row per feature that is judged with another feature's explanation as well: the floor.
-- The first $n explained features in a seeded random order form a ring; each is given its neighbour's explanation.
-- Where several replicates of each are judged, the first of all features form one, the second another, and so on.
with explained as (
    select
        feature,
        replicate,
        text,
        row_number() over (
            partition by feature
            order by replicate
        ) as draw
    from read_parquet($explanations, hive_partitioning = false)
    where status = 'ok' and chosen
),

ordered as (
    select
        *,
        row_number() over (
            partition by draw
            order by hash(feature, $seed), feature
        ) as place
    from explained
),

ring as (
    select * from ordered
    where place <= $n
),

sizes as (
    select
        draw,
        max(place) as size
    from ring
    group by draw
)

select
    own.feature,
    own.replicate,
    other.feature as explanation_of,
    other.text
from ring as own
inner join sizes on own.draw = sizes.draw
inner join ring as other
    on own.draw = other.draw and other.place = own.place % sizes.size + 1
where own.feature != other.feature
order by own.feature, own.replicate
