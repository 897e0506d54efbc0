-- One row per part of `requests` in which requests failed, with how many.
select
    filename,
    count(*) as failed
from read_parquet($requests, filename = true, hive_partitioning = false, union_by_name = true)
where status = 'failed'
group by filename
order by filename
