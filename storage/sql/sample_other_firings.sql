-- One row per firing of another feature in a sequence of a context that names it. Needs `named`, which has `other` and
-- `sequence`. The others lie in [$first, $end): row groups are pruned by bounds. $activations: the parts that hold
-- these sequences.
select
    parts.feature,
    parts.sequence,
    parts.position,
    parts.activation
from read_parquet($activations, hive_partitioning = false) as parts
semi join named on parts.feature = named.other and parts.sequence = named.sequence
where parts.feature >= $first and parts.feature < $end
