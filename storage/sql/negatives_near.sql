-- Temporary table `candidates`: one row per window in which a neighbour of `nearest` fires and the feature doesn't.
-- Each neighbour gives its strongest windows, nearest neighbour first and at most $each of them; then, should that be
-- too few, each as many again, and so on. Of a neighbour the $strongest windows of the searched sequences are looked
-- at, the blocks $blocks of $block sequences. Needs `nearest`, `texts` and `fired`; $activations: the searched parts.
create or replace temporary table candidates as
with peaks as (
    select
        feature as near,
        sequence,
        (position // $window * $window)::integer as start,
        max(activation) as peak
    from read_parquet($activations, hive_partitioning = false)
    where
        feature in (select near from nearest)
        and sequence // $block in (select unnest($blocks))
    group by all
),

strongest as (
    select *
    from peaks
    qualify row_number() over (partition by near order by peak desc, sequence, start) <= $strongest
),

silent as (
    select
        nearest.feature,
        nearest.near,
        nearest.distance,
        nearest.rank,
        strongest.sequence,
        strongest.start,
        strongest.peak
    from nearest
    inner join strongest on nearest.near = strongest.near
    anti join fired
        on
            nearest.feature = fired.feature
            and strongest.sequence * $length + strongest.start = fired.origin
    inner join texts on strongest.sequence = texts.sequence and strongest.start = texts.start
    qualify row_number() over (
        partition by nearest.feature, texts.text
        order by nearest.rank, strongest.peak desc, strongest.sequence, strongest.start
    ) = 1
),

placed as (
    select
        *,
        row_number() over (partition by feature, rank order by peak desc, sequence, start) - 1 as place
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
