-- Temporary table `candidates`: one row per window that may be drawn, in the order of `turn`, a random one: for each
-- feature of $asked either as many draws with replacement as should do, so often as it is silent, or, for those that
-- came short with that, all windows ($every). With $quiet those of sequences in which it fires are left out; where it
-- fires in the window itself is seen when candidates are taken. Needs `drawable` and `busy`.
create or replace temporary table candidates as
with asked as (
    select
        feature,
        if(
            $every,
            windows_total,
            least(
                windows_total,
                1.5 * $n * windows_total / greatest(1, if($quiet, silent_windows, windows_total - windows)) + 20
            )
        )::bigint as turns
    from drawable
    where feature in (select unnest($asked))
),

draws as (
    select
        feature,
        unnest(range(turns)) as turn
    from asked
),

hashed as (
    select
        feature,
        turn,
        hash(feature, turn, $seed, $kind, $role) as random
    from draws
),

places as (
    select
        feature,
        if($every, turn::ubigint, random % ($sequences * $slots)::ubigint)::bigint as place,
        if($every, random, turn::ubigint) as turn
    from hashed
)

select
    places.feature,
    places.place // $slots as sequence,
    (places.place % $slots * $window)::integer as start,
    min(places.turn) as turn,
    null::integer as near,
    null::float as distance
from places
anti join busy on $quiet and places.feature = busy.feature and places.place // $slots = busy.sequence
group by places.feature, places.place
