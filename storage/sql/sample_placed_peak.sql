-- One row per feature and window around one of its peaks, by feature and origin. The window of a firing begins half a
-- window before it, shifted as little as keeps it inside the sequence, and inside the document where there are
-- `segments`; a segment that is shorter has none. A firing is a peak when its window holds no stronger one, nor an
-- equal one before it. Peaks are taken strongest first, the earlier of two equal ones, each whose window overlaps none
-- that is taken: at once where it overlaps no other, else by a fold over the crowded peaks of its sequence. Needs
-- `to_place`, the firings, and `segments`. (sqlfluff cannot parse frame bounds that are expressions, nor lambdas of two
-- arguments.)
with around as (
    select
        to_place.*,
        greatest(
            coalesce(segments.first, 0),
            least(to_place.position - $window // 2, coalesce(segments.end, $length) - $window)
        )::integer as start
    from to_place
    asof left join segments on to_place.sequence = segments.sequence and to_place.position >= segments.first
    where coalesce(segments.end, $length) - coalesce(segments.first, 0) >= $window
),

compared as (
    select
        *,
        max(activation) over (
            partition by feature, sequence
            order by position
            range between position - start preceding and 1 preceding -- noqa: PRS
        ) as before,
        max(activation) over (
            partition by feature, sequence
            order by position
            range between 1 following and start + $window - 1 - position following -- noqa: PRS
        ) as after
    from around
),

peaks as (
    select
        feature,
        sequence,
        start,
        position,
        activation as peak,
        start - lag(start) over along < $window or lead(start) over along - start < $window as crowded
    from compared
    where (before is null or before < activation) and (after is null or after <= activation)
    window along as (partition by feature, sequence order by position)
),

crowds as (
    select
        feature,
        sequence,
        list(
            struct_pack(start := start, peak := peak) order by peak desc, position
        ) as strongest_first
    from peaks
    where crowded
    group by feature, sequence
),

folded as (
    select
        feature,
        sequence,
        unnest(
            list_reduce( -- noqa: LT01
                list_transform(strongest_first, lambda peak: [peak]), -- noqa: PRS
                lambda kept, next: if(
                    len(list_filter(kept, lambda earlier: abs(earlier.start - next[1].start) < $window)) = 0,
                    kept || next,
                    kept
                )
            )
        ) as peak
    from crowds
),

taken as (
    select
        feature,
        sequence,
        start,
        peak
    from peaks
    where crowded is distinct from true
    union all
    select
        feature,
        sequence,
        folded.peak.start,
        folded.peak.peak
    from folded
)

select
    feature,
    sequence * $length + start as origin,
    peak
from taken
order by feature, origin
