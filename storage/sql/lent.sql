-- One row per activating context of the scorers of some features.
select
    feature,
    context,
    kind,
    decile,
    strings,
    activations,
    null as near,
    null as other,
    null as other_activations
from read_parquet($contexts, hive_partitioning = false)
where role = 'score' and kind = 'activating' and list_contains($features, feature)
order by feature, context
