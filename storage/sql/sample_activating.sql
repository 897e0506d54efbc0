-- Temporary table `drawn`: one row per activating context; non-activating ones are added to it. The explainer gets up
-- to $explain windows, the $strongest strongest first and then those of `turns`. Each tenth gives the scorers up to
-- $score of what it has left, at random, so that they see all of a feature whatever the explainer saw. A tenth that has
-- too few for both keeps for the scorers their part of what both ask of it, one at least; the explainer passes on to
-- its next turn. No window is given twice. Needs `windows`, `tenths`, `shuffled`, `turns` and `told`.
create or replace temporary table drawn as
with shares as (
    select
        feature,
        decile,
        coalesce(sum(windows) filter (where side = 'either'), 0) as shared,
        $explain // 10 + if(decile < $explain % 10, 1, 0) as share
    from tenths
    group by feature, decile
),

limits as (
    select
        feature,
        decile,
        if(shared > 0, shared - greatest(1, least($score, shared * $score // ($score + share))), $explain) as most
    from shares
),

asked as (
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

spared as (
    select
        asked.*,
        least(asked.rank, $strongest) as first,
        row_number() over (
            partition by asked.feature, asked.decile
            order by least(asked.rank, $strongest), asked.turn, asked.origin
        ) as nth,
        limits.most
    from asked
    inner join limits on asked.feature = limits.feature and asked.decile = limits.decile
    qualify nth <= limits.most
),

to_explain as (
    select
        *,
        row_number() over (partition by feature order by first, turn, origin) - 1 as place
    from spared
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
    qualify row_number() over (partition by shuffled.feature, shuffled.decile order by shuffled.place) <= $score
),

given as (
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
    given.feature,
    given.role,
    'activating' as kind,
    given.decile,
    given.origin // $length as sequence,
    (given.origin % $length)::integer as start,
    given.peak,
    given.place,
    null::integer as near,
    null::float as distance,
    told.text
from given
inner join told on given.origin = told.origin
