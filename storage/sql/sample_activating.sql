-- Temporary table `drawn`: one row per activating context; non-activating ones are added to it. The explainer gets up
-- to $explain windows, the $strongest strongest first and then those of `turns`. Each decile gives the scorers up to
-- $per_decile of its remaining windows at random, so that they see all strengths whatever the explainer saw. A decile
-- with too few windows for both keeps for the scorers their share of what both need, at least one; the explainer goes
-- on with its next turn. No window is drawn twice. Needs `windows`, `tenths`, `shuffled`, `turns` and `window_texts`.
create or replace temporary table drawn as
with shares as (
    select
        feature,
        decile,
        coalesce(sum(windows) filter (where side = 'either'), 0) as shared_windows,
        $explain // $deciles + if(decile < $explain % $deciles, 1, 0) as explain_share
    from tenths
    group by feature, decile
),

limits as (
    select
        feature,
        decile,
        if(
            shared_windows > 0,
            shared_windows
            - greatest(1, least($per_decile, shared_windows * $per_decile // ($per_decile + explain_share))),
            $explain
        ) as explain_limit
    from shares
),

requested as (
    select
        feature,
        decile,
        origin,
        peak,
        rank,
        turn::double as turn
    from turns
    union all
    select
        windows.feature,
        windows.decile,
        windows.origin,
        windows.peak,
        windows.rank,
        'infinity'::double as turn
    from windows
    anti join turns on windows.feature = turns.feature and windows.origin = turns.origin
    where windows.rank < $strongest and windows.side != 'score'
),

permitted as (
    select
        requested.*,
        least(requested.rank, $strongest) as strong_rank,
        row_number() over (
            partition by requested.feature, requested.decile
            order by least(requested.rank, $strongest), requested.turn, requested.origin
        ) as nth,
        limits.explain_limit
    from requested
    inner join limits on requested.feature = limits.feature and requested.decile = limits.decile
    qualify nth <= limits.explain_limit
),

to_explain as (
    select
        *,
        row_number() over (partition by feature order by strong_rank, turn, origin) - 1 as place
    from permitted
    qualify place < $explain
),

to_score as (
    select
        shuffled.feature,
        shuffled.decile,
        shuffled.origin,
        shuffled.peak,
        row_number() over (partition by shuffled.feature, shuffled.decile order by shuffled.place) - 1 as place
    from shuffled
    anti join to_explain on shuffled.feature = to_explain.feature and shuffled.origin = to_explain.origin
    where shuffled.side != 'explain'
    qualify row_number() over (partition by shuffled.feature, shuffled.decile order by shuffled.place) <= $per_decile
),

chosen as (
    select
        feature,
        'explain' as role,
        decile,
        origin,
        peak,
        place
    from to_explain
    union all
    select
        feature,
        'score' as role,
        decile,
        origin,
        peak,
        place
    from to_score
)

select
    chosen.feature,
    chosen.role,
    'activating' as kind,
    chosen.decile,
    chosen.origin // $length as sequence,
    (chosen.origin % $length)::integer as start,
    chosen.peak,
    chosen.place,
    null::integer as near,
    null::float as distance,
    null::integer as other,
    window_texts.text
from chosen
inner join window_texts on chosen.origin = window_texts.origin
