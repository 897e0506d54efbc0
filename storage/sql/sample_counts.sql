-- One row per feature of [$first, $end): how often it fires.
select
    feature,
    firings
from read_parquet($features, hive_partitioning = false)
where feature >= $first and feature < $end
order by feature
