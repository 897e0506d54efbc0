-- Temporary table `candidates`: one row per window in which a neighbour of `nearest` fires and the feature is silent.
-- Each neighbour gives windows at random: the nearest neighbour first, at most $each per neighbour; where that is too
-- few, as many again of each, and so on. At most $most windows of a neighbour are looked at, drawn from the searched
-- sequences, the blocks $blocks of $block sequences. Needs `nearest`, `texts` and `fired`; $activations: the parts that
-- hold the searched sequences.
create or replace temporary table candidates as
with active as (
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
    from active
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
    distance,
    near as other
from placed
