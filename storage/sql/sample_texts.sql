-- One row per window of the grid, of all `sequences`, `origin` tokens behind the beginning of the cache: a hash of its
-- tokens, which windows with equal tokens share, and whether there are others with the same.
with cut as (
    select
        sequence,
        tokens,
        unnest(range($slots)) as slot
    from sequences
),

hashed as (
    select
        sequence,
        (slot * $window)::integer as start,
        hash(tokens[slot * $window + 1:(slot + 1) * $window]) as text
    from cut
),

repeated as (
    select text
    from hashed
    group by text
    having count(*) > 1
)

select
    hashed.*,
    hashed.sequence * $length + hashed.start as origin,
    repeated.text is not null as repeated
from hashed
left join repeated using (text)
order by hashed.sequence, hashed.start
