-- One row: what the replies that a run paid for have cost. Those that were kept before costs were count nothing.
select coalesce(sum(cost), 0.0) as paid
from (
    select *
    from read_parquet($replies, hive_partitioning = false, union_by_name = true)
    union all by name
    select
        null::varchar as run,
        null::double as cost
    where false
) as kept
where run = $run
