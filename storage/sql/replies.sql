-- One row per request that was answered: of several replies to the same one the first that came.
select *
from read_parquet($replies, hive_partitioning = false)
where feature >= $first and feature < $end
qualify row_number() over (partition by request order by answered, asked_by) = 1
order by feature, request
