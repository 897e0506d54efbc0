-- One row per activating context of the scorers of some features. The bounds repeat what the list says, since row
-- groups are pruned by bounds and not by lists.
with wanted as (
    select unnest($features) as feature
)

select
    parts.feature,
    parts.context,
    parts.kind,
    parts.decile,
    parts.strings,
    parts.activations,
    null as near,
    null as other,
    null as other_activations
from read_parquet($contexts, hive_partitioning = false) as parts
semi join wanted on parts.feature = wanted.feature
where
    parts.role = 'score'
    and parts.kind = 'activating'
    and parts.feature >= list_min($features)
    and parts.feature <= list_max($features)
order by parts.feature, parts.context
