-- One row per firing of a neighbour of `nearest` in sequences drawn at random from the searched ones, the blocks
-- $blocks of $block sequences: those that hold its first $most firings, in a random order of its sequences. Needs
-- `nearest`; $activations: the parts that hold the searched sequences.
select
    feature,
    sequence,
    position,
    activation
from read_parquet($activations, hive_partitioning = false)
where
    feature in (select near from nearest)
    and sequence // $block in (select unnest($blocks))
qualify
    count(*) over (partition by feature order by hash(feature, sequence, $seed), sequence)
    - count(*) over (partition by feature, sequence) < $most
