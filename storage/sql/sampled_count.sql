-- One row: the number of features of a coder that have contexts.
select count(*) as features
from read_parquet($samples, hive_partitioning = false)
where status = 'sampled'
