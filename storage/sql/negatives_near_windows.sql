-- Temporary table `near_windows`: one row per window of the grid in which a neighbour of `nearest` fires (`near`), with
-- its `text` and its place in a random order (`random`): up to $most of each neighbour, drawn from the searched
-- sequences, the blocks $blocks of $block sequences. Needs `nearest` and `texts`; $activations: the parts that hold the
-- searched sequences.
create or replace temporary table near_windows as
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
)

select
    drawn.near,
    drawn.sequence,
    drawn.start,
    texts.text,
    drawn.random
from drawn
inner join texts on drawn.sequence = texts.sequence and drawn.start = texts.start
