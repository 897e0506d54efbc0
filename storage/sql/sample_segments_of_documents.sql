-- One row per stretch of a sequence that holds one document, in their order, with the number of its document in their
-- random order (`nth`). Needs `segments`.
select
    sequence,
    first,
    "end",
    random,
    dense_rank() over (order by random, document) - 1 as nth
from segments
order by sequence, first
