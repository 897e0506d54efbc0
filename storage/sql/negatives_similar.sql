-- Temporary table `nearest`: one row per feature of $lacking and neighbour, a feature with a near row of the decoder or
-- encoder ($by): the $neighbours nearest, nearest first.
create or replace temporary table nearest as
with near as (
    select
        read.feature,
        unnest(if($by = 'encoder', read.encoder_neighbours, read.neighbours)) as near
    from read_parquet($features, hive_partitioning = false) as read
    where read.feature in (select unnest($lacking))
),

ranked as (
    select
        near.feature,
        near.near.feature as near,
        1 - near.near.cosine as distance,
        row_number() over (
            partition by near.feature
            order by near.near.cosine desc, near.near.feature
        ) - 1 as rank
    from near
    where near.near.feature != near.feature
)

select *
from ranked
where rank < $neighbours
