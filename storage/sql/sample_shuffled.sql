-- Temporary table `shuffled`: of each tenth and side the first $most windows in a random order, with their place in it.
-- Needs `windows`. (Two windows of one feature with one hash are beyond what happens.)
create or replace temporary table shuffled as
with firsts as (
    select
        feature,
        decile,
        side,
        arg_min(
            struct_pack(origin := origin, peak := peak, rank := rank), hash(feature, origin, $seed), $most
        ) as windows
    from windows
    group by feature, decile, side
),

drawn as (
    select
        feature,
        decile,
        side,
        unnest(windows) as one
    from firsts
),

opened as (
    select
        drawn.feature,
        drawn.decile,
        drawn.side,
        drawn.one.origin, -- noqa: RF01
        drawn.one.peak, -- noqa: RF01
        drawn.one.rank -- noqa: RF01
    from drawn
)

select
    *,
    row_number() over (
        partition by feature, decile, side
        order by hash(feature, origin, $seed), origin
    ) - 1 as place
from opened
