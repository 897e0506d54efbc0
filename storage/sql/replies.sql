-- One row per request that was answered: of several replies to the same one the first that came. Replies that were kept
-- before columns were added have these as well.
select * replace (coalesce(too_long, false) as too_long)
from (
    select *
    from read_parquet($replies, hive_partitioning = false, union_by_name = true)
    union all by name
    select null::boolean as too_long
    where false
) as kept
where feature >= $first and feature < $end
qualify row_number() over (partition by request order by answered, asked_by) = 1
order by feature, request
