-- The first $n sampled features in a seeded random order. In the control `mixed` the contexts of those after a feature,
-- and from the beginning again after the last, stand for its own.
select feature
from read_parquet($samples, hive_partitioning = false)
where status = 'sampled'
order by hash(feature, $seed), feature
limit $n
