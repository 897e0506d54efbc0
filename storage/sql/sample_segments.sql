-- Temporary table `segments`: one row per stretch of a sequence that holds one document, where documents may be kept
-- apart ($apart), and none otherwise, with the number that puts documents in a random order by the seed (`random`).
-- Tokens before the first document belong to it, a separator to the one before.
create or replace temporary table segments as
select
    read.sequence,
    if(part.place = 1, 0, read.starts[part.place]) as first,
    coalesce(read.starts[part.place + 1], $length)::integer as "end",
    read.documents[part.place] as document,
    hash(read.documents[part.place], $seed) as random
from read_parquet($tokens, hive_partitioning = false) as read
cross join unnest(range(1, len(read.starts) + 1)) as part (place)
where $apart
