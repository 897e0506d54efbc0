-- One row per request that was answered: of several replies to the same one the first that came, or $every one, since
-- each was paid; copies, which a merge leaves that was killed, are left out. Replies that were kept before columns were
-- added have these as well.
select * replace (coalesce(too_long, false) as too_long)
from (
    select *
    from read_parquet($replies, hive_partitioning = false, union_by_name = true)
    union all by name
    select
        null::varchar as run,
        null::double as cost,
        null::boolean as too_long
    where false
) as kept
where feature >= $first and feature < $end
qualify
    row_number() over (
        partition by request, if($every, answered, null), if($every, asked_by, null)
        order by answered, run, asked_by
    ) = 1
order by feature, request, answered, run, asked_by
