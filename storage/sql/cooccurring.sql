-- Temporary table `nearest`: one row per feature of $lacking and neighbour, a feature that fires on the same tokens:
-- the $neighbours with the greatest Jaccard index (tokens on which both fire, over tokens on which either fires;
-- delphi's measure), nearest first. Counted on the searched sequences, the blocks $blocks of $block sequences. Of a
-- feature that fires more than $most_firings times on them, that many firings are drawn at random and the count of
-- shared tokens is scaled up. Never width x width: only pairs that fire together are counted. Needs `firings`;
-- $activations: the parts that hold the searched sequences.
create or replace temporary table nearest as
with searched_firings as (
    select
        firings.feature,
        firings.sequence,
        firings.position,
        count(*) over (partition by firings.feature) as own
    from firings
    where firings.feature in (select unnest($lacking)) and firings.sequence // $block in (select unnest($blocks))
),

sampled as (
    select *
    from searched_firings
    qualify row_number() over (
        partition by feature
        order by hash(feature, sequence, position, $seed), sequence, position
    ) <= $most_firings
),

pairs as (
    select
        sampled.feature,
        read.feature as near,
        any_value(sampled.own) as own,
        count(*) as met
    from read_parquet($activations, hive_partitioning = false) as read
    inner join sampled
        on
            read.sequence = sampled.sequence
            and read.position = sampled.position
            and read.feature != sampled.feature
    group by sampled.feature, read.feature
),

others as (
    select
        feature as near,
        count(*) as others
    from read_parquet($activations, hive_partitioning = false)
    where sequence // $block in (select unnest($blocks))
    group by feature
),

shared as (
    select
        pairs.feature,
        pairs.near,
        pairs.own,
        others.others,
        least(pairs.met * greatest(pairs.own / $most_firings, 1), pairs.own, others.others) as shared
    from pairs
    inner join others using (near)
),

ranked as (
    select
        feature,
        near,
        (1 - shared / (own + others - shared))::float as distance,
        row_number() over (
            partition by feature
            order by shared / (own + others - shared) desc, near
        ) - 1 as rank
    from shared
)

select *
from ranked
where rank < $neighbours
