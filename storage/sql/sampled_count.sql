-- One row: how many features of a coder contexts were drawn of.
select count(*) as features
from read_parquet($samples, hive_partitioning = false)
where status = 'sampled'
