-- Temporary table `told`: one row per window that may be drawn, with a hash of its tokens, and whether another one has
-- the same text. Needs `placed` and `sequences`.
create or replace temporary table told as
with origins as (
    select distinct origin
    from placed
),

hashed as (
    select
        origins.origin,
        hash(sequences.tokens[origins.origin % $length + 1:origins.origin % $length + $window]) as text
    from origins
    inner join sequences on origins.origin // $length = sequences.sequence
)

select
    *,
    count(*) over (partition by text) > 1 as repeated
from hashed
