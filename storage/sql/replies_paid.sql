-- One row: what the replies that a run paid for have cost, each once, though a merge that was killed leaves copies.
-- Those that were kept before costs were count nothing.
select coalesce(sum(cost), 0.0) as paid
from (
    select distinct
        run,
        request,
        asked_by,
        answered,
        cost
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
) as payments
