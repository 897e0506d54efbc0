-- Temporary table `windows`: one row per feature and window in which it fires, with its rank by peak
-- (0 the strongest), the tenth that the rank falls into, and a place in a seeded random order of that tenth.
create or replace temporary table windows as
with peaks as (
    select
        feature,
        sequence,
        slot,
        max(activation) as peak,
        min(position) filter (where activation = strongest) - slot * $window as peak_position
    from (
        select
            *,
            max(activation) over (partition by feature, sequence, slot) as strongest
        from firings
    ) as marked
    group by feature, sequence, slot
),

ranked as (
    select
        *,
        row_number() over (partition by feature order by peak desc, sequence, slot) - 1 as rank,
        count(*) over (partition by feature) as in_feature
    from peaks
),

tenths as (
    select
        *,
        (rank * 10 // in_feature)::integer as decile
    from ranked
)

select
    *,
    count(*) over (partition by feature, decile) as in_decile,
    row_number() over (
        partition by feature, decile
        order by hash(feature, sequence, slot, $seed), sequence, slot
    ) - 1 as place
from tenths
