-- Temporary table `candidates`: one row per window in which a neighbour of `nearest` fires and the feature doesn't.
-- Each neighbour gives windows at random, nearest neighbour first and at most $each of them; then, should that be too
-- few, each as many again, and so on. Of a neighbour $most windows of the searched sequences are looked at, the blocks
-- $blocks of $block sequences. Needs `nearest`, `texts` and `fired`; $activations: the searched parts.
create or replace temporary table candidates as
with spoken as (
    select distinct
        feature as near,
        sequence,
        (position // $window * $window)::integer as start
    from read_parquet($activations, hive_partitioning = false)
    where
        feature in (select near from nearest)
        and sequence // $block in (select unnest($blocks))
),

drawn as (
    select
        *,
        row_number() over (
            partition by near
            order by hash(near, sequence, start, $seed), sequence, start
        ) as random
    from spoken
    qualify random <= $most
),

silent as (
    select
        nearest.feature,
        nearest.near,
        nearest.distance,
        nearest.rank,
        drawn.sequence,
        drawn.start,
        drawn.random
    from nearest
    inner join drawn on nearest.near = drawn.near
    anti join fired
        on
            nearest.feature = fired.feature
            and drawn.sequence * $length + drawn.start = fired.origin
    inner join texts on drawn.sequence = texts.sequence and drawn.start = texts.start
    qualify row_number() over (
        partition by nearest.feature, texts.text
        order by nearest.rank, drawn.random
    ) = 1
),

placed as (
    select
        *,
        row_number() over (partition by feature, rank order by random) - 1 as place
    from silent
)

select
    feature,
    sequence,
    start,
    row_number() over (partition by feature order by place // $each, rank, place) as turn,
    near,
    distance
from placed
