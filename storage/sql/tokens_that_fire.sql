-- One row per position of a sequence: the number of tokens there on which a feature may fire. Left out are all
-- beginning-of-sequence tokens ($bos), or the first of each sequence where there is no such token, unless $keep_bos.
with placed as (
    select
        unnest(tokens) as token,
        unnest(range(len(tokens))) as position
    from read_parquet($tokens, hive_partitioning = false)
)

select
    position::integer as position,
    count(*) filter (
        where $keep_bos or case when $bos::integer is null then position > 0 else token != $bos::integer end
    ) as tokens
from placed
group by position
order by position
