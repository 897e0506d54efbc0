-- One row per firing of the features $chosen, which lie in [$first, $end), in runs that are sorted. The bounds repeat
-- what the list says, since row groups are pruned by bounds and not by lists.
with chosen as (
    select unnest($chosen) as feature
)

select
    parts.feature,
    parts.sequence,
    parts.position,
    parts.activation
from read_parquet($activations, hive_partitioning = false) as parts
semi join chosen on parts.feature = chosen.feature
where parts.feature >= $first and parts.feature < $end
