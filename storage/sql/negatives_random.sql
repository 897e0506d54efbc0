-- Adds to `drawn` one row per non-activating context: distinct windows, drawn at random, of sequences in which the
-- feature never fires. First come 4 * $n draws with replacement over all windows, of which the silent ones count; a
-- feature that is too dense for that gets all its silent windows in a random order. Needs `firings`, `drawable`.
insert into drawn
with asked as (
    select feature
    from drawable
    where status = 'sampled'
),

busy as (
    select distinct
        feature,
        sequence
    from firings
),

draws as (
    select
        asked.feature,
        hash(asked.feature, turns.turn, $seed) % ($sequences * $slots) as place,
        min(turns.turn) as turn
    from asked
    cross join range(4 * $n) as turns (turn)
    group by asked.feature, place
),

drawn as (
    select draws.*
    from draws
    anti join busy on draws.feature = busy.feature and draws.place // $slots = busy.sequence
),

short as (
    select asked.feature
    from asked
    left join drawn using (feature)
    group by asked.feature
    having count(drawn.place) < $n
),

exhausted as (
    select
        short.feature,
        places.place,
        hash(short.feature, places.place, $seed) as turn
    from short
    cross join range($sequences * $slots) as places (place)
    anti join busy on short.feature = busy.feature and places.place // $slots = busy.sequence
),

candidates as (
    select
        feature,
        place::bigint as place,
        turn::hugeint as turn
    from drawn
    anti join short on drawn.feature = short.feature
    union all
    select
        feature,
        place::bigint as place,
        turn::hugeint as turn
    from exhausted
),

ordered as (
    select
        *,
        row_number() over (partition by feature order by turn, place) - 1 as rank
    from candidates
)

select
    feature,
    'score' as role,
    'random' as kind,
    null::integer as decile,
    place // $slots as sequence,
    (place % $slots)::integer as slot,
    0::float as peak,
    null::integer as peak_position,
    rank as place
from ordered
where rank < $n
