-- One row: what all requests of some parts of `requests` have cost, 0 where they have no price.
select coalesce(sum(cost), 0.0) as spent
from read_parquet($requests, hive_partitioning = false, union_by_name = true)
