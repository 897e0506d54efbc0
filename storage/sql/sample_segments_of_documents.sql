-- One row per stretch of a sequence that holds one document, in their order. Needs `segments`.
select
    sequence,
    first,
    "end"
from segments
order by sequence, first
