-- One row: how many of the chosen features fire often enough to be sampled.
select count(*) as features
from read_parquet($features, hive_partitioning = false)
where list_contains($chosen, feature) and firings >= $min_firings
