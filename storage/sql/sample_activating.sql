-- Temporary table `drawn`: one row per activating context; negatives are added to it. From each tenth a feature gives
-- `$score` windows to the scorers and its share of `$explain` to the explainer, in the tenth's random order; when a
-- tenth has too few for both, both get the same part of what they ask for, and the scorers one at least. No window is
-- given twice.
create or replace temporary table drawn as
with shares as (
    select
        windows.*,
        $explain // 10 + if(windows.decile < $explain % 10, 1, 0) as explain
    from windows
    inner join drawable on windows.feature = drawable.feature and drawable.status = 'sampled'
),

given as (
    select
        *,
        least(explain, in_decile - 1, ceil(in_decile * explain / ($score + explain))::integer) as to_explain
    from shares
)

select
    feature,
    if(place < to_explain, 'explain', 'score') as role,
    'activating' as kind,
    decile::integer as decile,
    sequence,
    slot,
    peak,
    peak_position::integer as peak_position,
    place
from given
where place < to_explain + $score
