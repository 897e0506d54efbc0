-- One row per feature of [$first, $end) that is judged with another feature's explanation as well: the floor.
-- The first $n explained features in a seeded random order form a ring; each is given its neighbour's explanation.
with explained as (
    select
        feature,
        replicate,
        text
    from read_parquet($explanations, hive_partitioning = false)
    where status = 'ok'
),

ordered as (
    select
        *,
        row_number() over (
            partition by replicate
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
        replicate,
        max(place) as size
    from ring
    group by replicate
)

select
    own.feature,
    own.replicate,
    other.feature as explanation_of,
    other.text
from ring as own
inner join sizes on own.replicate = sizes.replicate
inner join ring as other
    on own.replicate = other.replicate and other.place = own.place % sizes.size + 1
where own.feature != other.feature and own.feature >= $first and own.feature < $end
order by own.feature, own.replicate
