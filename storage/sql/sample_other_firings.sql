-- One row per firing of another feature in a context of `drawn` of a kind that names it, and in the rest of its
-- sequence. The others are $others, which lie in [$first, $end): row groups are pruned by bounds. $activations: the
-- parts that hold these sequences.
with named as (
    select distinct
        other,
        sequence
    from drawn
    where kind = $kind and other in (select unnest($others))
)

select
    parts.feature,
    parts.sequence,
    parts.position,
    parts.activation
from read_parquet($activations, hive_partitioning = false) as parts
semi join named on parts.feature = named.other and parts.sequence = named.sequence
where parts.feature >= $first and parts.feature < $end
