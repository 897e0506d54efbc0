-- Temporary table `candidates`: one row per window of `near_windows` in which the feature is silent. Each neighbour
-- gives windows at random: the nearest neighbour first, at most $each per neighbour; where that is too few, as many
-- again of each, and so on. Needs `nearest`, `near_windows` and `firings`.
create or replace temporary table candidates as
with silent as (
    select
        nearest.feature,
        nearest.near,
        nearest.distance,
        nearest.rank,
        near_windows.sequence,
        near_windows.start,
        near_windows.random
    from nearest
    inner join near_windows on nearest.near = near_windows.near
    anti join firings
        on
            nearest.feature = firings.feature
            and near_windows.sequence = firings.sequence
            and near_windows.start <= firings.position
            and near_windows.start + $window > firings.position
    qualify row_number() over (
        partition by nearest.feature, near_windows.text
        order by nearest.rank, near_windows.random
    ) = 1
),

placed as (
    select
        *,
        row_number() over (partition by feature, rank order by random) - 1 as place
    from silent
)

select
    feature,
    sequence,
    start,
    row_number() over (partition by feature order by place // $each, rank, place) as turn,
    near,
    distance,
    near as other
from placed
