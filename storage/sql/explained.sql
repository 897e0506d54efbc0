-- One row per explanation of a bucket that can be judged: those that are there.
select
    feature,
    replicate,
    feature as explanation_of,
    text
from read_parquet($explanations, hive_partitioning = false)
where status = 'ok' and chosen
order by feature, replicate
