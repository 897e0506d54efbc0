-- Temporary table `shuffled`: of each tenth and side the first $most windows in a random order, with their place in it.
-- Needs `windows`. (Two windows of one feature with one hash are beyond what happens.)
create or replace temporary table shuffled as
with firsts as (
    select
        feature,
        decile,
        side,
        unnest(
            arg_min(
                struct_pack(origin := origin, peak := peak, rank := rank), hash(feature, origin, $seed), $most
            )
        ) as one
    from windows
    group by feature, decile, side
)

select
    feature,
    decile,
    side,
    one.origin,
    one.peak,
    one.rank,
    row_number() over (
        partition by feature, decile, side
        order by hash(feature, one.origin, $seed), one.origin
    ) - 1 as place
from firsts
