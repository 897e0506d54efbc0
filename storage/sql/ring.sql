-- The first $n sampled features in a seeded random order, a ring in which each is followed by those whose contexts
-- stand for its own in the control `mixed`.
select feature
from read_parquet($samples, hive_partitioning = false)
where status = 'sampled'
order by hash(feature, $seed), feature
limit $n
