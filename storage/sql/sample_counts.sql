-- One row per feature of [$first, $end): how often it fires, and its largest activation.
select
    feature,
    firings,
    max
from read_parquet($features, hive_partitioning = false)
where feature >= $first and feature < $end
order by feature
