-- One row per window of the grid, of the sequences [$first, $end): its text.
with cut as (
    select
        sequence,
        strings,
        unnest(range($slots)) as slot
    from read_parquet($tokens, hive_partitioning = false)
    where sequence >= $first and sequence < $end
)

select
    sequence,
    (slot * $window)::integer as start,
    array_to_string(strings[slot * $window + 1:(slot + 1) * $window], '') as text
from cut
order by sequence, start
